"""The orchestrator: takes tasks from JetStream and runs their episodes to the end.

A task is acknowledged only after its end is committed and announced. While it runs the server is told so; if this
process dies, the server gives the task to another, which continues from the last checkpoint.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import nats.errors
import sqlalchemy.exc
from fastapi import FastAPI
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Histogram
from pydantic import Field, SecretStr, ValidationError

from bazaar import streams, tracing
from bazaar.db import Database
from bazaar.orchestrator.llm import ChatModel, ModelError
from bazaar.orchestrator.machine import Ended, Machine
from bazaar.orchestrator.steps import ToolError
from bazaar.settings import DatabaseSettings
from bazaar.streams import BACKOFF_SECONDS, MAX_DELIVER, EpisodeEnded, Task
from bazaar.web import create_app, serve

LOG = logging.getLogger(__name__)
IN_PROGRESS_SECONDS = 0.7
CALL_SECONDS = 20.0

EPISODES = Counter("episodes_total", "Episodes that ended.", ["state"])
EPISODE_SECONDS = Histogram("episode_duration_seconds", "Time from delivery of a task to the end of its episode.")
REDELIVERIES = Counter("task_redeliveries_total", "Tasks delivered again.")


class OrchestratorSettings(DatabaseSettings):
    """What the orchestrator needs."""

    nats_url: SecretStr
    model_url: str
    tools_url: str
    internal_key: SecretStr = Field(min_length=16)
    concurrency: int = Field(default=16, ge=1, le=256)


class Worker:
    """Runs one task at a time; a process has several."""

    def __init__(self, machine: Machine, js: JetStreamContext, arm: str) -> None:
        self._machine, self._js, self._arm = machine, js, arm

    async def run(self) -> None:
        """Work until cancelled; failures of the servers are logged and tried again."""
        while True:
            try:
                tasks = await streams.task_subscription(self._js, self._arm)
                try:
                    await self._work(tasks)
                finally:
                    await tasks.unsubscribe()
            except (nats.errors.Error, sqlalchemy.exc.DBAPIError, sqlalchemy.exc.TimeoutError) as error:
                LOG.warning("the task waits for its next delivery: %r", error)
                await asyncio.sleep(1.0)

    async def _work(self, tasks: JetStreamContext.PullSubscription) -> None:
        while True:
            try:
                for message in await tasks.fetch(1, timeout=10):
                    await self._handle(message)
            except nats.errors.TimeoutError:
                continue  # no task came

    async def _handle(self, message: Msg) -> None:
        delivery = message.metadata.num_delivered
        if delivery > 1:
            REDELIVERIES.inc()
        try:
            task = Task.model_validate_json(message.data)
        except ValidationError as error:
            LOG.error("a task is malformed and is given up: %s", error)
            await message.term()
            return
        with tracing.continued(message.headers), tracing.span("tasks process", SpanKind.CONSUMER):
            await self._process(message, task, delivery)

    async def _process(self, message: Msg, task: Task, delivery: int) -> None:
        started = time.perf_counter()
        heartbeat = asyncio.create_task(_say_in_progress(message))
        try:
            ended = await self._machine.run(task.tenant_id, task.episode_id)
        except (ModelError, ToolError) as error:
            tracing.failed(trace.get_current_span(), type(error).__name__)
            LOG.warning("delivery %d of episode %s: %s", delivery, task.episode_id, error)
            if delivery < MAX_DELIVER:
                await message.nak(delay=BACKOFF_SECONDS[delivery - 1])
                return
            await self._announce(task, await self._machine.fail(task.tenant_id, task.episode_id, "step-failed"))
            await message.term()
            return
        finally:
            heartbeat.cancel()
        await self._announce(task, ended)
        await message.ack()
        EPISODE_SECONDS.observe(time.perf_counter() - started)

    async def _announce(self, task: Task, ended: Ended | None) -> None:
        if ended is None:
            LOG.warning("episode %s is gone with its tenant", task.episode_id)
            return
        event = EpisodeEnded(episode_id=task.episode_id, state=ended.state)
        await self._js.publish(
            streams.event_subject(task.tenant_id, ended.conversation),
            event.model_dump_json().encode(),
            headers={"Nats-Msg-Id": f"ended-{task.episode_id}"},
        )
        EPISODES.labels(ended.state).inc()


async def _say_in_progress(message: Msg) -> None:
    while True:
        await asyncio.sleep(IN_PROGRESS_SECONDS)
        await message.in_progress()


def create_orchestrator(settings: OrchestratorSettings) -> FastAPI:
    """The orchestrator's application: probes and metrics beside the workers."""
    client: Client
    db = Database(settings.app_dsn, settings.pool_size)
    workers: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        nonlocal client
        client, js = await streams.connect(settings.nats_url, "orchestrator")
        key = {"X-Internal-Key": settings.internal_key.get_secret_value()}
        async with (
            httpx.AsyncClient(timeout=CALL_SECONDS) as model,
            httpx.AsyncClient(timeout=CALL_SECONDS, base_url=settings.tools_url, headers=key) as tools,
        ):
            machine = Machine(db, ChatModel(model, settings.model_url), tools)
            workers.extend(
                asyncio.create_task(Worker(machine, js, settings.arm).run()) for _ in range(settings.concurrency)
            )
            yield
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        await client.drain()
        await db.close()

    async def ready() -> None:
        for worker in workers:
            if worker.done():
                worker.result()  # raises what ended it
        streams.require_connected(client)
        await db.ping()

    return create_app("bazaar orchestrator", ready, lifespan)


def run() -> None:
    """Serve this role until it is told to stop."""
    settings = OrchestratorSettings.load()
    serve("orchestrator", create_orchestrator(settings), settings)
