"""The pool outlives the server's connections: nobody asks them before use whether they are still there."""

import asyncio
from uuid import UUID

import psycopg
import pytest
from loopback import Platform
from pydantic import SecretStr

from bazaar.db import Database

NOBODY = UUID(int=0)


def end_connections(bazaar: Platform, name: str) -> None:
    """End all connections of an application, as a killed server does."""
    with psycopg.connect(bazaar.environment["BAZAAR_SUPERUSER_DSN"], autocommit=True) as superuser:
        query = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s"
        assert superuser.execute(query, (name,)).fetchall(), "it had connections"


def test_ended_connections_are_replaced_before_anything_is_done(bazaar: Platform) -> None:
    db = Database(SecretStr(f"{bazaar.app_dsn}?application_name=idle"), 2)

    async def use() -> None:
        async with db.tenant(NOBODY) as one, db.tenant(NOBODY) as other:
            assert await one.row("ping") is await other.row("ping") is None
        end_connections(bazaar, "idle")
        async with db.tenant(NOBODY) as one, db.tenant(NOBODY) as other:
            assert await one.row("ping") is await other.row("ping") is None
        await db.close()

    asyncio.run(use())


def test_a_transaction_that_was_cut_fails_and_the_next_does_not(bazaar: Platform) -> None:
    db = Database(SecretStr(f"{bazaar.app_dsn}?application_name=busy"), 1)

    async def cut() -> None:
        async with db.tenant(NOBODY) as transaction:
            end_connections(bazaar, "busy")
            await transaction.row("ping")

    async def use() -> None:
        with pytest.raises(psycopg.OperationalError):
            await cut()
        async with db.tenant(NOBODY) as transaction:
            assert await transaction.row("ping") is None
        await db.close()

    asyncio.run(use())
