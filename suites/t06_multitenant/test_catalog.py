"""The database's own account of how tenants are kept apart, read from pg_catalog: nobody relies on a WHERE clause.

What is listed as allowed was looked at, and is no way round.
"""

from typing import Any

import psycopg
import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform
from _helpers.properties import Property, check
from psycopg.rows import dict_row

WITHOUT_A_TENANT: frozenset[str] = frozenset()
"""Tables that the application may read and that are nobody's."""
DEFINERS: frozenset[str] = frozenset()
"""Views with their owner's rights, materialized views and SECURITY DEFINER functions that the application may use."""

OURS = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'"
TABLES = f"""
SELECT c.oid, c.oid::regclass::text AS name, c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced, a.attnum,
       a.attnotnull AS required, pg_get_userbyid(c.relowner) AS owner,
       has_table_privilege(%(app)s, c.oid, 'SELECT, INSERT, UPDATE, DELETE')
         OR has_any_column_privilege(%(app)s, c.oid, 'SELECT, INSERT, UPDATE') AS reachable,
       has_table_privilege(%(app)s, c.oid, 'TRUNCATE, REFERENCES, TRIGGER') AS beyond_rows,
       a.attnum IS NOT NULL AND has_column_privilege(%(app)s, c.oid, a.attnum, 'UPDATE') AS movable
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p', 'f') AND {OURS}
"""
POLICIES = """
SELECT polcmd::text AS command, pg_get_expr(polqual, polrelid) AS reads, pg_get_expr(polwithcheck, polrelid) AS writes
FROM pg_policy WHERE polrelid = %(table)s AND polpermissive
  AND EXISTS (SELECT FROM unnest(polroles) AS r WHERE r = 0 OR pg_has_role(%(app)s, r, 'MEMBER'))
"""
UNIQUE = """
SELECT i.indexrelid::regclass::text AS name, i.indkey[0] = %(tenant)s AS bound FROM pg_index i
WHERE i.indrelid = %(table)s AND i.indisunique
"""
REFERENCES = """
SELECT k.conname AS name, EXISTS (
  SELECT FROM unnest(k.conkey, k.confkey) AS pair (own, other)
  JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = pair.own AND a.attname = 'tenant_id'
  JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = pair.other AND b.attname = 'tenant_id'
) AS bound
FROM pg_constraint k WHERE k.conrelid = %(table)s AND k.contype = 'f'
"""
ROLES = """
SELECT rolname AS name, rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication AS mighty,
       EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relowner = r.oid) AS owner
FROM pg_roles r WHERE pg_has_role(%(app)s, oid, 'MEMBER')
"""
MAKES = f"SELECT n.nspname AS name FROM pg_namespace n WHERE has_schema_privilege(%(app)s, n.oid, 'CREATE') AND {OURS}"
ROUNDABOUT = f"""
SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE {OURS} AND has_table_privilege(%(app)s, c.oid, 'SELECT') AND (
  c.relkind = 'm'
  OR c.relkind = 'v' AND NOT coalesce(c.reloptions, '{{}}') && '{{security_invoker=true,security_invoker=on}}')
UNION ALL
SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE {OURS} AND p.prosecdef AND has_function_privilege(%(app)s, p.oid, 'EXECUTE')
"""
LEAST_TABLES = 20
Row = dict[str, Any]


class Catalog:
    """What pg_catalog says of the tables, for the application's role."""

    def __init__(self, ops: psycopg.Connection, app: str) -> None:
        self._ops, self.app = ops, app
        self.tables = self.ask(TABLES)
        self.bound = [table for table in self.tables if table["attnum"] is not None]
        """Tables that belong to tenants."""

    def ask(self, query: str, **values: Any) -> list[Row]:
        with self._ops.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query, {"app": self.app, **values}).fetchall()

    def of_each(self, query: str) -> list[tuple[str, Row]]:
        """The rows of a query about one table, for all tables of tenants, with the table's name."""
        found = ((table, self.ask(query, table=table["oid"], tenant=table["attnum"])) for table in self.bound)
        return [(table["name"], row) for table, rows in found for row in rows]


@pytest.fixture
def catalog(platform: Platform, ops: psycopg.Connection, app: psycopg.Connection) -> Catalog:
    """The catalog of the database that serves: a tenant that is made at the door has its row in it.

    Raises RuntimeError if it has not: then another database would be looked at.
    """
    with platform.open_tenant() as made:
        if not platform.database.rows("tenants", made.tenant_id):
            raise RuntimeError("a tenant that was made has no row: PROCTOR_TARGET_OPS_DSN is of another database")
        app.execute("SELECT set_config('bazaar.tenant', %s, true)", [made.tenant_id])
        if app.execute("SELECT tenant_id::text FROM bazaar.tenants").fetchall() != [(made.tenant_id,)]:
            raise RuntimeError("a tenant does not see its own row: PROCTOR_TARGET_APP_DSN is of another database")
    return Catalog(ops, app.info.user)


def _none(found: list[str], what: str) -> None:
    check(not found, Property.TENANT_CATALOG, f"{what}: {', '.join(sorted(found)[:5])} ({len(found)}), expected none")


def test_every_table_has_a_tenant(catalog: Catalog, evidence: Evidence) -> None:
    """What the application can touch belongs to a tenant, always."""
    loose = [t["name"] for t in catalog.tables if t["reachable"] and not t["required"]]
    _none([name for name in loose if name not in WITHOUT_A_TENANT], "tables whose rows may have no tenant")
    evidence("tables", len(catalog.bound))


def test_row_security_is_on_and_forced(catalog: Catalog, evidence: Evidence) -> None:
    """On every table of tenants, for the owner too."""
    seen = f"{len(catalog.bound)} tables of tenants, expected {LEAST_TABLES} at least"
    check(len(catalog.bound) >= LEAST_TABLES, Property.TENANT_CATALOG, seen)
    _none([t["name"] for t in catalog.bound if not t["enabled"]], "tables without row-level security")
    _none([t["name"] for t in catalog.bound if not t["forced"]], "tables that do not hold their owner to it")
    evidence("tables", len(catalog.bound))


def test_policies_bind_reading_and_writing(catalog: Catalog, evidence: Evidence) -> None:
    """Every policy that lets the application see or write rows compares their tenant, both ways."""
    policies = catalog.of_each(POLICIES)
    without = {table["name"] for table in catalog.bound if table["reachable"]} - {name for name, _ in policies}
    _none(sorted(without), "tables without a policy for the application")
    for name, policy in policies:
        asked = {"reads": policy["command"] != "a", "writes": policy["command"] not in ("r", "d")}
        for side, expression in ((side, policy[side]) for side, needed in asked.items() if needed):
            bound = expression is not None and "tenant_id" in expression
            seen = f"a policy of {name} {side} by {expression}, expected a comparison of tenant_id"
            check(bound, Property.TENANT_CATALOG, seen)
    evidence("policies", len(policies))


def test_application_is_a_plain_role(catalog: Catalog, evidence: Evidence) -> None:
    """It cannot become another that row-level security does not bind: neither it nor a role whose member it is."""
    roles = catalog.ask(ROLES)
    _none([role["name"] for role in roles if role["mighty"]], "roles of the application with might over others")
    _none([role["name"] for role in roles if role["owner"]], "roles of the application that own tables")
    _none([schema["name"] for schema in catalog.ask(MAKES)], "schemas in which the application can make things")
    evidence("roles", len(roles))


def test_unique_keys_begin_with_the_tenant(catalog: Catalog, evidence: Evidence) -> None:
    """A key that spans tenants answers `duplicate` for what another has."""
    keys = catalog.of_each(UNIQUE)
    _none([key["name"] for _, key in keys if not key["bound"]], "unique keys that span tenants")
    evidence("keys", len(keys))


def test_references_stay_in_the_tenant(catalog: Catalog, evidence: Evidence) -> None:
    """References are checked past row-level security, so each names the tenant on both sides."""
    references = catalog.of_each(REFERENCES)
    _none([key["name"] for _, key in references if not key["bound"]], "references that may cross tenants")
    evidence("keys", len(references))


def test_there_is_no_way_round(catalog: Catalog) -> None:
    """Materialized views, views with their owner's rights and SECURITY DEFINER functions show what policies hide."""
    found = {row["name"] for row in catalog.ask(ROUNDABOUT)}
    _none(sorted(found - DEFINERS), "views and functions that act with their owner's rights")


def test_application_has_no_right_beyond_rows(catalog: Catalog, evidence: Evidence) -> None:
    """TRUNCATE, REFERENCES and TRIGGER ask no policy; and no row moves to another tenant."""
    _none([t["name"] for t in catalog.tables if t["beyond_rows"]], "tables with a right that no policy binds")
    _none([t["name"] for t in catalog.bound if t["movable"]], "tables whose rows may change their tenant")
    evidence("tables", len(catalog.tables))
