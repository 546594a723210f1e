"""The database as this platform may use it: one transaction, one tenant.

The tenant is a transaction-local setting that the row-level security policies compare with, set before anything else
is said. A connection that goes back to the pool carries nothing over. All SQL lives in `sql/`.

SQLAlchemy keeps the pool and writes each statement in the driver's form once, at start. What is asked goes straight to
the driver: a row that SQLAlchemy hands through costs twice the CPU, and a message of a customer asks forty times.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import resources
from itertools import count
from typing import Any, cast
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import namedtuple_row
from pydantic import SecretStr
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.util import greenlet_spawn

from bazaar import tracing
from bazaar.faults import fault

_DRIVER = "postgresql+psycopg://"
Row = Any
"""A named tuple of the columns that its statement gives."""


def _load_queries() -> Mapping[str, bytes]:
    files = sorted((resources.files("bazaar") / "sql" / "queries").iterdir(), key=lambda f: f.name)
    source = "".join(file.read_text(encoding="utf-8") for file in files)
    parts = re.split(r"^-- name: (\w+)\n", source, flags=re.MULTILINE)[1:]
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError("sql/queries/ defines a name twice")
    dialect = create_engine(_DRIVER).dialect
    statements = (str(text(body.strip().rstrip(";")).compile(dialect=dialect)) for body in bodies)
    return {name: statement.encode() for name, statement in zip(names, statements, strict=True)}


QUERIES = _load_queries()
_SUMMARY_CHARACTERS = 255
"""The bound of the semantic conventions."""


class Transaction:
    """One transaction. Statements are named after their entries in `sql/queries/`."""

    def __init__(self, connection: AsyncConnection[Row], tenant_id: UUID | None) -> None:
        self._connection = connection
        self.statements: list[str] = []
        """What it was asked to do, in order."""
        self._fixed = {} if tenant_id is None else {"tenant_id": tenant_id}

    @property
    def tenant_id(self) -> UUID:
        """The tenant that the transaction sees. Raises KeyError in a transaction without one."""
        return self._fixed["tenant_id"]

    async def rows(self, statement: str, /, **values: Any) -> list[Row]:
        """Run a statement that returns rows (at most what its LIMIT says)."""
        return await (await self._execute(statement, values)).fetchall()

    async def row(self, statement: str, /, **values: Any) -> Row | None:
        """Run a statement that returns at most one row."""
        return await (await self._execute(statement, values)).fetchone()

    async def run(self, statement: str, /, **values: Any) -> int:
        """Run a statement that returns no rows; gives the number of rows changed."""
        return (await self._execute(statement, values)).rowcount

    async def _execute(self, statement: str, values: dict[str, Any]) -> AsyncCursor[Row]:
        self.statements.append(statement)
        return await self._connection.execute(QUERIES[statement], self._fixed | values)


class Database:
    """A pool of connections under one role. Failures are psycopg.Error, and sqlalchemy.exc.TimeoutError of the pool."""

    def __init__(self, dsn: SecretStr, pool_size: int) -> None:
        url = dsn.get_secret_value().replace("postgresql://", _DRIVER, 1)
        self._pool_size = pool_size
        rows = {"row_factory": namedtuple_row}
        self._engine = create_async_engine(url, pool_size=pool_size, max_overflow=0, connect_args=rows)

    def tenant(self, tenant_id: UUID) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that sees and writes one tenant; commits at the end, rolls back on an exception."""
        return self._transaction(tenant_id)

    def without_tenant(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction with no tenant context: it sees only what a policy of its own role shows."""
        return self._transaction(None)

    @asynccontextmanager
    async def _transaction(self, tenant_id: UUID | None) -> AsyncIterator[Transaction]:
        with tracing.leaf("transaction", psycopg.Error) as told:
            told["db.system.name"] = "postgresql"
            lent, connection = await self._connection(tenant_id)
            transaction = Transaction(connection, tenant_id)
            try:
                yield transaction
                await connection.commit()
            finally:
                told["db.query.summary"] = " ".join(transaction.statements)[:_SUMMARY_CHARACTERS]
                await _give_back(lent, connection)

    async def _connection(self, tenant_id: UUID | None) -> tuple[PoolProxiedConnection, AsyncConnection[Row]]:
        """A connection with the tenant set. Those to a server that has restarted are replaced."""
        for attempt in count(1):
            lent = await self._engine.raw_connection()
            connection = cast(AsyncConnection[Row], lent.driver_connection)
            try:
                if tenant_id is not None:
                    setting = {"tenant_id": str(tenant_id), "local": fault("session_tenant") is None}
                    await connection.execute(QUERIES["set_tenant"], setting)
            except BaseException as error:
                await _give_back(lent, connection)
                if not (connection.closed and isinstance(error, psycopg.Error)) or attempt > self._pool_size:
                    raise
            else:
                return lent, connection
        raise AssertionError  # not reached

    async def ping(self) -> None:
        """Raise if the database does not answer or has no schema."""
        async with self.without_tenant() as transaction:
            if fault("set_role_leak") is not None:
                await transaction.run("become_reporter")
            await transaction.row("ping")

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


async def _give_back(lent: PoolProxiedConnection, connection: AsyncConnection[Row]) -> None:
    """Give a connection back to the pool; what was not committed is rolled back."""
    await greenlet_spawn(lent.invalidate if connection.closed else lent.close)
    await asyncio.sleep(0)  # whoever waits for it comes before this task's next transaction
