"""Row-level security holds for the application's own role, on every table, for reading and for writing."""

from typing import Any

import psycopg
import pytest
from loopback import Platform
from shop import Shop


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
