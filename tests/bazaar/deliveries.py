"""Tasks past the outbox, and episodes put back into a step: what redeliveries and kills do."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import nats
import psycopg
from loopback import Platform
from shop import Shop


def deliver(bazaar: Platform, *payloads: bytes) -> None:
    """Put messages on TASKS past the outbox, as redeliveries and strangers do."""

    async def publish() -> None:
        client = await nats.connect(bazaar.urls["nats"])
        try:
            for payload in payloads:
                await client.jetstream().publish("tasks.a.message", payload)
        finally:
            await client.close()

    asyncio.run(publish())


def rewind(
    bazaar: Platform,
    shop: Shop,
    episode: dict[str, Any],
    step: str = "tool-1",
    later: Sequence[str] = ("compose",),
    plan: dict[str, Any] | None = None,
) -> bytes:
    """Put an ended episode back into one of its steps, as a kill before the checkpoint would leave it; gives its task.

    `later` are the steps after it; `plan` replaces the output of the step `plan`.
    """
    where = "WHERE tenant_id = %(tenant)s AND episode_id = %(episode)s"
    values = {"tenant": shop.tenant_id, "episode": episode["episode_id"], "step": step, "later": list(later)}
    with psycopg.connect(bazaar.environment["BAZAAR_SUPERUSER_DSN"], autocommit=True) as superuser:
        superuser.execute("SET search_path = bazaar")
        superuser.execute(f"DELETE FROM messages {where} AND role = 'assistant'", values)
        superuser.execute(f"DELETE FROM episode_steps {where} AND step = ANY(%(later)s)", values)
        undone = "done_at = NULL, output = NULL, calls = NULL, state = NULL"
        superuser.execute(f"UPDATE episode_steps SET {undone} {where} AND step = %(step)s", values)
        if plan:
            planned = {**values, "plan": json.dumps(plan)}
            superuser.execute(f"UPDATE episode_steps SET output = %(plan)s {where} AND step = 'plan'", planned)
        superuser.execute(f"UPDATE episodes SET state = 'running', reply = NULL {where}", values)
    return json.dumps({"tenant_id": shop.tenant_id, "episode_id": episode["episode_id"]}).encode()
