"""What the tests of this suite have besides the usual: neighbors, and the database as the application has it."""

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from _fixtures.shops import Platform
from _fixtures.tenants import tenant
from t06_multitenant.neighbors import COUNT, Neighbor, settle

__all__ = ["app", "app_dsn", "neighbors", "ops", "tenant"]


@pytest.fixture(scope="session")
def app_dsn() -> str:
    """DSN of the role that the platform's own services have."""
    dsn = os.environ.get("PROCTOR_TARGET_APP_DSN")
    if not dsn:
        raise RuntimeError("PROCTOR_TARGET_APP_DSN is not set (see suites/README.md)")
    return dsn


@pytest.fixture
def app(app_dsn: str) -> Iterator[psycopg.Connection]:
    """A connection as the application; what a test changes is rolled back."""
    with psycopg.connect(app_dsn, connect_timeout=10) as connection:
        yield connection
        connection.rollback()


@pytest.fixture(scope="session")
def ops(platform: Platform) -> Iterator[psycopg.Connection]:
    """The oracle, for what `Database` does not ask: it reads every row and the catalog."""
    with psycopg.connect(platform.target.ops_dsn, connect_timeout=10, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def neighbors(platform: Platform) -> Iterator[list[Neighbor]]:
    """Tenants side by side, with rows in every table, made once in a session: what tests do must not change others."""
    chance = random.Random(f"{platform.target.seed}/neighbors")
    with ExitStack() as stack:
        yield [settle(platform, stack, number, chance.getrandbits(32)) for number in range(COUNT)]
