"""The platform's streams, read from their beginning: what was published, with which number, how often delivered."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import nats
import nats.errors
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

SECONDS = 10.0
BATCH = 200
MAX_BATCHES = 500
T = TypeVar("T")


@dataclass(frozen=True)
class Stored:
    """A message in a stream."""

    sequence: int
    subject: str
    data: bytes = field(repr=False)
    headers: dict[str, str]


@dataclass(frozen=True)
class Deliveries:
    """What a work queue has handed out: messages that were published, and deliveries of them."""

    published: int
    delivered: int


def read_stream(stream: str, subject: str) -> list[Stored]:
    """Every message that a stream holds under a subject, oldest first. Raises RuntimeError if NATS does not answer."""

    async def read(js: JetStreamContext) -> list[Stored]:
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.NONE, filter_subject=subject, inactive_threshold=30
        )
        made = await js.add_consumer(stream, config)
        subscription = await js.pull_subscribe_bind(made.name, stream)
        found: list[Stored] = []
        for _ in range(MAX_BATCHES):
            left = (made.num_pending or 0) - len(found)
            if left <= 0:
                return found
            for message in await subscription.fetch(min(left, BATCH), timeout=SECONDS):
                headers = dict(message.headers or {})
                found.append(Stored(message.metadata.sequence.stream, message.subject, message.data, headers))
        raise RuntimeError(f"{stream} has more than {MAX_BATCHES * BATCH} messages under {subject}")

    return _ask(read)


def deliveries(stream: str) -> Deliveries:
    """How many messages a work queue was given, and how many deliveries its consumers made of them."""

    async def count(js: JetStreamContext) -> Deliveries:
        published = (await js.stream_info(stream)).state.last_seq
        consumers = await js.consumers_info(stream)
        return Deliveries(published, sum(c.delivered.consumer_seq for c in consumers if c.delivered))

    return _ask(count)


def _ask(what: Callable[[JetStreamContext], Awaitable[T]]) -> T:
    url = os.environ.get("PROCTOR_TARGET_NATS_URL")
    if not url:
        raise RuntimeError("PROCTOR_TARGET_NATS_URL is not set (see suites/README.md)")

    async def connected() -> T:
        client = await nats.connect(url, allow_reconnect=False, connect_timeout=SECONDS)
        try:
            return await what(client.jetstream(timeout=SECONDS))
        finally:
            await client.close()

    try:
        return asyncio.run(connected())
    except (OSError, nats.errors.Error, TimeoutError) as error:
        raise RuntimeError(f"PROCTOR_TARGET_NATS_URL does not answer: {error!r}") from error
