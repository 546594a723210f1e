"""Requests on connections of their own, all under way at once, some of them given up by the client."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

SECONDS = 60.0
"""All answers of a thousand requests at once."""
MAX_BODY = 4_000_000


@dataclass(frozen=True)
class Request:
    """What to send to which gateway (base URL) with whose key; `given_up`: close without waiting for the answer."""

    gateway: str
    key: str = field(repr=False)
    method: str
    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    given_up: bool = False


@dataclass(frozen=True)
class Answer:
    """What came back: status 0 if the client gave up."""

    request: Request
    status: int
    headers: dict[str, str] = field(repr=False, default_factory=dict)
    text: str = field(repr=False, default="")


@dataclass
class Crowd:
    """Requests that were sent together."""

    answers: list[Answer] = field(default_factory=list)
    most: Counter[str] = field(default_factory=Counter)
    """For each gateway the most requests that were wholly sent, and not answered, at one time."""
    _now: Counter[str] = field(default_factory=Counter)

    async def send(self, request: Request) -> None:
        """Send one and wait for its answer. Raises OSError, or asyncio.IncompleteReadError for half an answer."""
        parts = urlsplit(request.gateway)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
        try:
            writer.write(_bytes(request, parts.netloc))
            await writer.drain()
            if request.given_up:
                self.answers.append(Answer(request, 0))
                return
            self._now[request.gateway] += 1
            self.most[request.gateway] = max(self.most[request.gateway], self._now[request.gateway])
            head = await reader.readuntil(b"\r\n\r\n")
            self._now[request.gateway] -= 1
            status, headers = _head(head)
            body = await reader.readexactly(min(int(headers.get("content-length", 0)), MAX_BODY))
            self.answers.append(Answer(request, status, headers, body.decode()))
        finally:
            writer.transport.abort() if request.given_up else writer.close()


def crowd(requests: list[Request], at_once: int) -> Crowd:
    """Send all, so many at once. Raises RuntimeError if one is not answered within SECONDS."""

    async def run() -> Crowd:
        sent, room = Crowd(), asyncio.Semaphore(at_once)

        async def one(request: Request) -> None:
            async with room:
                await sent.send(request)

        async with asyncio.timeout(SECONDS):
            async with asyncio.TaskGroup() as group:
                for request in requests:
                    group.create_task(one(request))
        return sent

    try:
        return asyncio.run(run())
    except (TimeoutError, OSError, asyncio.IncompleteReadError, ExceptionGroup) as error:
        raise RuntimeError(
            f"of {len(requests)} requests, {at_once} at once, not all were answered: {error!r}"
        ) from error


def _bytes(request: Request, host: str) -> bytes:
    body = b"" if request.body is None else json.dumps(request.body).encode()
    lines = [f"{request.method} {request.path} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {request.key}"]
    lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"] if body else []
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body


def _head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    return int(first.split()[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}
