"""The model role: a deterministic chat server with the OpenAI wire format, and a ledger of every call.

The ledger is the witness of what was asked of a model. It has its own file, so it survives a restart of the process
and is written by nobody else; the boot id tells restarts apart.
"""

import hashlib
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import uuid4

from fastapi import FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field

from bazaar import tracing
from bazaar.model import script
from bazaar.settings import Settings
from bazaar.web import create_app, serve

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
  sequence INTEGER PRIMARY KEY, boot_id TEXT NOT NULL, trace_id TEXT NOT NULL, role TEXT NOT NULL, key TEXT NOT NULL,
  prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, upstream TEXT NOT NULL
)"""
_INSERT = "INSERT INTO calls VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)"
_SELECT = "SELECT * FROM calls WHERE sequence > ?1 AND (?2 IS NULL OR trace_id = ?2) ORDER BY sequence LIMIT 1000"


class ModelSettings(Settings):
    """What the model server needs."""

    ledger_path: str
    upstream: str = "first"


class ChatRequest(BaseModel):
    """The part of a chat completion request that the script reads; the rest is accepted, as real servers do."""

    model_config = ConfigDict(extra="allow")
    model: str
    messages: list[dict[str, Any]] = Field(min_length=1, max_length=200)
    tools: list[dict[str, Any]] = []
    response_format: dict[str, Any] | None = None
    seed: int = 0
    metadata: dict[str, str] = {}


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


class LedgerOut(BaseModel):
    """Calls, and the boot id of the server that answers now."""

    boot_id: str
    calls: list[CallRow]


def create_model(settings: ModelSettings) -> FastAPI:
    """The model's application."""
    boot_id = uuid4().hex
    ledger = sqlite3.connect(settings.ledger_path, isolation_level=None)
    ledger.row_factory = sqlite3.Row
    ledger.execute("PRAGMA journal_mode = WAL")
    ledger.execute(_SCHEMA)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        ledger.close()

    async def ready() -> None:
        ledger.execute("SELECT 1")

    app = create_app("bazaar model", ready, lifespan)

    @app.post("/v1/chat/completions")
    async def chat(request: ChatRequest) -> dict[str, Any]:
        canonical = json.dumps(request.model_dump(exclude_unset=True), sort_keys=True, separators=(",", ":"))
        key = hashlib.sha256(canonical.encode()).hexdigest()
        tools = [str(tool["function"]["name"]) for tool in request.tools]
        said = script.reply(request.messages, tools, request.response_format is not None, request.seed)
        message: dict[str, Any] = {"role": "assistant", "content": said.content}
        if said.tool:
            function = {"name": said.tool, "arguments": json.dumps(said.arguments, sort_keys=True)}
            message["tool_calls"] = [{"id": f"call-{key[:12]}", "type": "function", "function": function}]
        usage = (_tokens(request.messages), _tokens(message))
        ledger.execute(
            _INSERT,
            (boot_id, tracing.trace_id(), request.metadata.get("step", ""), key, *usage, settings.upstream),
        )
        return {
            "id": f"chatcmpl-{key[:24]}",
            "object": "chat.completion",
            "created": 0,  # a clock here would make two equal calls differ
            "model": request.model,
            "choices": [
                {"index": 0, "message": message, "finish_reason": "tool_calls" if said.tool else "stop"},
            ],
            "usage": {
                "prompt_tokens": usage[0],
                "completion_tokens": usage[1],
                "total_tokens": sum(usage),
            },
        }

    @app.get("/ledger")
    async def calls(
        trace_id: Annotated[str | None, Query(pattern="^[0-9a-f]{32}$")] = None,
        since: Annotated[int, Query(ge=0, le=2**62)] = 0,
    ) -> LedgerOut:
        """Calls after a sequence number, oldest first, at most 1,000."""
        rows = ledger.execute(_SELECT, (since, trace_id))
        return LedgerOut(boot_id=boot_id, calls=[CallRow(**row) for row in rows])

    return app


def _tokens(value: Any) -> int:
    """A stand-in for a tokenizer: one token for each 4 characters of JSON."""
    return max(1, len(json.dumps(value, ensure_ascii=False)) // 4)


def run() -> None:
    """Serve this role until it is told to stop."""
    settings = ModelSettings.load()
    serve("model", create_model(settings), settings)
