"""What runs beside Kopf: the Lease, the watches of children, the timers, the workers."""

import asyncio
import logging
import os
import signal
import time

from proctor.edge import metrics, watch
from proctor.edge.apply import Writer
from proctor.edge.client import ApiError, Client
from proctor.edge.config import Config
from proctor.edge.experiments import Experiments
from proctor.edge.lease import Lease
from proctor.edge.observe import Observer
from proctor.edge.reconcile import Reconciler
from proctor.edge.recorder import Recorder
from proctor.edge.server import serve
from proctor.edge.store import Store
from proctor.edge.workqueue import WorkQueue

log = logging.getLogger(__name__)


class Engine:
    """Holds everything together for the life of the process."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.queue = WorkQueue()
        self.store = Store(self.queue.add)
        self._ready = False
        self._main: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect and begin. The work itself waits for the Lease, in the background."""
        self._client = await Client.connect()
        self._http = await serve(self._config.port, self.store, self.queue, lambda: self._ready)
        self._lease = Lease(self._client, self._config.own_namespace, self._config.identity)
        self._main = asyncio.create_task(self._run(), name="proctor")

    async def stop(self) -> None:
        """Stop working, then give the Lease back."""
        self._ready = False
        if self._main is not None:
            self._main.cancel()
            await asyncio.gather(self._main, return_exceptions=True)
        try:
            await self._lease.release()
        except (ApiError, OSError) as error:
            log.warning("the Lease could not be given back: %s", error)
        await self._http.cleanup()
        await self._client.close()

    async def _run(self) -> None:
        """Work until a part fails; then end the process, for a fresh start."""
        try:
            await self._acquire()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hold())
                await self._begin(group)
        except Exception:
            log.exception("the operator cannot go on")
        os.kill(os.getpid(), signal.SIGTERM)

    async def _acquire(self) -> None:
        while True:
            try:
                return await self._lease.acquire()
            except (ApiError, OSError, TimeoutError) as error:
                log.warning("the Lease cannot be read or written: %s", error)
                await asyncio.sleep(watch.PAUSE)

    async def _hold(self) -> None:
        await self._lease.hold()
        # Another may write from now on, so nothing here may, not even a shutdown in good order that could hang.
        log.critical("the Lease was lost; this process ends at once")
        os._exit(1)

    async def _begin(self, group: asyncio.TaskGroup) -> None:
        config = self._config
        await watch.first_lists(self._client, self.store, config.namespaces)
        listed = []
        for namespace in config.namespaces or (None,):
            for plural in ("jobs", "pods"):
                listed.append(asyncio.Event())
                group.create_task(watch.children(self._client, self.store, plural, namespace, listed[-1]))
        for event in listed:
            await event.wait()
        self.store.doubt_all()
        observer = Observer(self._client, self.store, config.max_pods, config.runner_image)
        recorder = Recorder(self._client)
        group.create_task(self._record(recorder))
        experiments = Experiments(self._client, self.store)
        writer = Writer(self._client, self.store, observer, experiments, recorder)
        reconciler = Reconciler(self.store, observer, experiments, writer, config.runner_image)
        group.create_task(self.queue.run_timers())
        for _ in range(config.workers):
            group.create_task(self._work(reconciler))
        self._ready = True
        log.info("ready: %d runs are live", self.store.live_runs)

    async def _record(self, recorder: Recorder) -> None:
        while True:
            await recorder.write_next()

    async def _work(self, reconciler: Reconciler) -> None:
        while True:
            key = await self.queue.take()
            began = time.monotonic()
            try:
                look_again = await reconciler.reconcile(key)
            except Exception as error:
                # Whatever it is, it must not stop the other keys: it is counted, told, and tried again later.
                metrics.RECONCILE_ERRORS.labels(key.kind).inc()
                delay = self.queue.failed(key)
                told = isinstance(error, ApiError | OSError | TimeoutError)
                text = f"{error}" if told else f"{type(error).__name__}: {error}"
                log.warning("%s %s/%s: %s; again in %.1f s", *key, text, delay, exc_info=None if told else error)
            else:
                self.queue.done(key, look_again)
            metrics.RECONCILE_SECONDS.labels(key.kind).observe(time.monotonic() - began)
