"""The database as this platform may use it: one transaction, one tenant.

The tenant is a transaction-local setting that the row-level security policies compare with, set before anything else
is said. A connection that goes back to the pool carries nothing over. All SQL lives in `sql/`.
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import CursorResult, Row, TextClause, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from bazaar import tracing
from bazaar.faults import fault


def _load_queries() -> Mapping[str, TextClause]:
    files = sorted((resources.files("bazaar") / "sql" / "queries").iterdir(), key=lambda f: f.name)
    source = "".join(file.read_text(encoding="utf-8") for file in files)
    parts = re.split(r"^-- name: (\w+)\n", source, flags=re.MULTILINE)[1:]
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError("sql/queries/ defines a name twice")
    return {name: text(body.strip().rstrip(";")) for name, body in zip(names, bodies, strict=True)}


QUERIES = _load_queries()
_SUMMARY_CHARACTERS = 255
"""The bound of the semantic conventions."""


class Transaction:
    """One transaction. Statements are named after their entries in `sql/queries/`."""

    def __init__(self, connection: AsyncConnection, tenant_id: UUID | None) -> None:
        self._connection = connection
        self.statements: list[str] = []
        """What it was asked to do, in order."""
        self._fixed = {} if tenant_id is None else {"tenant_id": tenant_id}

    @property
    def tenant_id(self) -> UUID:
        """The tenant that the transaction sees. Raises KeyError in a transaction without one."""
        return self._fixed["tenant_id"]

    async def rows(self, statement: str, /, **values: Any) -> list[Row[Any]]:
        """Run a statement that returns rows (at most what its LIMIT says)."""
        return list((await self._execute(statement, values)).all())

    async def row(self, statement: str, /, **values: Any) -> Row[Any] | None:
        """Run a statement that returns at most one row."""
        return (await self._execute(statement, values)).one_or_none()

    async def run(self, statement: str, /, **values: Any) -> int:
        """Run a statement that returns no rows; gives the number of rows changed."""
        return (await self._execute(statement, values)).rowcount

    async def _execute(self, statement: str, values: dict[str, Any]) -> CursorResult[Any]:
        self.statements.append(statement)
        return await self._connection.execute(QUERIES[statement], self._fixed | values)


class Database:
    """A pool of connections under one role."""

    def __init__(self, dsn: SecretStr, pool_size: int) -> None:
        url = dsn.get_secret_value().replace("postgresql://", "postgresql+psycopg://", 1)
        self._engine = create_async_engine(url, pool_size=pool_size, max_overflow=0)

    @asynccontextmanager
    async def tenant(self, tenant_id: UUID) -> AsyncIterator[Transaction]:
        """A transaction that sees and writes one tenant; commits at the end, rolls back on an exception."""
        async with self._transaction(tenant_id) as transaction:
            yield transaction

    @asynccontextmanager
    async def without_tenant(self) -> AsyncIterator[Transaction]:
        """A transaction with no tenant context: it sees only what a policy of its own role shows."""
        async with self._transaction(None) as transaction:
            yield transaction

    @asynccontextmanager
    async def _transaction(self, tenant_id: UUID | None) -> AsyncIterator[Transaction]:
        with tracing.leaf("transaction", DBAPIError) as told:
            async with self._engine.connect() as connection:
                transaction = Transaction(connection, tenant_id)
                try:
                    if tenant_id is not None:
                        await _enter(connection, tenant_id)
                    yield transaction
                    await connection.commit()
                finally:
                    asked = " ".join(transaction.statements)
                    told |= {"db.system.name": "postgresql", "db.query.summary": asked[:_SUMMARY_CHARACTERS]}

    async def ping(self) -> None:
        """Raise if the database does not answer or has no schema."""
        async with self.without_tenant() as transaction:
            if fault("set_role_leak") is not None:
                await transaction.run("become_reporter")
            await transaction.row("ping")

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


async def _enter(connection: AsyncConnection, tenant_id: UUID) -> None:
    """Set the tenant. What the pool gives may be a connection to a server that has restarted: that is seen here."""
    setting = {"tenant_id": str(tenant_id), "local": fault("session_tenant") is None}
    try:
        await connection.execute(QUERIES["set_tenant"], setting)
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        await connection.rollback()  # then it connects anew
        await connection.execute(QUERIES["set_tenant"], setting)
