"""The streams between the roles, defined in one place because publishers and consumers must agree on them.

TASKS is a work queue with a deduplication window; EVENTS tells the world what happens to an episode; DLQ holds what no
worker could finish. ADV keeps what the server says about TASKS: its advisories are core messages, gone if nobody hears.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Literal
from uuid import UUID

import nats
import nats.errors
import psycopg
import sqlalchemy.exc
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError
from pydantic import BaseModel, Field, SecretStr

from bazaar.faults import fault

LOG = logging.getLogger(__name__)
CONNECT_SECONDS = 50.0

TASKS, EVENTS, DLQ, ADV = "TASKS", "EVENTS", "DLQ", "ADV"
DAY = 86_400.0
MAX_DELIVER = 4
BACKOFF_SECONDS = (2.0, 2.0, 4.0)
"""Waits for an acknowledgment of deliveries 1, 2 and 3 (the last one counts for 4 as well)."""

_STREAMS = (
    StreamConfig(
        name=TASKS,
        subjects=["tasks.>"],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        duplicate_window=120.0,
    ),
    StreamConfig(name=EVENTS, subjects=["events.>"], storage=StorageType.FILE, max_age=3600.0, duplicate_window=120.0),
    # Dead letters are few, so the window in which a repetition is known may be long.
    StreamConfig(name=DLQ, subjects=["dlq.>"], storage=StorageType.FILE, max_age=7 * DAY, duplicate_window=DAY),
    StreamConfig(
        name=ADV,
        subjects=[f"$JS.EVENT.ADVISORY.CONSUMER.{kind}.{TASKS}.>" for kind in ("MAX_DELIVERIES", "MSG_TERMINATED")],
        storage=StorageType.FILE,
        max_age=DAY,
    ),
)


class Task(BaseModel, extra="forbid"):
    """The message on TASKS."""

    tenant_id: UUID
    episode_id: UUID


class Frame(BaseModel, extra="forbid"):
    """The message on EVENTS, and what a WebSocket client gets.

    `seq` counts the frames of a conversation from 1 without a gap. `data` holds: step {step}, progress {text} (what the
    composing model says next), message {text} (the whole reply), ended {state}; started nothing.
    """

    seq: int = Field(ge=1)
    type: Literal["started", "step", "progress", "message", "ended"]
    episode_id: UUID
    data: dict[str, str] = {}


def task_subject(arm: str) -> str:
    """Where the tasks of an arm are published."""
    return f"tasks.{arm}.message"


class AuditHead(BaseModel, extra="forbid"):
    """The message on EVENTS that pins the audit chain of a tenant: the hash (hex) of its entry `sequence`."""

    tenant_id: UUID
    sequence: int
    hash: str


def audit_subject(tenant_id: UUID | None) -> str:
    """Where the heads of a tenant's audit chain are published; None: of all tenants, to read."""
    return f"events.{tenant_id.hex if tenant_id else '*'}.audit"


def event_subject(tenant_id: UUID, conversation: int) -> str:
    """Where the events of a conversation are published."""
    return f"events.{tenant_id.hex}.{conversation}"


async def connect(url: SecretStr, name: str) -> tuple[Client, JetStreamContext]:
    """Connect, wait up to CONNECT_SECONDS for the server, and make sure that the streams exist.

    Raises SystemExit if the server does not answer. Later losses of the connection are mended by the client.
    """

    async def on_disconnect() -> None:
        LOG.warning("lost the connection to NATS")

    async def on_reconnect() -> None:
        # The server may have come back without its disk.
        await asyncio.gather(*(_ensure_stream(js, stream) for stream in _STREAMS))

    async def on_error(error: Exception) -> None:
        LOG.warning("NATS: %r", error)

    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            told = {"disconnected_cb": on_disconnect, "reconnected_cb": on_reconnect, "error_cb": on_error}
            client = await nats.connect(
                url.get_secret_value(), name=name, max_reconnect_attempts=-1, reconnect_time_wait=0.5, **told
            )
            js = client.jetstream(timeout=5)
            for stream in _STREAMS:
                await _ensure_stream(js, stream)
    except (TimeoutError, nats.errors.Error) as error:
        raise SystemExit(f"NATS did not answer within {CONNECT_SECONDS:.0f} s: {error!r}") from error
    return client, js


async def _ensure_stream(js: JetStreamContext, stream: StreamConfig) -> None:
    try:
        await js.stream_info(stream.name or "")
    except NotFoundError:
        await js.add_stream(stream)  # creating an equal stream twice is no error
    else:
        await js.update_stream(stream)


async def task_subscription(js: JetStreamContext, arm: str) -> JetStreamContext.PullSubscription:
    """A new pull subscription to the durable consumer that all workers of an arm share."""
    durable = f"orchestrator-{arm}"
    config = ConsumerConfig(
        durable_name=durable,
        ack_policy=AckPolicy.EXPLICIT,
        max_deliver=MAX_DELIVER,
        backoff=list(BACKOFF_SECONDS),
        ack_wait=BACKOFF_SECONDS[0],
        filter_subject=task_subject(arm),
        max_ack_pending=1000,
    )
    await js.add_consumer(TASKS, config)
    return await js.pull_subscribe_bind(durable, TASKS)


async def advisory_subscription(js: JetStreamContext) -> JetStreamContext.PullSubscription:
    """A new pull subscription to what the server said about TASKS, from where the last one ended."""
    config = ConsumerConfig(durable_name="dlq", ack_policy=AckPolicy.EXPLICIT, ack_wait=5.0)
    if fault("dlq_core_subscription") is not None:
        config = ConsumerConfig(deliver_policy=DeliverPolicy.NEW, ack_policy=AckPolicy.EXPLICIT, ack_wait=5.0)
    made = await js.add_consumer(ADV, config)
    return await js.pull_subscribe_bind(made.name, ADV)


async def consume(
    subscribe: Callable[[], Awaitable[JetStreamContext.PullSubscription]], handle: Callable[[Msg], Awaitable[None]]
) -> None:
    """Hand on messages, one at a time, until cancelled. Failures of the servers are logged and tried again."""
    while True:
        try:
            subscription = await subscribe()
            try:
                while True:
                    for message in await _next(subscription):
                        await handle(message)
            finally:
                await subscription.unsubscribe()
        except (nats.errors.Error, psycopg.Error, sqlalchemy.exc.TimeoutError, TimeoutError) as error:
            LOG.warning("a message waits for its next delivery: %r", error)
            await asyncio.sleep(1.0)


async def _next(subscription: JetStreamContext.PullSubscription) -> list[Msg]:
    try:
        return await subscription.fetch(1, timeout=10)
    except nats.errors.TimeoutError:
        return []  # nothing came


async def settle(client: Client) -> None:
    """Wait until the server has taken in what was sent. Raises nats.errors.FlushTimeoutError after 5 s.

    The flush itself goes on, to a time at which no answer can come any more. nats-py ends its reading for good, while
    the connection looks well, when the answer comes to a flush that was cancelled (InvalidStateError, as in
    nats-io/nats.py#624).
    """
    flush = asyncio.ensure_future(client.flush(600))
    if not (await asyncio.wait({flush}, timeout=5))[0]:
        raise nats.errors.FlushTimeoutError
    flush.result()


def require_connected(client: Client) -> None:
    """Raise ConnectionClosedError while the client is cut off; its own publish would silently buffer."""
    if not client.is_connected:
        raise nats.errors.ConnectionClosedError
