"""Fill the shelves: documents of background tenants, so that a tenant of a test is a small share of one index.

It runs beside the platform after an install and nothing waits for it: until the index of the vectors is there, searches
compare one by one. It may be ended and run again at any time; a tenant is committed whole or not at all.
"""

import logging
import random
import time
import tomllib
from collections.abc import Iterator
from importlib import resources
from uuid import UUID, uuid5

import psycopg
from psycopg import sql
from pydantic import Field, SecretStr

from bazaar.embedding import embed
from bazaar.settings import Settings

LOG = logging.getLogger(__name__)
LOCK = 4_702_111_235  # any constant: only this program takes it
_NAMESPACE = UUID("6f0e7a52-51b5-4c29-9c1c-0b8f6c0f6a11")
_INDEX = "chunks_nearest"
_PER_DOCUMENT = 3

_WORDS: dict[str, list[str]] = tomllib.loads((resources.files("bazaar") / "preload.toml").read_text(encoding="utf-8"))


class PreloadSettings(Settings):
    """What filling the shelves needs: rows of many tenants at once, and an index."""

    superuser_dsn: SecretStr
    preload_tenants: int = Field(default=50, ge=1, le=1000)
    preload_chunks: int = Field(default=600, ge=_PER_DOCUMENT, le=100_000)
    """Passages of each tenant."""


def preload(settings: PreloadSettings) -> None:
    """Add the tenants that are missing, then the index. Raises SystemExit while another preload is at work."""
    with psycopg.connect(settings.superuser_dsn.get_secret_value(), autocommit=True) as connection:
        if not _one(connection, sql.SQL("SELECT pg_try_advisory_lock({})").format(LOCK)):
            raise SystemExit("another preload is at work")
        connection.execute("SET search_path = bazaar, public")
        started = time.monotonic()
        for number in range(settings.preload_tenants):
            with connection.transaction():
                _fill(connection, number, settings.preload_chunks)
        connection.execute("ANALYZE documents, chunks")
        loaded = time.monotonic()
        _build_index(connection)
        LOG.info("preloaded in %.1f s, indexed in %.1f s", loaded - started, time.monotonic() - loaded)


def _fill(connection: psycopg.Connection, number: int, chunks: int) -> None:
    tenant_id = uuid5(_NAMESPACE, str(number))
    made = connection.execute(
        "INSERT INTO tenants (tenant_id, seed, mode) VALUES (%s, %s, 'MOCK') ON CONFLICT DO NOTHING",
        (tenant_id, number),
    )
    if not made.rowcount:
        return
    documents = [list(_document(random.Random(f"{number}/{n}"))) for n in range(chunks // _PER_DOCUMENT)]  # noqa: S311
    with connection.cursor() as cursor:
        with cursor.copy("COPY documents (tenant_id, document_id, title, body) FROM STDIN") as copy:
            for n, (title, *passages) in enumerate(documents):
                copy.write_row((tenant_id, f"doc-{n}", title, " ".join(passages)))
        with cursor.copy("COPY chunks (tenant_id, document_id, chunk, body, embedding) FROM STDIN") as copy:
            for n, (title, *passages) in enumerate(documents):
                for ordinal, text in enumerate(passages):
                    copy.write_row((tenant_id, f"doc-{n}", ordinal, text, embed(f"{title} {text}")))


def _document(choice: random.Random) -> Iterator[str]:
    """A title and its passages."""
    things, kinds, towns = _WORDS["things"], _WORDS["kinds"], _WORDS["towns"]
    thing = choice.choice(things)
    yield f"About the {choice.choice(kinds)} {thing}"
    for _ in range(_PER_DOCUMENT):
        facts = choice.sample(_WORDS["facts"], choice.randrange(3, 7))
        yield " ".join(
            fact.format(
                thing=choice.choice((thing, choice.choice(things))),
                kind=choice.choice(kinds),
                town=choice.choice(towns),
                n=choice.randrange(1, 60),
                m=choice.randrange(10, 400),
            )
            for fact in facts
        )


def _build_index(connection: psycopg.Connection) -> None:
    """Build the index if it is missing or was left unfinished, while others read and write."""
    valid = _one(
        connection, sql.SQL("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass({})").format(_INDEX)
    )
    if valid:
        return
    if valid is False:
        connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(_INDEX)))
    # One process: workers would share the graph in /dev/shm, of which a pod has little.
    connection.execute("SET max_parallel_maintenance_workers = 0")
    connection.execute("SET maintenance_work_mem = '64MB'")
    connection.execute(
        sql.SQL("CREATE INDEX CONCURRENTLY {} ON chunks USING hnsw (embedding vector_cosine_ops)").format(
            sql.Identifier(_INDEX)
        )
    )


def _one(connection: psycopg.Connection, query: sql.Composed) -> object:
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def run() -> None:
    """Preload and end."""
    preload(PreloadSettings.load())
