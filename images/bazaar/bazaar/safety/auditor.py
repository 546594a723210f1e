"""Verify the audit chains of all tenants, from the table and from the heads that were published on EVENTS.

It runs on its own (`python -m bazaar audit`) with the right to read only. It prints JSON and ends with 1 if a chain is
broken.
"""

import asyncio
import json
import sys
from typing import Any

import nats
import psycopg
from nats.js.errors import NotFoundError
from pydantic import SecretStr

from bazaar import streams
from bazaar.safety.audit import ORIGIN, digest
from bazaar.settings import Settings

MAX_HEADS = 100_000


class AuditSettings(Settings):
    """What verifying needs. Without `nats_url` the published heads are not looked at."""

    ops_dsn: SecretStr
    nats_url: SecretStr | None = None


def verify(ops_dsn: str, heads: list[streams.AuditHead]) -> dict[str, Any]:
    """Recompute every chain; gives the counts and what is broken: {tenant_id, sequence, why} each.

    `why` is `missing` (a gap before this entry), `previous` (not the hash of the entry before), `hash` (the entry was
    changed) or `head` (what was published is not what the table holds).
    """
    broken: list[dict[str, Any]] = []
    published = {(head.tenant_id, head.sequence): head.hash for head in heads}
    rows, tenants, before, last, last_hash = 0, 0, None, 0, ORIGIN
    with psycopg.connect(ops_dsn) as connection, connection.cursor("audit") as cursor:
        cursor.execute(
            "SELECT tenant_id, sequence, at, actor, action, subject, payload, previous, hash"
            " FROM bazaar.audit ORDER BY tenant_id, sequence"
        )
        for row in cursor:
            tenant_id, sequence, *_, previous, stored = row
            if tenant_id != before:
                tenants, before, last, last_hash = tenants + 1, tenant_id, 0, ORIGIN
            right = digest(*row[:-1])
            checks = {
                "missing": sequence == last + 1,
                "previous": previous == last_hash,
                "hash": stored == right,
                "head": published.pop((tenant_id, sequence), right.hex()) == right.hex(),
            }
            place = {"tenant_id": str(tenant_id), "sequence": sequence}
            broken += [{**place, "why": why} for why, holds in checks.items() if not holds]
            rows, last, last_hash = rows + 1, sequence, stored
    broken += [{"tenant_id": str(t), "sequence": s, "why": "head"} for t, s in published]
    return {"tenants": tenants, "rows": rows, "heads": len(heads), "broken": broken}


async def published_heads(nats_url: str) -> list[streams.AuditHead]:
    """The heads that EVENTS still holds, at most MAX_HEADS, oldest first."""
    heads: list[streams.AuditHead] = []
    client = await nats.connect(nats_url, name="audit", allow_reconnect=False)
    try:
        js, sequence = client.jetstream(timeout=5), 1
        while len(heads) < MAX_HEADS:
            message = await js.get_msg(streams.EVENTS, sequence, streams.audit_subject(None), next=True)
            heads.append(streams.AuditHead.model_validate_json(message.data or b""))
            sequence = (message.seq or 0) + 1
    except NotFoundError:
        pass  # there are no more
    finally:
        await client.close()
    return heads


def run() -> None:
    """Verify, print the result, and end."""
    settings = AuditSettings.load()
    # The heads first: what is published after this look is in the table too.
    heads = asyncio.run(published_heads(settings.nats_url.get_secret_value())) if settings.nats_url else []
    result = verify(settings.ops_dsn.get_secret_value(), heads)
    sys.stdout.write(json.dumps(result) + "\n")
    sys.exit(1 if result["broken"] else 0)
