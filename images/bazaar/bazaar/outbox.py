"""Messages leave through a table, so that a row and its message are committed together or not at all.

Every gateway runs a relay. Rows are locked while they are published and skipped by the others; a relay that dies before
its commit publishes again, and the stream drops the repetition by its message id.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import suppress

import nats.errors
import psycopg
from nats.js import JetStreamContext
from opentelemetry.trace import SpanKind

from bazaar import tracing
from bazaar.db import Database, Row, Transaction
from bazaar.faults import fault
from bazaar.streams import task_subject

LOG = logging.getLogger(__name__)
SWEEP_SECONDS = 1.0
BATCH = 100


async def enqueue(transaction: Transaction, subject: str, message_id: str, payload: Mapping[str, str | int]) -> bool:
    """Write a message into the caller's transaction; it will carry the caller's trace.

    False if the tenant has sent a message with this id before: then this one is not sent.
    """
    written = await transaction.run(
        "insert_outbox",
        subject=subject,
        message_id=message_id,
        headers=json.dumps(tracing.headers()),
        payload=json.dumps(payload),
    )
    return written > 0


class Relay:
    """Moves committed messages to JetStream: the tasks of its own arm, and all events."""

    def __init__(self, db: Database, js: JetStreamContext, arm: str) -> None:
        self._db, self._js, self._tasks = db, js, task_subject(arm)
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Say that a message was committed here. Without it the sweep finds the message a second later."""
        self._wake.set()

    async def run(self) -> None:
        """Relay until cancelled; failures of the servers are logged and tried again."""
        while True:
            with suppress(TimeoutError):  # then it is time to sweep: another gateway may have died before it published
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            try:
                while await self._publish_batch():
                    pass
            except (nats.errors.Error, psycopg.Error, TimeoutError) as error:
                LOG.warning("the outbox waits: %r", error)
                await asyncio.sleep(SWEEP_SECONDS)

    async def _publish_batch(self) -> bool:
        """Publish what waits; gives whether there may be more."""
        async with self._db.without_tenant() as transaction:
            rows = await transaction.rows("lock_outbox", tasks=self._tasks, batch=BATCH)
            await asyncio.gather(*(self._publish(row) for row in rows))
            if rows:
                await transaction.run("mark_published", outbox_ids=[row.outbox_id for row in rows])
        return len(rows) == BATCH

    async def _publish(self, row: Row) -> None:
        with tracing.continued(row.headers), tracing.span("tasks send", SpanKind.PRODUCER):
            trace = tracing.headers() if fault("traceparent_dropped") is None else {}
            headers = trace | {"Nats-Msg-Id": row.message_id}
            await self._js.publish(row.subject, json.dumps(row.payload).encode(), headers=headers)
