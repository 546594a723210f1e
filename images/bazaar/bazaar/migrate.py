"""Bring the database to the current schema.

It runs before every pod of the platform that uses the database, so it must be safe to repeat and to run in several
pods at once: an advisory lock serializes it, and each numbered file is applied once and recorded by its hash. Faults
that are planted in the schema (`sql/faults/`) come and go with FAULTS.
"""

import hashlib
import logging
import time
from importlib import resources
from importlib.resources.abc import Traversable

import psycopg
from psycopg import sql
from pydantic import SecretStr

from bazaar.faults import fault
from bazaar.settings import Settings

LOG = logging.getLogger(__name__)
WAIT_SECONDS = 50.0
LOCK = 4_702_111_234  # any constant: only this program takes it


class MigrateSettings(Settings):
    """What bringing the database up to date needs."""

    superuser_dsn: SecretStr
    app_password: SecretStr
    relay_password: SecretStr
    ops_password: SecretStr


def migrate(settings: MigrateSettings) -> None:
    """Create roles and apply the files of `sql/` that are not applied yet.

    Raises SystemExit if the server does not answer within WAIT_SECONDS, and RuntimeError if an applied file changed.
    """
    passwords = {
        "bazaar_app": settings.app_password,
        "bazaar_relay": settings.relay_password,
        "bazaar_ops": settings.ops_password,
    }
    files = resources.files("bazaar") / "sql"
    with _connect(settings.superuser_dsn.get_secret_value()) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        connection.execute((files / "roles.sql").read_bytes())
        for role, password in passwords.items():
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                sql.Identifier(role), sql.Literal(password.get_secret_value())
            )
            connection.execute(statement)
        connection.execute("SET LOCAL ROLE bazaar_owner")
        connection.execute("SET LOCAL search_path = bazaar, public")
        connection.execute("CREATE TABLE IF NOT EXISTS migrations (name text PRIMARY KEY, sha256 text NOT NULL)")
        applied: dict[str, str] = dict(connection.execute("SELECT name, sha256 FROM migrations").fetchall())
        for file in sorted((f for f in files.iterdir() if f.name[:3].isdigit()), key=lambda f: f.name):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            if applied.get(file.name, digest) != digest:
                raise RuntimeError(f"{file.name} was changed after it was applied; add a new file instead")
            if file.name not in applied:
                connection.execute(file.read_bytes())
                connection.execute("INSERT INTO migrations VALUES (%s, %s)", (file.name, digest))
                LOG.info("applied %s", file.name)
        connection.execute("RESET ROLE")
        for file in sorted((files / "faults").iterdir(), key=lambda f: f.name):
            _plant(connection, file, f"faults/{file.name}" in applied)


def _plant(connection: psycopg.Connection, file: Traversable, is_planted: bool) -> None:
    """Apply the first half of a planted fault of the schema, or take it back by the second, as FAULTS says now.

    The log is silent: it is a surface that suites read.
    """
    wanted = fault(file.name.removesuffix(".sql")) is not None
    if wanted == is_planted:
        return
    source = file.read_text(encoding="utf-8")
    plant, revert = source.split("-- revert\n")
    connection.execute((plant if wanted else revert).encode())
    if wanted:
        digest = hashlib.sha256(source.encode()).hexdigest()
        connection.execute("INSERT INTO bazaar.migrations VALUES (%s, %s)", (f"faults/{file.name}", digest))
    else:
        connection.execute("DELETE FROM bazaar.migrations WHERE name = %s", (f"faults/{file.name}",))


def _connect(dsn: str) -> psycopg.Connection:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return psycopg.connect(dsn, connect_timeout=5)
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise SystemExit(f"PostgreSQL did not answer within {WAIT_SECONDS:.0f} s: {error}") from error
            time.sleep(0.5)


def run() -> None:
    """Bring the database up to date and end."""
    migrate(MigrateSettings.load())
