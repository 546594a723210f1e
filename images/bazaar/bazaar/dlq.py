"""The dlq role: takes tasks that no worker could finish off the queue, fails their episodes, and gives them back.

The server says by an advisory that a message had its last delivery; the stream ADV keeps what it says, so this role may
be down at that moment. Every step of a dead letter's way may be repeated: the copy has a message id, the episode fails
once, and the advisory is acknowledged last.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Literal
from uuid import uuid4

import nats.js.errors
import psycopg
from fastapi import APIRouter, Depends, FastAPI, Path, Query
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from opentelemetry.trace import SpanKind
from prometheus_client import Counter
from pydantic import BaseModel, Field, SecretStr, ValidationError

from bazaar import outbox, streams, tracing
from bazaar.db import Database
from bazaar.faults import fault
from bazaar.frames import EPISODES, last_frame, publish_end
from bazaar.problems import Problem
from bazaar.server import serve
from bazaar.settings import DatabaseSettings
from bazaar.streams import DLQ, TASKS, Task
from bazaar.web import create_app, internal_only

DEAD_LETTERS = Counter("dlq_messages_total", "Messages moved to the dead-letter queue.")
NOT_FOUND = (10043, 10057)
"""The server's codes for the deletion of a message that is not there: gone just now, or before."""


class DlqSettings(DatabaseSettings):
    """What the role needs."""

    nats_url: SecretStr
    internal_key: SecretStr = Field(min_length=16)


class Advisory(BaseModel):
    """What the server says of a message that it gave up."""

    type: Literal["io.nats.jetstream.advisory.v1.max_deliver", "io.nats.jetstream.advisory.v1.terminated"]
    stream_seq: int
    deliveries: int


class DeadLetter(BaseModel, extra="forbid"):
    """A message in the DLQ. `task_sequence` is the one that it had in TASKS; `task` is null if it is not a task."""

    sequence: int
    subject: str
    reason: str
    deliveries: int
    task_sequence: int
    dead_at: datetime
    task: Task | None


class DeadLetters(BaseModel, extra="forbid"):
    """A page of the DLQ, oldest first. `following` is the `since` of the next page, or null after the last."""

    messages: list[DeadLetter]
    following: int | None


class Handler:
    """Moves what the server gave up from TASKS to DLQ, and back."""

    def __init__(self, db: Database, js: JetStreamContext) -> None:
        self._db, self._js = db, js

    async def bury(self, message: Msg) -> None:
        """Work off an advisory; it comes again if this is interrupted."""
        advisory = Advisory.model_validate_json(message.data)
        try:
            poison = await self._js.get_msg(TASKS, advisory.stream_seq)
        except nats.js.errors.NotFoundError:
            await message.ack()  # moved before an interruption, or finished by an acknowledgment that came late
            return
        with tracing.continued(poison.headers), tracing.span("dlq send", SpanKind.PRODUCER):
            copied = await self._js.publish(
                f"dlq.{poison.subject}",
                poison.data or b"",
                headers={
                    **(poison.headers or {}),
                    "Nats-Msg-Id": f"dlq-{advisory.stream_seq}",
                    "Dead-Reason": advisory.type.rpartition(".")[2],
                    "Dead-Deliveries": str(advisory.deliveries),
                    "Dead-Sequence": str(advisory.stream_seq),
                },
            )
            task = _task(poison)
            if task:
                await self._fail(task)
        await self._delete(TASKS, advisory.stream_seq)
        await message.ack()
        if not copied.duplicate:
            DEAD_LETTERS.inc()

    async def requeue(self, sequence: int) -> Task:
        """Give a dead letter back to the workers, once, however often this is asked or interrupted.

        Raises Problem `not-found`, `invalid-request` (it is no task) or `conversation-busy`.
        """
        try:
            dead = await self._js.get_msg(DLQ, sequence)
        except nats.js.errors.NotFoundError as error:
            raise Problem("not-found", "no such dead letter") from error
        task = _task(dead)
        if task is None:
            raise Problem("invalid-request", "this message is not a task; no worker could take it")
        once = fault("dlq_requeue_twice") is None
        message_id = f"requeue-{task.episode_id}-{sequence if once else uuid4()}"
        with tracing.continued(dead.headers):
            try:
                async with self._db.tenant(task.tenant_id) as transaction:
                    if await transaction.row("lock_conversation_of", episode_id=task.episode_id) is None:
                        raise Problem("not-found", "the tenant of this dead letter is gone")
                    subject = (dead.subject or "").removeprefix("dlq.")
                    if await outbox.enqueue(transaction, subject, message_id, task.model_dump(mode="json")):
                        await transaction.run("reopen_episode", episode_id=task.episode_id)
            except psycopg.IntegrityError as error:
                raise Problem("conversation-busy", "the conversation has gone on; try again when it rests") from error
        if once:
            await self._delete(DLQ, sequence)
        return task

    async def page(self, since: int, limit: int) -> DeadLetters:
        """Dead letters after a sequence number."""
        found: list[DeadLetter] = []
        try:
            while len(found) < limit:
                dead = await self._js.get_msg(DLQ, since + 1, subject="dlq.>", next=True)
                since = dead.seq or 0
                found.append(_described(dead))
        except nats.js.errors.NotFoundError:
            return DeadLetters(messages=found, following=None)
        return DeadLetters(messages=found, following=since)

    async def _fail(self, task: Task) -> None:
        """Fail an episode that is still open, which frees its conversation, and tell its clients."""
        async with self._db.tenant(task.tenant_id) as transaction:
            row = await transaction.row("lock_conversation_of", episode_id=task.episode_id)
            if row is None:
                return  # gone with its tenant
            # The last checkpoint does not know the frames of the step that failed; the stream does.
            published = await last_frame(self._js, task.tenant_id, row.conversation)
            failed = await transaction.run(
                "fail_episode", episode_id=task.episode_id, error="step-failed", published=published
            )
            if failed:
                await transaction.run("count_usage", episode_id=task.episode_id)
            ended = await transaction.row("load_episode", episode_id=task.episode_id)
        if failed:
            EPISODES.labels("failed").inc()
        if ended and ended.state in ("done", "failed"):
            await publish_end(self._js, task.tenant_id, ended)

    async def _delete(self, stream: str, sequence: int) -> None:
        try:
            await self._js.delete_msg(stream, sequence)
        except nats.js.errors.APIError as error:
            if error.err_code not in NOT_FOUND:
                raise


def _task(message: RawStreamMsg) -> Task | None:
    try:
        return Task.model_validate_json(message.data or b"")
    except ValidationError:
        return None


def _described(dead: RawStreamMsg) -> DeadLetter:
    headers = dead.headers or {}
    assert dead.seq is not None
    assert dead.time is not None
    return DeadLetter(
        sequence=dead.seq,
        subject=(dead.subject or "").removeprefix("dlq."),
        reason=headers["Dead-Reason"],
        deliveries=int(headers["Dead-Deliveries"]),
        task_sequence=int(headers["Dead-Sequence"]),
        dead_at=dead.time,
        task=_task(dead),
    )


def create_dlq(settings: DlqSettings) -> FastAPI:
    """The role's application: the handler of advisories, and a door to list and requeue."""
    client: Client
    handler: Handler
    work: asyncio.Task[None]
    db = Database(settings.app_dsn, settings.pool_size)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        nonlocal client, handler, work
        client, js = await streams.connect(settings.nats_url, "dlq")
        handler = Handler(db, js)
        work = asyncio.create_task(streams.consume(lambda: streams.advisory_subscription(js), handler.bury))
        yield
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await client.drain()
        await db.close()

    async def ready() -> None:
        if work.done():
            work.result()  # raises what ended it
        streams.require_connected(client)
        await db.ping()

    app = create_app("bazaar dlq", ready, lifespan)
    door = APIRouter(dependencies=[Depends(internal_only(settings.internal_key))])

    @door.get("/dlq")
    async def dead_letters(
        since: Annotated[int, Query(ge=0, le=2**62)] = 0, limit: Annotated[int, Query(ge=1, le=100)] = 100
    ) -> DeadLetters:
        return await handler.page(since, limit)

    @door.post("/dlq/{sequence}:requeue")
    async def requeue(sequence: Annotated[int, Path(ge=1, le=2**62)]) -> Task:
        return await handler.requeue(sequence)

    app.include_router(door)
    return app


def run() -> None:
    """Serve this role until it is told to stop."""
    serve("dlq", DlqSettings, create_dlq)
