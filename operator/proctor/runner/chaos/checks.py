"""One look at one thing: is it well? Each check is a coroutine that ends when all is well and raises Bad when not."""

import asyncio
import json
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from io import BytesIO
from typing import Any
from urllib.parse import urlencode, urlsplit

PERIOD = 0.25
_STAYS_OPEN = 0.1
"""Seconds in which a connection that has nobody behind it is closed again, as proxies do."""
_MAX_ANSWER = 1 << 20


class Bad(Exception):
    """It is not well. The text says in a few words what was seen."""


@dataclass(frozen=True)
class Check:
    """A look at `name` in `role`, every `period` seconds. No answer within `timeout` seconds is a bad one."""

    name: str
    role: str
    look: Callable[[], Awaitable[None]]
    timeout: float = 1.0
    period: float = PERIOD

    async def failure(self) -> str:
        """Look once; return what is wrong, "" for nothing."""
        try:
            await asyncio.wait_for(self.look(), self.timeout)
        except Bad as error:
            return str(error)
        except asyncio.TimeoutError:
            return f"no answer in {self.timeout:g} s"
        except OSError as error:
            return explain(error)
        return ""


async def accepts(host: str, port: int) -> None:
    """A TCP connection is accepted and stays open."""
    async with _connection(host, port) as (reader, _):
        with suppress(asyncio.TimeoutError):
            if await asyncio.wait_for(reader.read(1), _STAYS_OPEN) == b"":
                raise Bad("accepted, then closed")


async def web(url: str, least: int, most: int) -> None:
    """A GET is answered with a status from `least` to `most`."""
    status, _ = await _get(url, whole=False)
    if not least <= status <= most:
        raise Bad(f"answered {status}")


async def prometheus(url: str, query: str) -> None:
    """A query has a result, and all its values are above zero."""
    status, body = await _get(f"{url.rstrip('/')}/api/v1/query?{urlencode({'query': query})}", whole=True)
    try:
        answer = json.loads(body)
        if answer["status"] != "success":
            raise Bad(f"the query failed: {answer.get('error', status)}")
        data = answer["data"]
        pairs = [data["result"]] if data["resultType"] == "scalar" else [one["value"] for one in data["result"]]
        values = [float(value) for _, value in pairs]
    except (ValueError, KeyError, TypeError) as error:
        raise Bad(f"answered {status} with no result of a query") from error
    if not values:
        raise Bad("the query has no result")
    if not all(value > 0 for value in values):
        raise Bad(f"the query gives {min(values):g}")


async def nats(host: str, port: int) -> None:
    """A NATS server introduces itself on a new connection and, unless it asks who is there, answers a PING."""
    async with _connection(host, port) as (reader, writer):
        line = await _line(reader)
        if not line.startswith(b"INFO "):
            raise Bad(f"said {line[:40]!r} instead of INFO")
        try:
            info: dict[str, Any] = json.loads(line[len(b"INFO ") :])
        except ValueError as error:
            raise Bad("its INFO is no JSON") from error
        if info.get("auth_required") or info.get("tls_required"):
            return
        writer.write(
            b'CONNECT {"verbose":false,"pedantic":false,"name":"proctor-observer","lang":"python"}\r\nPING\r\n'
        )
        await writer.drain()
        while (line := await _line(reader)) != b"PONG\r\n":
            if line.startswith(b"-ERR"):
                raise Bad(f"said {line[:80].decode(errors='replace').strip()}")


async def command(arguments: Sequence[str]) -> None:
    """A command exits with code 0. What it prints goes to our stderr."""
    process = await asyncio.create_subprocess_exec(
        *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True
    )
    try:
        code = await process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if code != 0:
        raise Bad(f"exit code {code}" if code > 0 else f"ended by signal {-code}")


def explain(error: OSError) -> str:
    """Return in a few words why a connection failed."""
    if isinstance(error, socket.gaierror | ssl.SSLError) or error.errno is None:
        return str(error)
    return os.strerror(error.errno).lower()


@asynccontextmanager
async def _connection(
    host: str, port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()  # Closing in good order would wait for a peer that may be gone.


async def _line(reader: asyncio.StreamReader) -> bytes:
    line = await reader.readline()
    if not line.endswith(b"\n"):
        raise Bad("closed the connection")
    return line


async def _get(url: str, *, whole: bool) -> tuple[int, bytes]:
    """Return status and, if the `whole` answer is wanted, body."""
    parts = urlsplit(url)
    if parts.hostname is None:
        raise Bad(f"{url} has no host")
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if tls else 80)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = (
        f"GET {target} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
    async with _connection(parts.hostname, port, tls) as (reader, writer):
        writer.write(head.encode())
        await writer.drain()
        try:
            answer = await reader.readuntil(b"\r\n\r\n")
            while whole and (more := await reader.read(_MAX_ANSWER)):
                answer += more
                if len(answer) > _MAX_ANSWER:
                    raise Bad(f"its answer has more than {_MAX_ANSWER} bytes")
        except asyncio.IncompleteReadError as error:
            raise Bad("closed the connection") from error
        except asyncio.LimitOverrunError as error:
            raise Bad("its answer is not HTTP: no end of its head") from error
    response = HTTPResponse(_Bytes(answer))  # type: ignore[arg-type] # it wants no more of a socket than this
    try:
        response.begin()
        return response.status, response.read() if whole else b""
    except HTTPException as error:
        raise Bad(f"its answer is not HTTP: {type(error).__name__}") from error


class _Bytes:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, mode: str) -> BytesIO:
        return BytesIO(self._content)
