"""The oracle: what the database holds for a tenant, and how it differs from before.

Tables are found in the catalog, so a table that is added later is compared too and an unexpected row in it is seen.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import psycopg
from psycopg import sql

Row = dict[str, Any]

BOOKKEEPING = frozenset(
    {"audit", "conversations", "episode_steps", "episodes", "idempotency_keys", "messages"}
    | {"outbox", "tenants", "usage"}
)
"""Tables that change with every message, whatever it is about."""
VOLATILE = frozenset({"tenant_id", "created_at", "episode_id"})
"""Columns that say when and under which random id, not what."""


@dataclass
class Change:
    """How one table differs. A changed row is one removed and one added."""

    added: list[Row] = field(default_factory=list)
    removed: list[Row] = field(default_factory=list)


class Database:
    """The platform's database through a role that reads every row. Threads may share it."""

    def __init__(self, dsn: str) -> None:
        """Raises RuntimeError if the database does not answer."""
        try:
            self._connection = psycopg.connect(dsn, connect_timeout=10, autocommit=True)
        except psycopg.OperationalError as error:
            raise RuntimeError(f"PROCTOR_TARGET_OPS_DSN does not open the database: {error}") from error

    def close(self) -> None:
        self._connection.close()

    def rows(self, table: str, tenant_id: str, **equal: Any) -> list[Row]:
        """The tenant's rows of a table, with the given column values."""
        conditions = [sql.SQL("{} = {}").format(sql.Identifier(c), sql.Placeholder(c)) for c in ("tenant_id", *equal)]
        statement = sql.SQL("SELECT to_jsonb(t) FROM bazaar.{} t WHERE {}").format(
            sql.Identifier(table), sql.SQL(" AND ").join(conditions)
        )
        return [row for (row,) in self._connection.execute(statement, {"tenant_id": tenant_id, **equal})]

    def scans(self, table: str) -> int:
        """How often a table was scanned, by the statistics of the server, which are a second late."""
        statement = (
            "SELECT seq_scan + coalesce(idx_scan, 0) FROM pg_stat_all_tables WHERE schemaname = %s AND relname = %s"
        )
        row = self._connection.execute(statement, ("bazaar", table)).fetchone()
        if row is None:
            raise RuntimeError(f"the database has no table bazaar.{table}")
        count: int = row[0]
        return count

    @cached_property
    def tables(self) -> frozenset[str]:
        """The tables that hold something of tenants. Raises RuntimeError if the database shows none."""
        query = (
            "SELECT table_name FROM information_schema.columns"
            " WHERE table_schema = 'bazaar' AND column_name = 'tenant_id'"
        )
        found = frozenset(name for (name,) in self._connection.execute(query))
        if not found:
            raise RuntimeError("the database shows no tenant table: PROCTOR_TARGET_OPS_DSN cannot be an oracle")
        return found

    def snapshot(self, tenant_id: str, bookkeeping: bool = False) -> dict[str, Counter[str]]:
        """All the tenant's rows, bookkeeping too if asked for, at one moment: that of one statement."""
        tables = sorted(self.tables if bookkeeping else self.tables - BOOKKEEPING)
        every = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {}, to_jsonb(t) FROM bazaar.{} t WHERE tenant_id = %(tenant_id)s").format(
                sql.Literal(name), sql.Identifier(name)
            )
            for name in tables
        )
        found: dict[str, Counter[str]] = {name: Counter() for name in tables}
        for name, row in self._connection.execute(every, {"tenant_id": tenant_id}):
            found[name][_freeze(row)] += 1
        return found


def difference(before: Mapping[str, Counter[str]], after: Mapping[str, Counter[str]]) -> dict[str, Change]:
    """What changed, for each table that did."""
    changes = {}
    for table in before:
        added, removed = after[table] - before[table], before[table] - after[table]
        if added or removed:
            changes[table] = Change(
                [json.loads(r) for r in added.elements()], [json.loads(r) for r in removed.elements()]
            )
    return changes


def deviation(goal: Mapping[str, Mapping[str, list[Row]]], changes: Mapping[str, Change]) -> str | None:
    """The first way in which the changes are not the goal, or None. A goal's rows name the columns that matter."""
    for table in sorted({*goal, *changes}):
        for side in ("added", "removed"):
            wanted = goal.get(table, {}).get(side, [])
            seen = getattr(changes.get(table, Change()), side)
            if len(wanted) != len(seen):
                return f"{len(seen)} rows {side} in {table}, expected {len(wanted)}"
            left = list(seen)
            for row in wanted:
                match = next((r for r in left if row.items() <= r.items()), None)
                if match is None:
                    columns = {c: [r.get(c) for r in left] for c in row}
                    return f"no row {side} in {table} is {row}, seen {columns}"
                left.remove(match)
    return None


def _freeze(row: Row) -> str:
    return json.dumps({c: v for c, v in row.items() if c not in VOLATILE}, sort_keys=True)
