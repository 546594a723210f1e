"""The ledger: the witness of what was asked of a model, one row for each call, written before the call is answered.

It has its own file, so it survives the end of the process, kill -9 included, and is written by nobody else; the boot id
tells restarts apart.
"""

import sqlite3
from uuid import uuid4

from pydantic import BaseModel

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL; -- a killed process loses no commit; only a dying machine may
CREATE TABLE IF NOT EXISTS calls (
  sequence INTEGER PRIMARY KEY, boot_id TEXT NOT NULL, trace_id TEXT NOT NULL, role TEXT NOT NULL, key TEXT NOT NULL,
  prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, upstream TEXT NOT NULL, status INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS calls_of_a_trace ON calls (trace_id, sequence);
"""
_INSERT = "INSERT INTO calls VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)"
_SELECT = "SELECT * FROM calls WHERE sequence > ?1 AND (?2 IS NULL OR trace_id = ?2) ORDER BY sequence LIMIT 1000"


class CallRow(BaseModel):
    """One call."""

    sequence: int
    boot_id: str
    trace_id: str
    role: str
    key: str
    """SHA-256 of the canonical request."""
    prompt_tokens: int
    completion_tokens: int
    upstream: str
    status: int
    """The HTTP status of the answer."""


class Ledger:
    """The calls of one upstream, in a file of their own."""

    def __init__(self, path: str, upstream: str) -> None:
        self.boot_id, self._upstream = uuid4().hex, upstream
        self._file = sqlite3.connect(path, isolation_level=None)
        self._file.row_factory = sqlite3.Row
        self._file.executescript(_SCHEMA)

    def append(self, trace_id: str, role: str, key: str, tokens: tuple[int, int], status: int) -> None:
        """Store a call; `tokens` of its prompt and of its completion."""
        self._file.execute(_INSERT, (self.boot_id, trace_id, role, key, *tokens, self._upstream, status))

    def calls(self, since: int, trace_id: str | None) -> list[CallRow]:
        """Calls after a sequence number, oldest first, at most 1,000; of one trace or of all."""
        return [CallRow(**row) for row in self._file.execute(_SELECT, (since, trace_id))]
