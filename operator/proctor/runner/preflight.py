"""Whether the target's endpoints accept connections, asked before the tests so that they do not all fail alike."""

import socket
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from proctor.runner.plan import Endpoint

PATIENCE = 20.0
"""Seconds for all endpoints together."""
_CONNECT = 3.0
_PORTS = {
    "http": 80,
    "ws": 80,
    "https": 443,
    "wss": 443,
    "nats": 4222,
    "redis": 6379,
    "postgresql": 5432,
    "postgres": 5432,
}


def unreachable(endpoints: Sequence[Endpoint], patience: float = PATIENCE) -> str | None:
    """Return which endpoint accepts no TCP connection within `patience` seconds, or None when all do."""
    deadline = time.monotonic() + patience
    for endpoint in endpoints:
        try:
            url = urlsplit(endpoint.url)
            host, port = url.hostname, url.port or _PORTS.get(url.scheme)
        except ValueError as error:
            return f"endpoint {endpoint.name} has no usable address: {error}"
        if not host or not port:
            return f"endpoint {endpoint.name} has no port, and its scheme {url.scheme!r} has no usual one"
        refusal = _refusal(host, port, deadline)
        if refusal:
            return f"endpoint {endpoint.name} at {host}:{port} accepted no connection in {patience:g}s: {refusal}"
    return None


def _refusal(host: str, port: int, deadline: float) -> str | None:
    pause = 0.1
    while True:
        try:
            left = max(0.1, deadline - time.monotonic())
            socket.create_connection((host, port), timeout=min(_CONNECT, left)).close()
            return None
        except OSError as error:
            if time.monotonic() + pause >= deadline:
                return str(error)
        time.sleep(pause)
        pause = min(2 * pause, 2.0)
