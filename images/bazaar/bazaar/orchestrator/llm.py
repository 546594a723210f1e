"""The client of the language model, over the OpenAI chat wire format and nothing more, so any such server will do."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from opentelemetry.trace import SpanKind
from prometheus_client import Counter
from pydantic import AliasChoices, BaseModel, Field, ValidationError

from bazaar import tracing

TOKENS = Counter("llm_tokens_total", "Tokens sent to and received from the model.", ["direction"])
COST = Counter("llm_cost_usd_total", "Price of what was asked of the model.", ["model"])
MODEL = "bazaar-scripted"
INPUT_USD, OUTPUT_USD = 0.15e-6, 0.60e-6
"""Prices of one token."""
MODE: ContextVar[str] = ContextVar("MODE", default="MOCK")
"""How the tenant's calls are answered: MOCK, GOLDEN or LIVE_SMOKE. It is no part of a prompt."""
Say = Callable[[str], Awaitable[None]]
"""Hears the parts of an answer as they come."""


class ModelError(Exception):
    """The model did not give a usable answer; asking again may help."""


class Function(BaseModel):
    """A call as the model writes it; `arguments` is JSON text."""

    name: str
    arguments: str


class ToolCall(BaseModel):
    """One entry of `tool_calls`."""

    function: Function


class Usage(BaseModel):
    """What an answer cost, in tokens."""

    prompt_tokens: int
    completion_tokens: int


class _Said(BaseModel):
    content: str | None = None
    tool_calls: list[ToolCall] = []


class _Choice(BaseModel):
    said: _Said = Field(validation_alias=AliasChoices("message", "delta"))


class _Completion(BaseModel):
    """A whole one, or a chunk of one: then only the last tells the usage."""

    choices: list[_Choice]
    usage: Usage | None = None


@dataclass(frozen=True)
class Prompt:
    """What the model is asked. Every value in it is a function of the tenant's seed, the conversation and the step."""

    step: str
    seed: int
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] = field(default_factory=list)
    schema: dict[str, Any] | None = None
    """JSON schema of the answer, or None for prose."""
    aloud: bool = False
    """Whether the customer hears the answer as it comes. It is no part of the request."""

    def body(self) -> dict[str, Any]:
        """The body of the request."""
        body: dict[str, Any] = {
            "model": MODEL,
            "seed": self.seed,
            "messages": self.messages,
            "metadata": {"step": self.step},
        }
        if self.tools:
            body["tools"] = [{"type": "function", "function": tool} for tool in self.tools]
        if self.schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": self.step, "schema": self.schema, "strict": True},
            }
        return body


@dataclass(frozen=True)
class Answer:
    """What the model said: prose ("" if none), tool calls in its order, and the price in tokens."""

    text: str
    calls: list[Function]
    usage: Usage


class ChatModel:
    """A chat completions endpoint."""

    def __init__(self, client: aiohttp.ClientSession, url: str) -> None:
        self._client, self._url = client, f"{url.rstrip('/')}/v1/chat/completions"

    async def answer(self, prompt: Prompt, say: Say | None = None) -> Answer:
        """Ask; for prose that somebody shall hear as it comes, with `say`. Raises ModelError."""
        # Names of the semantic conventions for generative AI; the provider is whose wire format it is.
        chat = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": MODEL}
        with tracing.span(f"chat {MODEL}", SpanKind.CLIENT, chat) as current:
            answer = await self._answer(prompt, say)
            current.set_attribute("gen_ai.usage.input_tokens", answer.usage.prompt_tokens)
            current.set_attribute("gen_ai.usage.output_tokens", answer.usage.completion_tokens)
            return answer

    async def _answer(self, prompt: Prompt, say: Say | None) -> Answer:
        if say:
            async for part in self.stream(prompt):
                if isinstance(part, Answer):
                    return part
                await say(part)
        try:
            async with self._ask(prompt.body()) as response:
                completion = _Completion.model_validate_json(await response.read())
        except (aiohttp.ClientError, ValidationError) as error:
            raise ModelError(f"{prompt.step}: {error}") from error
        if not completion.choices or not completion.usage:
            raise ModelError(f"{prompt.step}: the completion has no choices or no usage")
        message = completion.choices[0].said
        return _counted(Answer(message.content or "", [c.function for c in message.tool_calls], completion.usage))

    def _ask(self, body: dict[str, Any]) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        headers = {**tracing.headers(), "X-Proctor-Mode": MODE.get()}
        return self._client.post(self._url, json=body, headers=headers, raise_for_status=True)

    async def stream(self, prompt: Prompt) -> AsyncIterator[str | Answer]:
        """Ask for prose: its parts as they are written, then the whole. Raises ModelError, for a cut stream too."""
        body = prompt.body() | {"stream": True, "stream_options": {"include_usage": True}}
        text, usage, done = "", None, False
        try:
            async with self._ask(body) as response:
                async for data in _events(response):
                    if data == b"[DONE]":
                        done = True
                        continue
                    chunk = _Completion.model_validate_json(data)
                    usage = chunk.usage or usage
                    for part in (choice.said.content for choice in chunk.choices):
                        if part:
                            text += part
                            yield part
        except (aiohttp.ClientError, ValidationError) as error:
            raise ModelError(f"{prompt.step}: {error}") from error
        if usage is None or not done:
            raise ModelError(f"{prompt.step}: the stream ended too early")
        yield _counted(Answer(text, [], usage))


def _counted(answer: Answer) -> Answer:
    TOKENS.labels("input").inc(answer.usage.prompt_tokens)
    TOKENS.labels("output").inc(answer.usage.completion_tokens)
    COST.labels(MODEL).inc(answer.usage.prompt_tokens * INPUT_USD + answer.usage.completion_tokens * OUTPUT_USD)
    return answer


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The data of server-sent events. Not by aiter_lines: it also splits where JSON may hold a line separator."""
    rest = b""
    async for part in response.content.iter_any():
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line.removeprefix(b"data:").strip()


def json_object(text: str, step: str) -> dict[str, Any]:
    """What the model wrote as JSON. Raises ModelError if it is not one object."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ModelError(f"{step}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{step}: expected a JSON object, got {type(value).__name__}")
    return value
