"""Row-level security holds for the application's own role, on every table, for reading and for writing."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from loopback import Platform, free_port, roles
from shop import Shop, new_shop


@pytest.fixture
def app(bazaar: Platform) -> Any:
    with psycopg.connect(bazaar.app_dsn) as connection:
        yield connection


def tenant_tables(connection: psycopg.Connection) -> list[str]:
    query = (
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'bazaar' AND column_name = 'tenant_id'"
    )
    return [name for (name,) in connection.execute(query)]


def test_every_table_is_forced_and_checked(bazaar: Platform) -> None:
    with psycopg.connect(bazaar.ops_dsn) as ops:
        tables = ops.execute(
            """SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity,
                      bool_or(p.qual IS NOT NULL AND p.with_check IS NOT NULL)
               FROM pg_class c LEFT JOIN pg_policies p ON p.schemaname = 'bazaar' AND p.tablename = c.relname
               WHERE c.relnamespace = 'bazaar'::regnamespace AND c.relkind = 'r' AND c.relname <> 'migrations'
               GROUP BY 1, 2, 3"""
        ).fetchall()
        roles = ops.execute(
            "SELECT rolname, rolcanlogin, rolsuper, rolbypassrls FROM pg_roles WHERE rolname LIKE 'bazaar_%' ORDER BY 1"
        ).fetchall()
    assert len(tables) >= 16
    assert [t for t in tables if not all(t[1:])] == []
    assert roles == [
        ("bazaar_app", True, False, False),
        ("bazaar_ops", True, False, True),
        ("bazaar_owner", False, False, False),
        ("bazaar_relay", True, False, False),
    ]


def test_without_a_tenant_nothing_is_visible(shop: Shop, app: psycopg.Connection) -> None:
    shop.say("I want to buy 1 Mug")
    tables = tenant_tables(app)
    assert "orders" in tables
    for table in tables:
        assert app.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table


def test_a_tenant_sees_and_writes_only_its_own(shop: Shop, app: psycopg.Connection) -> None:
    shop.say("I want to buy 1 Mug")
    stranger = "00000000-0000-4000-8000-000000000001"
    app.execute("SELECT set_config('bazaar.tenant', %s, true)", (stranger,))
    for table in tenant_tables(app):
        assert app.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
    assert app.execute("UPDATE stock SET available = 0").rowcount == 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        app.execute("INSERT INTO users VALUES (%s, 'mallory')", (shop.tenant_id,))


def test_ops_reads_everything_and_changes_nothing(bazaar: Platform, shop: Shop) -> None:
    shop.say("I want to buy 1 Mug")
    with psycopg.connect(bazaar.ops_dsn, autocommit=True) as ops:
        assert ops.execute("SELECT count(*) FROM orders WHERE tenant_id = %s", (shop.tenant_id,)).fetchone() == (1,)
        for statement in ("DELETE FROM orders", "UPDATE stock SET available = 0", "TRUNCATE outbox"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                ops.execute(statement)


CATALOG = """
SELECT 'table', relname, relrowsecurity::text, relforcerowsecurity::text, coalesce(relacl::text, '')
FROM pg_class WHERE relnamespace = 'bazaar'::regnamespace AND relkind IN ('r', 'v', 'm', 'S')
UNION ALL SELECT 'index', indexname, indexdef, '', '' FROM pg_indexes WHERE schemaname = 'bazaar'
UNION ALL SELECT 'policy', policyname, tablename, qual, with_check FROM pg_policies WHERE schemaname = 'bazaar'
UNION ALL SELECT 'role', rolname, rolbypassrls::text, rolcanlogin::text, '' FROM pg_roles WHERE rolname LIKE 'bazaar%'
UNION ALL SELECT 'member', roleid::regrole::text, member::regrole::text, '', ''
FROM pg_auth_members WHERE member::regrole::text LIKE 'bazaar%'
ORDER BY 1, 2, 3, 4, 5
"""


def catalog(bazaar: Platform) -> list[tuple[Any, ...]]:
    with psycopg.connect(bazaar.ops_dsn) as ops:
        return ops.execute(CATALOG).fetchall()


@contextmanager
def planted(bazaar: Platform, name: str) -> Iterator[dict[str, str]]:
    """The schema with a fault, and the environment of roles that have it too; afterwards all is as before."""
    argv = [sys.executable, "-m", "bazaar", "migrate"]
    environment = {**bazaar.environment, "FAULTS": name}
    before = catalog(bazaar)
    said = subprocess.run(argv, env=environment, check=True, timeout=60, capture_output=True)
    assert not name or name.encode() not in said.stdout + said.stderr
    try:
        yield environment
    finally:
        subprocess.run(argv, env=bazaar.environment, check=True, timeout=60)
    assert catalog(bazaar) == before


def test_nothing_else_gives_a_way_round(bazaar: Platform) -> None:
    """No view, no function with its owner's rights, no membership, and no key that spans tenants."""
    with psycopg.connect(bazaar.ops_dsn) as ops:
        views = "SELECT count(*) FROM pg_class WHERE relnamespace = 'bazaar'::regnamespace AND relkind IN ('v', 'm')"
        assert ops.execute(views).fetchone() == (0,)
        definers = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'bazaar'::regnamespace AND prosecdef"
        assert ops.execute(definers).fetchone() == (0,)
        owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'bazaar'"
        assert ops.execute(owners).fetchall() == [("bazaar_owner",)]
        keys = """SELECT indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = indrelid
                  JOIN pg_attribute a ON a.attrelid = indrelid AND a.attnum = indkey[0]
                  WHERE relnamespace = 'bazaar'::regnamespace AND indisunique AND attname <> 'tenant_id'"""
        assert ops.execute(keys).fetchall() == [("migrations_pkey",)]
    assert [row for row in catalog(bazaar) if row[0] == "member"] == []


def test_owner_rights_without_force_show_all_documents(bazaar: Platform, shop: Shop) -> None:
    keep_secret(shop)
    query = "SELECT count(*) FROM documents WHERE tenant_id = %s"
    with psycopg.connect(bazaar.app_dsn, autocommit=True) as app:
        assert app.execute(query, (shop.tenant_id,)).fetchone() == (0,)
        with planted(bazaar, "no_force_owner_dsn"):
            assert app.execute(query, (shop.tenant_id,)).fetchone() == (1,)
        assert app.execute(query, (shop.tenant_id,)).fetchone() == (0,)


def test_global_key_tells_what_another_tenant_has(bazaar: Platform, shop: Shop) -> None:
    other = new_shop(shop.http, bazaar.admin_key)
    key = {"Idempotency-Key": str(uuid4())}
    with planted(bazaar, "global_unique_key"):
        assert shop.send("How are you?", headers=key).status_code == 202
        assert other.send("How are you?", headers=key).status_code >= 400
    assert other.send("How are you?", headers=key).status_code == 202


def keep_secret(shop: Shop) -> None:
    document = {"document_id": "secret", "title": "Canary", "body": "A canary sings."}
    shop.request("POST", "/v1/documents:batch", json={"documents": [document]}).raise_for_status()


def seen_by_a_stranger(url: str, admin_key: str, victim: Shop) -> bool:
    """Whether a tenant without documents is shown the victim's, on connections that both use at the same time."""
    with httpx.Client(base_url=url, timeout=30) as http, ThreadPoolExecutor(4) as pool:
        stranger, busy = new_shop(http, admin_key), Shop(http, victim.tenant_id, victim.keys)
        for _ in range(20):
            http.get("/readyz").raise_for_status()
            others = [pool.submit(busy.request, "GET", "/v1/orders") for _ in range(3)]
            found = stranger.request("POST", "/v1/search", json={"text": "Canary"}).raise_for_status().json()["hits"]
            assert {other.result().status_code for other in others} == {200}
            if found:
                return True
    return False


@pytest.mark.parametrize("name", ["", "session_tenant", "set_role_leak"], ids=lambda name: name or "healthy")
def test_a_pooled_connection_carries_nothing_over(bazaar: Platform, shop: Shop, tmp_path: Path, name: str) -> None:
    keep_secret(shop)
    with (
        planted(bazaar, name) as environment,
        roles({"gateway": free_port()}, tmp_path, {**environment, "BAZAAR_POOL_SIZE": "2"}) as urls,
    ):
        assert seen_by_a_stranger(urls["gateway"], bazaar.admin_key, shop) == bool(name)
