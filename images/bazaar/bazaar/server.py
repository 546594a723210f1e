"""The server of every HTTP role: bounds for what a peer may send and for how long it may not read, and a clean stop."""

import math
import signal
import socket
import sys
from collections.abc import Callable
from typing import TypeVar

import uvicorn
from fastapi import FastAPI
from prometheus_client import start_http_server
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bazaar import faults, logs, tracing
from bazaar.problems import answer
from bazaar.settings import Settings

MAX_HEAD_BYTES = 2**16
S = TypeVar("S", bound=Settings)
SEND_BUFFER_BYTES = 2**18
"""What the kernel holds of an answer. By default it grows to megabytes, and a peer that does not read is seen late."""
PEER_SILENCE_MS = 30_000
"""A peer that takes nothing of what is sent for this long is gone, whether it says so or not."""


class _Http(HttpToolsProtocol):
    """HTTP/1.1 with a bound for the head of a request, which the parser has not, and problems as answers."""

    _head: float = 0

    @override
    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        super().data_received(data)
        if self._head > MAX_HEAD_BYTES:
            self.send_400_response("")

    @override
    def on_headers_complete(self) -> None:
        self._head = -math.inf
        super().on_headers_complete()

    @override
    def on_message_complete(self) -> None:
        self._head = 0
        super().on_message_complete()

    @override
    def send_400_response(self, msg: str) -> None:
        told = answer("malformed-request", "this is not HTTP/1.1 as this server takes it", {"Connection": "close"})
        head = b"".join(b"%s: %s\r\n" % header for header in told.raw_headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head + b"\r\n" + told.body)
        self.transport.close()


def serve(role: str, kind: type[S], create: Callable[[S], FastAPI]) -> None:
    """Serve what `create` makes of a role's settings until SIGTERM or SIGINT; requests in flight get 10 seconds to end.

    Raises SystemExit for settings that are incomplete.
    """
    settings = kind.load()
    app = create(settings)
    tracing.configure(role, settings.otlp_url)
    logs.export(role, settings.logs_url)
    if settings.activations_port:
        # On loopback only: suites are not to know.
        start_http_server(settings.activations_port, "127.0.0.1", registry=faults.REGISTRY)
    # After its shutdown uvicorn raises the signal again: an orderly stop is exit code 0.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=_Http,
        ws="websockets-sansio",
        ws_max_size=4096,
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=65,  # longer than any client keeps one, else a request may meet the end of its connection
        timeout_graceful_shutdown=10,
    )
    with config.bind_socket() as listener:  # connections inherit what is set here
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PEER_SILENCE_MS)
        server = uvicorn.Server(config)
        server.run([listener])
    if not server.started:
        sys.exit(3)
