"""Whatever statement the application sends, it sees and changes one tenant's rows: no statement has to be careful."""

import psycopg
import pytest
from _fixtures.evidence import Evidence
from _helpers.properties import Property, check
from psycopg import sql
from t06_multitenant.neighbors import COUNT, Neighbor

Place = tuple[str, str]
"""A table and a column."""
TABLES_SEEN = 20
COLUMNS = """
SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'bazaar'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
  AND EXISTS (SELECT FROM pg_attribute t WHERE t.attrelid = c.oid AND t.attname = 'tenant_id')
ORDER BY 1, a.attnum
"""
ENTER = "SELECT set_config('bazaar.tenant', %s, true)"
FORMS = {
    "by a value": "SELECT t.tenant_id::text FROM {table} t WHERE t.{column}::text = %(value)s",
    "by tenant and value": "SELECT t.tenant_id::text FROM {table} t"
    " WHERE t.tenant_id = %(other)s AND t.{column}::text = %(value)s",
    "or": "SELECT DISTINCT t.tenant_id::text FROM {table} t"
    " WHERE t.tenant_id = %(own)s OR t.{column}::text = %(value)s",
    "range": "SELECT DISTINCT t.tenant_id::text FROM {table} t WHERE t.{column}::text BETWEEN %(value)s AND '~'",
    "aggregate": "SELECT unnest(array_agg(DISTINCT t.tenant_id::text) FILTER (WHERE t.{column}::text = %(value)s))"
    " FROM {table} t",
    # A condition that fails on rows which the policy hides would tell of them: it must not be asked about those. Last,
    # because it fails too where rows are plainly shown.
    "by an error": "SELECT t.tenant_id::text FROM {table} t"
    " WHERE t.{column}::text = %(value)s AND 1 / (CASE WHEN t.tenant_id = %(other)s THEN 0 ELSE 1 END) > 0",
}
"""Each gives the tenants of rows that it found by an identifier of another tenant."""
CONTROL = "by a value"
"""The form that shows, asked in the other tenant, that there is something to find."""
CHANGES = {
    "UPDATE": "UPDATE {table} SET {column} = {column} WHERE tenant_id = %(other)s",
    "DELETE": "DELETE FROM {table} WHERE tenant_id = %(other)s",
    "INSERT": "INSERT INTO {table} SELECT (jsonb_populate_record(NULL::{table}, %(row)s::jsonb)).*",
}
CHANGEABLE = "SELECT has_column_privilege(%s, 'bazaar.' || %s, %s, 'UPDATE')"
ONE_ROW = "SELECT to_jsonb(t)::text FROM {table} t WHERE tenant_id = %s LIMIT 1"
COLUMNS_CHANGED = 20
WITHOUT = {"unset": None, "emptied": "", "nobody": "00000000-0000-4000-8000-000000000001"}
"""Contexts that are nobody's: none, what is left when a transaction with one has ended, a tenant that is not there."""


def _columns(ops: psycopg.Connection) -> list[Place]:
    found = ops.execute(COLUMNS).fetchall()
    seen = f"{len({table for table, _ in found})} tables of tenants, expected {TABLES_SEEN} at least"
    check(len({table for table, _ in found}) >= TABLES_SEEN, Property.TENANT_CATALOG, seen)
    return found


def _statement(form: str, table: str, column: str) -> sql.Composed:
    return sql.SQL(form).format(table=sql.Identifier("bazaar", table), column=sql.Identifier(column))


def _values(ops: psycopg.Connection, columns: list[Place], tenant_id: str) -> dict[Place, str]:
    """A value of each column in the tenant's rows, as text. Columns that are NULL there are left out."""
    form = "SELECT {column}::text FROM {table} WHERE tenant_id = %s AND {column} IS NOT NULL ORDER BY 1 LIMIT 1"
    rows = {place: ops.execute(_statement(form, *place), [tenant_id]).fetchone() for place in columns}
    return {place: row[0] for place, row in rows.items() if row}


@pytest.mark.parametrize("context", WITHOUT)
def test_without_a_tenant_nothing_is_seen(
    ops: psycopg.Connection, app: psycopg.Connection, neighbors: list[Neighbor], context: str, evidence: Evidence
) -> None:
    """In no table, though all of them have rows."""
    tables = sorted({table for table, _ in _columns(ops)})
    if context == "emptied":
        app.execute(ENTER, [neighbors[0].tenant_id])
        app.commit()
    elif context == "nobody":
        app.execute(ENTER, [WITHOUT[context]])
    setting = app.execute("SELECT current_setting('bazaar.tenant', true)").fetchone()
    if setting != (WITHOUT[context],):
        raise RuntimeError(f"the context is {setting}, expected {WITHOUT[context]!r}: this test proves nothing")
    for table in tables:
        count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("bazaar", table))
        (there,), (seen,) = ops.execute(count).fetchone() or (0,), app.execute(count).fetchone() or (0,)
        check(there > 0, Property.GOAL_STATE, f"0 rows in {table} of neighbors that have something in every table")
        check(seen == 0, Property.TENANT_READ, f"{seen} of {there} rows of {table} seen without a tenant, expected 0")
    evidence("statements", len(tables))


@pytest.mark.parametrize("number", range(COUNT))
def test_statements_see_one_tenant(
    ops: psycopg.Connection, app: psycopg.Connection, neighbors: list[Neighbor], number: int, evidence: Evidence
) -> None:
    """Each form of statement, with each column's value of each other tenant, finds rows of the own tenant only.

    The same value finds a row in its own tenant, so that a statement which finds nothing has asked for something.
    """
    own, others = neighbors[number], neighbors[:number] + neighbors[number + 1 :]
    columns, probes = _columns(ops), 0
    statements = {
        form: {place: _statement(text, *place).as_bytes(app) for place in columns} for form, text in FORMS.items()
    }
    for other in others:
        values = _values(ops, columns, other.tenant_id)
        names = {"own": own.tenant_id, "other": other.tenant_id}
        for place, found in _ask(app, other, statements[CONTROL], names, values).items():
            there = other.tenant_id in found
            check(there, Property.GOAL_STATE, f"a tenant does not find its own {'.'.join(place)} by its value")
        for form, texts in statements.items():
            for place, found in _ask(app, own, texts, names, values).items():
                foreign = found - {own.tenant_id, None}
                seen = f"{form} of {'.'.join(place)} found rows of {len(foreign)} other tenants, expected 0"
                check(not foreign, Property.TENANT_READ, seen)
            probes += len(values)
    evidence("statements", probes)


def _ask(
    app: psycopg.Connection, who: Neighbor, texts: dict[Place, bytes], names: dict[str, str], values: dict[Place, str]
) -> dict[Place, set[str | None]]:
    """The tenants whose rows a form of statement finds by each value, all asked without waiting in between."""
    try:
        with app.pipeline():
            app.execute(ENTER, [who.tenant_id])
            asked = {place: app.execute(texts[place], names | {"value": value}) for place, value in values.items()}
            return {place: {tenant for (tenant,) in cursor} for place, cursor in asked.items()}
    except psycopg.errors.DivisionByZero as error:
        raise AssertionError(f"{Property.TENANT_EXISTENCE}: a condition was asked about another's row") from error


@pytest.mark.parametrize("number", range(COUNT))
def test_statements_change_one_tenant(
    ops: psycopg.Connection, app: psycopg.Connection, neighbors: list[Neighbor], number: int, evidence: Evidence
) -> None:
    """No UPDATE or DELETE reaches a row of another tenant, and none can be put there. All is rolled back."""
    own, others = neighbors[number], neighbors[:number] + neighbors[number + 1 :]
    columns, probes = _columns(ops), 0
    changeable = {place for place in columns if ops.execute(CHANGEABLE, [app.info.user, *place]).fetchone() == (True,)}
    check(len(changeable) >= COLUMNS_CHANGED, Property.GOAL_STATE, f"{len(changeable)} columns can be changed at all")
    app.execute(ENTER, [own.tenant_id])
    for other in others:
        for place in columns:
            # DELETE and INSERT are about whole rows, so once for each table.
            verbs = ("UPDATE",) * (place in changeable) + ("DELETE", "INSERT") * (place[1] == "tenant_id")
            row = ops.execute(_statement(ONE_ROW, *place), [other.tenant_id]).fetchone() if verbs else None
            values = {"other": other.tenant_id, "row": row[0] if row else None}
            for verb in verbs:
                changed = _change(app, _statement(CHANGES[verb], *place), values)
                seen = f"{verb} changed {changed} rows of another tenant's {place[0]}, expected 0"
                check(changed == 0, Property.TENANT_WRITE, seen)
            probes += len(verbs)
    evidence("changes", probes)


def _change(app: psycopg.Connection, statement: sql.Composed, values: dict[str, str | None]) -> int:
    """How many rows a statement changed; 0 if it may not. A row that only another one kept out had passed."""
    try:
        with app.transaction(force_rollback=True):
            return app.execute(statement, values).rowcount
    except psycopg.errors.UniqueViolation:
        return 1
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.GeneratedAlways):
        return 0
