"""The model role: a deterministic server with the OpenAI wire format and a ledger of its calls.

Everything that it answers is what the official clients understand, errors too.
"""

import base64
import json
import logging
import re
import struct
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from bazaar import tracing
from bazaar.embedding import embed
from bazaar.faults import fault
from bazaar.model import directives, script, wire
from bazaar.model.ledger import CallRow, Ledger
from bazaar.server import serve
from bazaar.settings import Settings
from bazaar.web import create_app

LOG = logging.getLogger(__name__)
JSON, EVENTS = "application/json", "text/event-stream"
MAX_WHOLE = 2**24


class ModelSettings(Settings):
    """What the model server needs."""

    ledger_path: str
    upstream: str = "first"


class LedgerOut(BaseModel):
    """Calls, and the boot id of the server that answers now."""

    boot_id: str
    calls: list[CallRow]


def create_model(settings: ModelSettings) -> FastAPI:
    """The model's application."""
    ledger = Ledger(settings.ledger_path, settings.upstream)
    holds = directives.Holds()

    async def ready() -> None:
        ledger.calls(2**62, None)

    app = create_app("bazaar model", ready)
    for kind in (HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _on_error)

    @app.post("/v1/chat/completions")
    async def chat(request: wire.ChatRequest, http: Request) -> Response:
        _require_model(request.model)
        step, key, trace_id = request.metadata.get("step", ""), request.key(), tracing.trace_id()
        try:
            found, messages = directives.read(request.messages, step)
            before = sum(call.key == key for call in ledger.calls(0, trace_id)) if found else 0
            active = {directive.name: directive for directive in found if before < directive.times}
            status = active["error"].status() if "error" in active else 200
            tools = [str(tool["function"]["name"]) for tool in request.tools]
            said = script.reply(messages, tools, request.response_format is not None, request.seed)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise HTTPException(400, f"the script cannot read this chat: {error!r}") from error
        end = -1 if "malformed" in active else None
        calls = [
            {"id": f"call-{key[:12]}-{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for number, (name, wanted) in enumerate(said.calls, 1)
            for arguments in [json.dumps(wanted, sort_keys=True)[:end]]
        ]
        prose: list[str] = re.findall(r"\s*\S+\s*", (said.content or "")[:end])
        words, count, length = iter(prose), len(prose), sum(map(len, prose))
        if flood := active.get("stream"):
            words, count, length = _flood(flood.n, flood.size), flood.n, flood.n * flood.size
            if length > MAX_WHOLE and not request.stream:
                raise HTTPException(400, f"{length} bytes are too much for an answer that is not streamed")
        tokens = (_tokens(request.messages), length // 4 + (_tokens(calls) if calls else 0))
        ledger.append(trace_id, step, key, tokens, status)
        for pause in (active[name] for name in ("hold", "hang") if name in active):
            held = {"key": pause.argument, "step": step, "trace_id": trace_id}
            await holds.wait(held, pause.seconds, http.receive)
        if status != 200:
            raise HTTPException(status, "scripted error", {"Retry-After": str(active["error"].retry_after)})
        told = _tokens(request.messages[-1:]) if fault("usage_miscounted") is not None else tokens[0]
        answer = wire.Answer(
            # A clock in `created` would make two equal calls differ.
            {
                "id": f"chatcmpl-{key[:24]}",
                "created": 0,
                "model": request.model,
                "system_fingerprint": settings.upstream,
            },
            words,
            calls,
            {"prompt_tokens": told, "completion_tokens": tokens[1], "total_tokens": told + tokens[1]},
        )
        if not request.stream:
            body = answer.whole()
            return wire.Cut([body[: len(body) // 2]]) if "truncate" in active else Response(body, media_type=JSON)
        events = answer.events(request.stream_options.get("include_usage", False))
        if "truncate" in active:
            return wire.Cut(_first(events, 1 + count // 2), media_type=EVENTS)
        return StreamingResponse(events, media_type=EVENTS)

    @app.post("/v1/embeddings")
    async def embeddings(request: wire.EmbeddingRequest) -> dict[str, Any]:
        _require_model(request.model)
        texts = [request.texts] if isinstance(request.texts, str) else request.texts
        vectors: list[Any] = [json.loads(embed(text)) for text in texts]
        if request.encoding_format == "base64":
            vectors = [base64.b64encode(struct.pack(f"<{len(v)}f", *v)).decode() for v in vectors]
        tokens = _tokens(texts)
        ledger.append(tracing.trace_id(), "embeddings", request.key(), (tokens, 0), 200)
        data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": request.model, "usage": usage}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "bazaar"} for name in wire.MODELS]
        return {"object": "list", "data": data}

    @app.get("/ledger")
    async def calls(
        trace_id: Annotated[str | None, Query(pattern="^[0-9a-f]{32}$")] = None,
        since: Annotated[int, Query(ge=0, le=2**62)] = 0,
    ) -> LedgerOut:
        """Calls after a sequence number, oldest first, at most 1,000."""
        return LedgerOut(boot_id=ledger.boot_id, calls=ledger.calls(since, trace_id))

    @app.get("/holds")
    async def held() -> dict[str, list[dict[str, str]]]:
        """What is held, oldest first."""
        return {"holds": list(holds.held.values())}

    @app.post("/holds/{key}/release")
    async def release(key: str) -> dict[str, int]:
        """Let all calls that wait for a key go on."""
        return {"released": holds.release(key)}

    return app


def _require_model(name: str) -> None:
    if name not in wire.MODELS:
        raise HTTPException(404, f"the model {name!r} does not exist")


def _flood(n: int, size: int) -> Iterator[str]:
    # Numbers in letters: digits might be somebody's, and what may be personal is not told before its end.
    letters = str.maketrans("0123456789", "abcdefghij")
    return (f"{number}".translate(letters).ljust(size - 1, ".") + " " for number in range(n))


async def _first(events: AsyncIterator[bytes], count: int) -> AsyncIterator[bytes]:
    async for event in events:
        if count == 0:
            return
        count -= 1
        yield event


def _tokens(value: Any) -> int:
    """A stand-in for a tokenizer: one token for each 4 characters of JSON."""
    return max(1, len(json.dumps(value, ensure_ascii=False)) // 4)


async def _on_error(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return wire.error(error.status_code, error.detail, error.headers)
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        return wire.error(400, first["msg"], param=".".join(map(str, first["loc"][1:])))
    LOG.error("unexpected error on %s", request.scope.get("path"), exc_info=error)
    return wire.error(500, "unexpected error; it is in the log")


def run() -> None:
    """Serve this role until it is told to stop."""
    serve("model", ModelSettings, create_model)
