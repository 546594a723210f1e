"""Customers who keep sending while the platform is disturbed, and note what they see.

The rate is kept whatever the platform does (an open model: who waits for answers sends less when it matters). A client
that gets no answer sends again under the same Idempotency-Key, as a good client does, and follows its message to the
end. All notes are by the clock of this process.
"""

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

import httpx
from _helpers.checkers import History, Kind
from _helpers.model import new_trace

RETRY_SECONDS = 0.5
WAIT_SECONDS = 15
MAX_TRIES = 1000
LOOK_SECONDS = 0.1
CLOSE_SECONDS = 30.0


@dataclass(frozen=True)
class Task:
    """One message: what is said, and the kinds of effects that it is to have."""

    key: str
    text: str
    effects: tuple[str, ...]
    trace_id: str
    headers: dict[str, str] = field(repr=False)


@dataclass
class Seen:
    """What became of a task, as its client knows."""

    episode_id: str
    conversation: int
    state: str = "open"
    ended_at: float | None = None


SAYINGS = {
    "order": ("I want to buy {n} {product}", ("order",)),
    "saga": ("I want to buy {n} {product}, pay with tok_visa and ship it to Germany", ("order", "payment", "shipment")),
    "declined": (
        "I want to buy {n} {product}, pay with tok_declined and ship it to Germany",
        ("order", "cancellation"),
    ),
}


def orders(
    tenant_id: str, seeded: random.Random, kinds: tuple[str, ...] = ("order",), direction: str = ""
) -> Iterator[Task]:
    """Messages without end, each of one of the kinds, with a stage direction for the model before them."""
    while True:
        said, effects = SAYINGS[seeded.choice(kinds)]
        text = said.format(n=seeded.randint(1, 3), product=seeded.choice(("Mug", "Blue Mug")))
        trace_id, headers = new_trace(tenant_id, seeded)
        yield Task(f"task-{trace_id[:12]}", f"{direction}{text}", effects, trace_id, headers)


class Load:
    """Sends `tasks` at `rate` a second from entering the block until `stop` or their end.

    From its first sending a message must have come to an end within `patience` seconds, whatever happens on the way.
    Leaving the block ends it at once. An error in it is raised by `finish`.
    """

    def __init__(self, gateway: str, key: str, tasks: Iterator[Task], rate: float, patience: float) -> None:
        self._patience = patience
        self.history = History()
        self.tasks: dict[str, Task] = {}
        self.seen: dict[str, Seen] = {}
        self.started_at = 0.0
        self._gateway, self._key, self._source, self.rate = gateway, key, tasks, rate
        self._loop = asyncio.new_event_loop()
        self._last, self._left = asyncio.Event(), asyncio.Event()
        self._over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self.started_at = time.time()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._tell(self._left)
        self._thread.join(CLOSE_SECONDS)

    def looks(self, seconds: float) -> Iterator[None]:
        """Come back again and again for at most so many seconds, or until the load is over."""
        deadline = time.monotonic() + seconds
        for _ in range(1 + int(seconds / LOOK_SECONDS)):
            yield
            if self._over.wait(LOOK_SECONDS) or time.monotonic() > deadline:
                return

    def accepted(self, count: int, seconds: float) -> bool:
        """Wait until so many tasks are acknowledged; tells whether they are."""
        return any(len(self.seen) >= count for _ in self.looks(seconds))

    def ends(self) -> list[float]:
        """When tasks came to their end."""
        return [seen.ended_at for seen in list(self.seen.values()) if seen.ended_at is not None]

    def stop(self) -> None:
        """Send no more."""
        self._tell(self._last)

    def finish(self) -> None:
        """Wait until all is sent and each task has come to its end, or the patience of its client has.

        Raises RuntimeError if nothing was sent, or if the load broke or hangs: then there is nothing to judge.
        """
        seconds = 2 * self._patience
        if not self._over.wait(seconds):
            raise RuntimeError(f"the load has not ended {seconds:.0f} s after its last message")
        if self._error is not None:
            raise RuntimeError(f"the load broke: {self._error!r}") from self._error
        if not self.tasks:
            raise RuntimeError("the load has sent nothing")

    def _tell(self, event: asyncio.Event) -> None:
        with suppress(RuntimeError):  # its loop is closed: it is over
            self._loop.call_soon_threadsafe(event.set)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._all())
        except BaseException as error:  # whatever it is, the test's own thread must hear of it
            self._error = error
        finally:
            self._over.set()

    async def _all(self) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
        authorized = {"Authorization": f"Bearer {self._key}"}
        timeout = httpx.Timeout(WAIT_SECONDS + 10, connect=3)
        async with (
            httpx.AsyncClient(base_url=self._gateway, headers=authorized, limits=limits, timeout=timeout) as http,
            asyncio.TaskGroup() as customers,
        ):
            begin = self._loop.time()
            for number, task in enumerate(self._source):
                if await _within(self._last, begin + number / self.rate - self._loop.time()):
                    return
                self.tasks[task.key] = task
                customers.create_task(self._customer(http, task))

    async def _customer(self, http: httpx.AsyncClient, task: Task) -> None:
        deadline = self._loop.time() + self._patience
        for _ in range(MAX_TRIES):
            done = await (self._follow(http, task) if task.key in self.seen else self._send(http, task))
            if done or self._loop.time() > deadline:
                return
            if task.key not in self.seen or self.seen[task.key].state == "away":
                await _within(self._left, RETRY_SECONDS)
            if self._left.is_set():
                return

    async def _send(self, http: httpx.AsyncClient, task: Task) -> bool:
        """Send once; tells whether there is nothing more to do."""
        headers = {**task.headers, "Idempotency-Key": task.key}
        self.history.note(Kind.INVOKE, task.key)
        try:
            answer = await http.post("/v1/messages", json={"text": task.text}, headers=headers)
        except httpx.TransportError:
            self.history.note(Kind.UNKNOWN, task.key)
            return False
        if answer.status_code == 202:
            self.history.note(Kind.OK, task.key)
            self.seen[task.key] = Seen(answer.json()["episode_id"], answer.json()["conversation"])
            return False
        refused = answer.status_code < 500 and answer.status_code != 429
        self.history.note(Kind.FAIL if answer.status_code < 500 else Kind.UNKNOWN, task.key)
        return refused

    async def _follow(self, http: httpx.AsyncClient, task: Task) -> bool:
        """Ask once what became of a task; tells whether it has come to its end."""
        seen = self.seen[task.key]
        asked = {"Prefer": f"wait={WAIT_SECONDS}"}
        request = asyncio.create_task(http.get(f"/v1/episodes/{seen.episode_id}", headers=asked))
        left = asyncio.create_task(self._left.wait())
        await asyncio.wait({request, left}, return_when=asyncio.FIRST_COMPLETED)
        left.cancel()
        if not request.done():
            request.cancel()
            return True
        seen.state = "away"
        with suppress(httpx.TransportError):
            answer = request.result()
            if answer.status_code == 200:
                seen.state = answer.json()["state"]
        if seen.state not in ("done", "failed"):
            return False
        seen.ended_at = time.time()
        return True


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, so many seconds at most; tells whether it came."""
    with suppress(TimeoutError):
        async with asyncio.timeout(max(seconds, 0)):
            await event.wait()
    return event.is_set()
