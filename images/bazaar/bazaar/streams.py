"""The streams between the roles, defined in one place because publishers and consumers must agree on them.

TASKS is a work queue with a deduplication window; EVENTS tells the world what happened to an episode.
"""

import asyncio
import logging
from typing import Literal
from uuid import UUID

import nats
import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError
from pydantic import BaseModel, ConfigDict, Field, SecretStr

LOG = logging.getLogger(__name__)
CONNECT_SECONDS = 50.0

TASKS, EVENTS = "TASKS", "EVENTS"
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
)


class Task(BaseModel):
    """The message on TASKS."""

    model_config = ConfigDict(extra="forbid")
    tenant_id: UUID
    episode_id: UUID


class EpisodeEnded(BaseModel):
    """The message on EVENTS when an episode is done or failed."""

    model_config = ConfigDict(extra="forbid")
    type: str = "episode.ended"
    episode_id: UUID
    state: str


class Frame(BaseModel):
    """The message on EVENTS, and what a WebSocket client gets.

    `seq` counts the frames of a conversation from 1 without a gap. `data` holds: step {step}, progress {text} (what the
    composing model says next), message {text} (the whole reply), ended {state}; started nothing.
    """

    model_config = ConfigDict(extra="forbid")
    seq: int = Field(ge=1)
    type: Literal["started", "step", "progress", "message", "ended"]
    episode_id: UUID
    data: dict[str, str] = {}


def task_subject(arm: str) -> str:
    """Where the tasks of an arm are published."""
    return f"tasks.{arm}.message"


class AuditHead(BaseModel):
    """The message on EVENTS that pins the audit chain of a tenant: the hash (hex) of its entry `sequence`."""

    model_config = ConfigDict(extra="forbid")
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
            client = await nats.connect(
                url.get_secret_value(),
                name=name,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.5,
                disconnected_cb=on_disconnect,
                reconnected_cb=on_reconnect,
                error_cb=on_error,
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


def require_connected(client: Client) -> None:
    """Raise ConnectionClosedError while the client is cut off; its own publish would silently buffer."""
    if not client.is_connected:
        raise nats.errors.ConnectionClosedError
