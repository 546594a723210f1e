"""What was done to a tenant is written down so that nobody can change it unseen, and stays when the tenant is gone."""

import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import psycopg
import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform, Shop
from _helpers.client import User
from _helpers.jetstream import read_stream
from _helpers.properties import Property, check
from t06_multitenant.chain import first_break
from t06_multitenant.neighbors import Neighbor

PUBLISHED_EVERY = 16
PUBLISH_SECONDS, POLL_SECONDS = 20.0, 0.3


def _entries(platform: Platform, tenant_id: str) -> list[dict[str, Any]]:
    return sorted(platform.database.rows("audit", tenant_id), key=lambda row: int(row["sequence"]))


def _store(user: User, name: str) -> int:
    document = {"document_id": name, "title": "Surprise", "body": "The surprise is marzipan."}
    return user.request("POST", "/v1/documents:batch", json={"documents": [document]}).status_code


def test_chains_verify(platform: Platform, neighbors: list[Neighbor], evidence: Evidence) -> None:
    """Computed again from the rows, each entry's hash covers all of it and the one before, in every tenant."""
    for neighbor in neighbors:
        rows = _entries(platform, neighbor.tenant_id)
        kinds = {row["action"].partition(".")[0] for row in rows}
        seen = f"entries of the kinds {sorted(kinds)}, expected those of tenant, key, documents and effects"
        check(kinds >= {"tenant", "key", "documents", "effect"}, Property.AUDIT_COMPLETE, seen)
        full = sum(bool(row["payload"]) for row in rows)
        check(full > len(rows) / 2, Property.AUDIT_COMPLETE, f"{full} of {len(rows)} entries say what was done")
        broken = first_break(rows)
        check(broken is None, Property.AUDIT_CHAIN, f"{broken}, in a chain of {len(rows)}")
        evidence("entries", len(rows))


def test_entries_at_the_same_time_are_one_chain(shop: Shop, platform: Platform, evidence: Evidence) -> None:
    """Changes that are made at once are all there, one after the other."""
    before = len(_entries(platform, shop.tenant_id))
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda number: _store(shop.alice, f"note-{number}"), range(24)))
    rows = _entries(platform, shop.tenant_id)
    seen = f"{len(rows) - before} entries for {statuses.count(200)} changes at once"
    check(len(rows) - before == statuses.count(200) == 24, Property.AUDIT_COMPLETE, seen)
    broken = first_break(rows)
    check(broken is None, Property.AUDIT_CHAIN, f"{broken}, in a chain of {len(rows)}")
    evidence("entries", len(rows))


def test_published_heads_are_the_chains(shop: Shop, platform: Platform, evidence: Evidence) -> None:
    """Every 16th hash goes out on EVENTS, where who can write the table cannot reach it, and is that of the row."""
    for number in range(2 * PUBLISHED_EVERY):
        _store(shop.alice, f"note-{number}")
    rows = _entries(platform, shop.tenant_id)
    expected = {
        row["sequence"]: str(row["hash"]).removeprefix("\\x") for row in rows if row["sequence"] % PUBLISHED_EVERY == 0
    }
    check(len(expected) >= 2, Property.AUDIT_COMPLETE, f"{len(rows)} entries, expected {2 * PUBLISHED_EVERY} at least")
    deadline, pause = time.monotonic() + PUBLISH_SECONDS, threading.Event()
    while (heads := _heads(shop.tenant_id)) != expected and time.monotonic() < deadline:
        pause.wait(POLL_SECONDS)  # they go out when the relay comes to them
    seen = f"heads of the entries {sorted(heads)} published, expected {sorted(expected)}, with their hashes"
    check(heads == expected, Property.AUDIT_CHAIN, seen)
    broken = first_break(rows)
    check(broken is None, Property.AUDIT_CHAIN, f"{broken}, in a chain of {len(rows)}")
    evidence("heads", len(heads))


def _heads(tenant_id: str) -> dict[int, str]:
    """Published hashes by the sequence of their entries."""
    said = [json.loads(message.data) for message in read_stream("EVENTS", f"events.{UUID(tenant_id).hex}.audit")]
    return {head["sequence"]: head["hash"] for head in said}


@pytest.mark.parametrize("role", ["application", "oracle"])
@pytest.mark.parametrize("verb", ["UPDATE", "DELETE", "TRUNCATE"])
def test_no_role_can_change_an_entry(
    shop: Shop, app: psycopg.Connection, ops: psycopg.Connection, role: str, verb: str
) -> None:
    """Neither the application, in the tenant's own context, nor who may read everything."""
    app.execute("SELECT set_config('bazaar.tenant', %s, true)", [shop.tenant_id])
    statements = {"UPDATE": "UPDATE bazaar.audit SET actor = 'nobody'", "DELETE": "DELETE FROM bazaar.audit"}
    statements["TRUNCATE"] = "TRUNCATE bazaar.audit"
    (there,) = app.execute("SELECT count(*) FROM bazaar.audit").fetchone() or (0,)
    check(there > 0, Property.AUDIT_COMPLETE, "0 entries of a tenant that was made")
    connection, refused = app if role == "application" else ops, False
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statements[verb])
    except psycopg.errors.InsufficientPrivilege:
        refused = True
    check(refused, Property.AUDIT_CHAIN, f"{verb} of audit entries is allowed to the {role}")


def test_what_is_done_to_a_tenant_is_entered(shop: Shop, platform: Platform, seeded: random.Random) -> None:
    """Making it and its keys, storing documents, ordering, and ending keys: each with who did it, in order."""
    shop.place(shop.alice, "mug", seeded.randint(1, 5))
    admin = {"Authorization": f"Bearer {platform.target.admin_key}"}
    platform.http.delete(f"/v1/admin/tenants/{shop.tenant_id}/users/bob/keys", headers=admin)
    told = [(row["actor"], row["action"]) for row in _entries(platform, shop.tenant_id)]
    expected = [
        ("admin", "tenant.make"),
        ("admin", "key.make"),
        ("admin", "key.make"),
        ("user/alice", "documents.store"),
        ("alice", "effect.order"),
        ("admin", "keys.revoke"),
    ]
    check(told == expected, Property.AUDIT_COMPLETE, f"entered was {told}, expected {expected}")
