"""The audit chain: who did what, in a form that shows when it was changed later.

Every entry holds the hash of the one before it in its tenant, so an edited, inserted or missing entry breaks the chain
(Haber and Stornetta 1991). Every PUBLISH_EVERY entries the head goes out on EVENTS, beyond the reach of whoever can
write the table.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from bazaar import outbox, streams
from bazaar.db import Transaction
from bazaar.faults import fault

PUBLISH_EVERY = 16
ORIGIN = bytes(32)
"""What the first entry of a chain has for the hash before it."""

Payload = Mapping[str, str | int]


def digest(
    tenant_id: UUID,
    sequence: int,
    at: datetime,
    actor: str,
    action: str,
    subject: str,
    payload: Payload,
    previous: bytes,
) -> bytes:
    """SHA-256 over the hash before and the entry as JSON (keys sorted, no spaces, UTF-8, UTC with microseconds)."""
    entry = {
        "tenant_id": str(tenant_id),
        "sequence": sequence,
        "at": at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": actor,
        "action": action,
        "subject": subject,
        "payload": payload,
    }
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(previous + text.encode()).digest()


async def append(
    transaction: Transaction, actor: str, action: str, subject: str, payload: Payload | None = None
) -> None:
    """Add an entry to the chain of the transaction's tenant; it is there if and only if the transaction commits.

    Call it last: from here to the commit the tenant's other appends wait, and one that waits must hold nothing that
    this transaction still wants. Raises LookupError if the tenant is gone.
    """
    if await transaction.row("lock_name", name="audit") is None:
        raise LookupError("there is no tenant to audit")
    head = await transaction.row("find_audit_head")
    sequence, previous = (head.sequence + 1, head.hash) if head else (1, ORIGIN)
    at, payload = datetime.now(UTC), payload or {}
    tenant_id = transaction.tenant_id
    hashed = {} if fault("audit_skips_payload") is not None else payload
    entry_hash = digest(tenant_id, sequence, at, actor, action, subject, hashed, previous)
    await transaction.run(
        "insert_audit",
        sequence=sequence,
        at=at,
        actor=actor,
        action=action,
        subject=subject,
        payload=json.dumps(payload),
        previous=previous,
        hash=entry_hash,
    )
    if sequence % PUBLISH_EVERY == 0:
        head_published = streams.AuditHead(tenant_id=tenant_id, sequence=sequence, hash=entry_hash.hex())
        await outbox.enqueue(
            transaction,
            streams.audit_subject(tenant_id),
            f"audit-{tenant_id}-{sequence}",
            head_published.model_dump(mode="json"),
        )
