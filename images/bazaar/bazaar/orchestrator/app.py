"""The orchestrator: takes tasks from JetStream and runs their episodes to the end.

A task is acknowledged only after its end is committed and announced. While it runs the server is told so; if this
process dies, the server gives the task to another, which continues from the last checkpoint.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import aiohttp
from fastapi import Depends, FastAPI
from nats.aio.client import Client
from nats.aio.msg import Msg
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Histogram
from pydantic import Field, SecretStr, ValidationError

from bazaar import streams, tracing
from bazaar.db import Database
from bazaar.faults import fault
from bazaar.orchestrator.llm import ChatModel, ModelError
from bazaar.orchestrator.machine import Machine
from bazaar.orchestrator.ports import Live
from bazaar.orchestrator.replay import replay
from bazaar.orchestrator.steps import ToolError
from bazaar.records import Record, ReplayIn, ReplayOut
from bazaar.server import serve
from bazaar.settings import DatabaseSettings
from bazaar.streams import BACKOFF_SECONDS, MAX_DELIVER, Task
from bazaar.web import create_app, internal_only

LOG = logging.getLogger(__name__)
IN_PROGRESS_SECONDS = 0.7
TIMEOUT = aiohttp.ClientTimeout(sock_connect=20, sock_read=20)

EPISODE_SECONDS = Histogram("episode_duration_seconds", "Time from delivery of a task to the end of its episode.")
REDELIVERIES = Counter("task_redeliveries_total", "Tasks delivered again.")


class OrchestratorSettings(DatabaseSettings):
    """What the orchestrator needs."""

    nats_url: SecretStr
    model_url: str
    router_url: str
    tools_url: str
    internal_key: SecretStr = Field(min_length=16)
    concurrency: int = Field(default=16, ge=1, le=256)


class Worker:
    """Runs tasks, each to the end of its episode."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def handle(self, message: Msg) -> None:
        """Run a task, and acknowledge it; or let it come again."""
        delivery = message.metadata.num_delivered
        if delivery > 1:
            REDELIVERIES.inc()
        try:
            task = Task.model_validate_json(message.data)
        except ValidationError as error:
            LOG.error("a task is malformed: %s", error)
            return await _refuse(message, delivery)
        with tracing.continued(message.headers), tracing.span("tasks process", SpanKind.CONSUMER):
            await self._process(message, task, delivery)

    async def _process(self, message: Msg, task: Task, delivery: int) -> None:
        started = time.perf_counter()
        if fault("ack_before_work") is not None:
            await message.respond(b"+ACK")
        heartbeat = asyncio.create_task(_say_in_progress(message))
        try:
            await self._machine.run(task.tenant_id, task.episode_id, delivery)
        except (ModelError, ToolError) as error:
            tracing.failed(trace.get_current_span(), type(error).__name__)
            LOG.warning("delivery %d of episode %s: %s", delivery, task.episode_id, error)
            return await _refuse(message, delivery)
        finally:
            heartbeat.cancel()
        await message.ack()
        EPISODE_SECONDS.observe(time.perf_counter() - started)


async def _refuse(message: Msg, delivery: int) -> None:
    """Let the task come again after its backoff. After the last time the server tells the dlq role.

    Not by TERM: a work queue forgets a terminated message before anybody can keep it.
    """
    # The server adds to the delay what this delivery's backoff is longer than the first.
    await message.nak(delay=BACKOFF_SECONDS[0] if delivery < MAX_DELIVER else None)


async def _say_in_progress(message: Msg) -> None:
    while True:
        await asyncio.sleep(IN_PROGRESS_SECONDS)
        await message.in_progress()


def create_orchestrator(settings: OrchestratorSettings) -> FastAPI:
    """The orchestrator's application: probes, metrics and replays beside the workers."""
    client: Client
    machine: Machine
    ports: Live
    db = Database(settings.app_dsn, settings.pool_size)
    workers: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        nonlocal client, machine, ports
        client, js = await streams.connect(settings.nats_url, "orchestrator")
        key = {"X-Internal-Key": settings.internal_key.get_secret_value()}
        async with (
            aiohttp.ClientSession(timeout=TIMEOUT) as model,
            aiohttp.ClientSession(settings.router_url) as router,
            aiohttp.ClientSession(settings.tools_url, timeout=TIMEOUT, headers=key) as tools,
        ):
            ports = Live(router, ChatModel(model, settings.model_url), tools, db)
            machine = Machine(db, js, ports)
            handle = Worker(machine).handle
            workers.extend(
                asyncio.create_task(streams.consume(lambda: streams.task_subscription(js, settings.arm), handle))
                for _ in range(settings.concurrency)
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

    app = create_app("bazaar orchestrator", ready, lifespan)
    internal = [Depends(internal_only(settings.internal_key))]

    @app.get("/episodes/{episode_id}/record", dependencies=internal)
    async def record(episode_id: UUID, tenant_id: UUID) -> Record:
        return await machine.record(tenant_id, episode_id)

    @app.post("/replay", dependencies=internal)
    async def replay_record(wish: ReplayIn) -> ReplayOut:
        return await replay(wish, ports)

    return app


def run() -> None:
    """Serve this role until it is told to stop."""
    serve("orchestrator", OrchestratorSettings, create_orchestrator)
