"""The audit chain holds what was done, nobody can change it unseen, and its heads are elsewhere too."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from loopback import Platform, free_port, roles
from shop import SCOPES, Shop, new_shop


def verify(bazaar: Platform, tenant_id: str) -> tuple[int, dict[str, Any], list[str]]:
    """Run the verifier; gives its exit code, its answer, and why the tenant's chain is broken."""
    environment = {**bazaar.environment, "BAZAAR_OPS_DSN": bazaar.ops_dsn}
    argv = [sys.executable, "-m", "bazaar", "audit"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return done.returncode, answer, [b["why"] for b in answer["broken"] if b["tenant_id"] == tenant_id]


@pytest.fixture
def owner(bazaar: Platform) -> Iterator[psycopg.Connection]:
    """Who could tamper: a superuser. All is undone at the end."""
    with psycopg.connect(bazaar.environment["BAZAAR_SUPERUSER_DSN"], autocommit=True) as connection:
        connection.execute("SET search_path = bazaar")
        yield connection


def entries(connection: psycopg.Connection, tenant_id: str) -> list[tuple[Any, ...]]:
    query = "SELECT sequence, actor, action, subject FROM audit WHERE tenant_id = %s ORDER BY sequence"
    return connection.execute(query, (tenant_id,)).fetchall()


def test_what_is_done_to_a_tenant_is_kept_after_it(bazaar: Platform, shop: Shop, owner: psycopg.Connection) -> None:
    shop.http.delete(f"/v1/admin/tenants/{shop.tenant_id}", headers={"Authorization": f"Bearer {bazaar.admin_key}"})
    found = entries(owner, shop.tenant_id)
    tenant = f"tenant/{shop.tenant_id}"
    assert found[0] == (1, "admin", "tenant.make", tenant)
    assert found[1:3] == [(2, "admin", "key.make", "user/alice"), (3, "admin", "key.make", "user/bob")]
    assert found[-1] == (len(found), "admin", "tenant.remove", tenant)
    assert verify(bazaar, shop.tenant_id)[2] == []


@pytest.mark.parametrize(
    ("tampering", "why"),
    [
        ("""UPDATE audit SET payload = '{"mode": "GOLDEN"}' WHERE tenant_id = %s AND sequence = 1""", ["hash"]),
        ("UPDATE audit SET actor = 'nobody' WHERE tenant_id = %s AND sequence = 2", ["hash"]),
        ("UPDATE audit SET at = at + interval '1 us' WHERE tenant_id = %s AND sequence = 3", ["hash"]),
        ("DELETE FROM audit WHERE tenant_id = %s AND sequence = 2", ["missing", "previous"]),
        ("UPDATE audit SET previous = sha256('x') WHERE tenant_id = %s AND sequence = 3", ["previous", "hash"]),
    ],
)
def test_tampering_breaks_the_chain(
    bazaar: Platform, shop: Shop, owner: psycopg.Connection, tampering: str, why: list[str]
) -> None:
    code, answer, before = verify(bazaar, shop.tenant_id)
    assert (code, before) == (0, []), answer["broken"]
    assert answer["rows"] >= 3
    kept = owner.execute("SELECT * FROM audit WHERE tenant_id = %s", (shop.tenant_id,)).fetchall()
    assert owner.execute(tampering, (shop.tenant_id,)).rowcount == 1
    try:
        assert verify(bazaar, shop.tenant_id)[::2] == (1, why)
    finally:
        with owner.transaction(), owner.cursor() as cursor:
            cursor.execute("DELETE FROM audit WHERE tenant_id = %s", (shop.tenant_id,))
            row = "INSERT INTO audit VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
            cursor.executemany(row, [[json.dumps(v) if isinstance(v, dict) else v for v in r] for r in kept])


def test_a_rewritten_chain_does_not_match_its_published_head(bazaar: Platform, owner: psycopg.Connection) -> None:
    with httpx.Client(base_url=bazaar.urls["gateway"], timeout=30) as http:
        names = [f"user{n}" for n in range(20)]
        shop = new_shop(http, bazaar.admin_key, users=[{"name": name, "scopes": SCOPES} for name in names])
    deadline = time.monotonic() + 10
    query = "SELECT count(*) FROM outbox WHERE tenant_id = %s AND published_at IS NOT NULL"
    while owner.execute(query, (shop.tenant_id,)).fetchone() != (1,):
        assert time.monotonic() < deadline, "the head was not published"
        time.sleep(0.1)
    code, answer, broken = verify(bazaar, shop.tenant_id)
    assert (code, broken) == (0, []), answer["broken"]
    assert answer["heads"] >= 1
    kept = owner.execute("SELECT * FROM audit WHERE tenant_id = %s AND sequence > 15", (shop.tenant_id,)).fetchall()
    # A perfect shorter chain: only the head that went out tells.
    owner.execute("DELETE FROM audit WHERE tenant_id = %s AND sequence > 15", (shop.tenant_id,))
    try:
        assert verify(bazaar, shop.tenant_id)[::2] == (1, ["head"])
    finally:
        row = "INSERT INTO audit VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
        owner.cursor().executemany(row, [[json.dumps(v) if isinstance(v, dict) else v for v in r] for r in kept])


@pytest.mark.parametrize(
    "statement", ["UPDATE audit SET actor = 'x'", "DELETE FROM audit", "TRUNCATE audit", "DROP TABLE audit"]
)
@pytest.mark.parametrize("dsn", ["app_dsn", "ops_dsn"])
def test_roles_may_not_change_it(bazaar: Platform, dsn: str, statement: str) -> None:
    with (
        psycopg.connect(getattr(bazaar, dsn)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


def test_appends_at_the_same_time_make_one_chain(bazaar: Platform, shop: Shop, owner: psycopg.Connection) -> None:
    def store(number: int) -> int:
        document = {"document_id": f"d{number}", "title": "T", "body": "B"}
        return shop.request("POST", "/v1/documents:batch", json={"documents": [document]}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(store, range(24))) == {200}
    assert [e[0] for e in entries(owner, shop.tenant_id)] == list(range(1, 3 + 24 + 1))
    assert verify(bazaar, shop.tenant_id)[2] == []


def test_planted_hash_without_payload_is_found(bazaar: Platform, tmp_path: Path, owner: psycopg.Connection) -> None:
    environment = {**bazaar.environment, "FAULTS": "audit_skips_payload"}
    with roles({"gateway": free_port()}, tmp_path, environment) as urls, httpx.Client(base_url=urls["gateway"]) as http:
        shop = new_shop(http, bazaar.admin_key)
    try:
        assert set(verify(bazaar, shop.tenant_id)[2]) == {"hash"}
    finally:
        owner.execute("DELETE FROM audit WHERE tenant_id = %s", (shop.tenant_id,))
