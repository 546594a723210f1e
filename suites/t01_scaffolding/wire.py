"""The model's wire as the platform's pods speak it, down to the bytes and the chunks of HTTP, and its witnesses."""

import json
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import urlsplit

from _helpers.model import ModelServer

NewName = Callable[[], str]
"""Gives the name of a cassette that nobody else has; it is removed in the end."""
INTERACTIONS = 200
"""How many a Recording has."""
REPLAYS = 3
MODEL = "bazaar-scripted"
_STEPS = ("route", "plan", "compose")
_LETTERS = "abcdefghijklmnopqrstuvwxyzäßéж漢字 "


@dataclass(frozen=True)
class Reply:
    """An answer as it came, all but its date."""

    raw: bytes

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1])

    @property
    def chunks(self) -> list[bytes]:
        """The chunks of the body; one if HTTP does not cut it."""
        head, rest = self.raw.split(b"\r\n\r\n", 1)
        if b"transfer-encoding: chunked" not in head.lower():
            return [rest]
        found = []
        while rest:
            size, rest = rest.split(b"\r\n", 1)
            found.append(rest[: int(size, 16)])
            rest = rest[int(size, 16) + 2 :]
        return [chunk for chunk in found if chunk]

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def code(self) -> str:
        """The code of a problem, "" for an answer that is none."""
        if b"application/problem+json" not in self.raw.split(b"\r\n\r\n", 1)[0]:
            return ""
        return str(json.loads(self.body)["code"])

    def said(self) -> str:
        """What the model said, streamed or whole; "" for an answer that is none."""
        if not self.body.startswith(b"data: "):
            message = json.loads(self.body).get("choices", [{}])[0].get("message", {})
            return str(message.get("content") or "")
        events = [json.loads(event[6:]) for event in self.body.split(b"\n\n") if event.startswith(b"data: {")]
        return "".join(e["choices"][0]["delta"].get("content") or "" for e in events if e["choices"])


def exchange(url: str, body: Any, mode: str, headers: Mapping[str, str]) -> Reply:
    """One chat completion on a connection of its own. Raises OSError if the connection breaks off."""
    data, parts = json.dumps(body).encode(), urlsplit(url)
    lines = ["POST /v1/chat/completions HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
    lines += ["Content-Type: application/json", f"Content-Length: {len(data)}", f"X-Proctor-Mode: {mode}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection((parts.hostname, parts.port), 30) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
        raw = b"".join(iter(lambda: connection.recv(65536), b""))
    return Reply(re.sub(rb"(?i)date: [^\r]*\r\n", b"", raw, count=1))


@dataclass(frozen=True)
class Witnesses:
    """Both model servers, by what they have in their ledgers."""

    first: ModelServer
    second: ModelServer

    def asked(self, trace_id: str) -> tuple[int, int]:
        """How often the first and the second were called in a trace."""
        return len(self.first.calls(trace_id)), len(self.second.calls(trace_id))


@dataclass(frozen=True)
class Recording:
    """What was recorded into a cassette: the chats, and the answers to whoever caused the recording."""

    cassette: str
    trace_id: str
    chats: list[dict[str, Any]]
    answers: list[Reply]


@dataclass(frozen=True)
class Replays:
    """What all chats of a recording were answered afterwards, several times over, in one trace."""

    of: Recording
    trace_id: str
    answers: list[list[Reply]]


@dataclass(frozen=True)
class Wire:
    """The proxy as a pod of the platform sees it."""

    url: str

    def ask(self, body: Any, mode: str = "GOLDEN", headers: Mapping[str, str] | None = None) -> Reply:
        return exchange(self.url, body, mode, headers or {})


def some_chat(chance: Random, *, stream: bool) -> dict[str, Any]:
    """A chat like those of the platform: instructions, a context, a question, and the step's name."""
    words = ["".join(chance.choices(_LETTERS, k=chance.randint(3, 12))) for _ in range(chance.randint(5, 40))]
    context = {"documents": [{"title": "Note", "body": " ".join(words)}]}
    messages = [
        {"role": "system", "content": "Answer from the context."},
        {"role": "system", "content": f"Context: {json.dumps(context, ensure_ascii=False)}"},
        {"role": "user", "content": f"What does the note say, {chance.getrandbits(30)}?"},
    ]
    chat = {"model": MODEL, "seed": chance.getrandbits(32), "messages": messages}
    chat["metadata"] = {"step": chance.choice(_STEPS)}
    return chat | ({"stream": True, "stream_options": {"include_usage": True}} if stream else {})
