"""The OpenAI wire format: requests, completions, their streams of events, and errors."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Send
from typing_extensions import override

from bazaar.faults import fault

MODELS = ("bazaar-scripted", "bazaar-embedding")
_CODES = {
    401: "invalid_api_key",
    404: "not_found",
    405: "method_not_allowed",
    429: "rate_limit_exceeded",
    503: "overloaded",
}


class Request(BaseModel):
    """What a script reads of a request; the rest is accepted, as real servers do."""

    model_config = ConfigDict(extra="allow")
    model: str
    metadata: dict[str, str] = {}

    def key(self) -> str:
        """SHA-256 of the canonical request."""
        canonical = json.dumps(self.model_dump(exclude_unset=True), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


class ChatRequest(Request):
    """A chat to be completed."""

    messages: list[dict[str, Any]] = Field(min_length=1, max_length=200)
    tools: list[dict[str, Any]] = []
    response_format: dict[str, Any] | None = None
    seed: int = 0
    stream: bool = False
    stream_options: dict[str, bool] = {}


class EmbeddingRequest(Request):
    """Texts to embed."""

    texts: str | list[Annotated[str, Field(max_length=32_768)]] = Field(alias="input", max_length=32_768)
    encoding_format: Literal["float", "base64"] = "float"


@dataclass(frozen=True)
class Answer:
    """A completion, to be sent whole or as a stream."""

    head: dict[str, Any]
    words: Iterator[str]
    """The prose, cut where the stream is."""
    tool_calls: list[dict[str, Any]]
    usage: dict[str, int]

    def whole(self) -> bytes:
        """The body of a chat completion."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self.words) or None}
        message |= {"tool_calls": self.tool_calls} if self.tool_calls else {}
        choices = [{"index": 0, "message": message, "finish_reason": "tool_calls" if self.tool_calls else "stop"}]
        return _json({**self.head, "object": "chat.completion", "choices": choices, "usage": self.usage})

    async def events(self, include_usage: bool) -> AsyncIterator[bytes]:
        """The same as server-sent events: the role, each word, the tool calls, the end, the usage, [DONE]."""

        def event(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
            counted = {"usage": usage} if include_usage else {}
            body = {**self.head, "object": "chat.completion.chunk", "choices": choices, **counted}
            return b"data: " + _json(body) + b"\n\n"

        def delta(delta: dict[str, Any], finish: str | None = None) -> bytes:
            return event([{"index": 0, "delta": delta, "finish_reason": finish}])

        yield delta({"role": "assistant", "content": ""})
        for number, word in enumerate(self.words):
            await asyncio.sleep(0)  # a flood leaves room for other calls
            if number != 2 or fault("stream_chunk_lost") is None:
                yield delta({"content": word})
        for number, call in enumerate(self.tool_calls):
            yield delta({"tool_calls": [{"index": number, **call}]})
        yield delta({}, "tool_calls" if self.tool_calls else "stop")
        if include_usage:
            yield event([], self.usage)
        yield b"data: [DONE]\n\n"


class Cut(StreamingResponse):
    """An answer that breaks off: the connection is closed before its end."""

    @override
    async def stream_response(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for part in self.body_iterator:
            await send({"type": "http.response.body", "body": part, "more_body": True})


def error(status: int, message: str, headers: Mapping[str, str] | None = None, param: str | None = None) -> Response:
    """An error object; `status` is from 400 to 599."""
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    body = {"error": {"message": message, "type": kind, "param": param, "code": _CODES.get(status)}}
    return JSONResponse(body, status, headers)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
