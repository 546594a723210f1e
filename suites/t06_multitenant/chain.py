"""The audit chain of a tenant, computed again from its rows as docs/bazaar.md describes it."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

ORIGIN = "00" * 32
"""What the first entry has for the hash before it."""
ENTRY = ("tenant_id", "sequence", "at", "actor", "action", "subject", "payload")


def first_break(rows: list[dict[str, Any]]) -> str | None:
    """The first way in which rows, in the order of their sequence, are no chain; None if they are one.

    A hash is the SHA-256 of the hash before it and of the entry as JSON: keys sorted, no spaces, UTF-8, times in UTC
    with microseconds.
    """
    before = ORIGIN
    for number, row in enumerate(rows, 1):
        previous, stored = (str(row[name]).removeprefix("\\x") for name in ("previous", "hash"))
        if row["sequence"] != number:
            return f"entry {number} is missing"
        if previous != before:
            return f"entry {number} does not follow the one before it"
        if stored != _digest(row, previous):
            return f"entry {number} ({row['action']}) was changed, or its hash does not cover it"
        before = stored
    return None


def _digest(row: dict[str, Any], previous: str) -> str:
    entry = {name: row[name] for name in ENTRY}
    entry["at"] = datetime.fromisoformat(row["at"]).astimezone(UTC).isoformat(timespec="microseconds")
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(bytes.fromhex(previous) + text.encode()).hexdigest()
