"""Planted faults: defects that an operator of the platform may switch on to measure a test suite.

A site asks `fault(NAME)` and behaves wrongly only if the answer is not None. The environment variable FAULTS is read
once, when the process starts: entries `name`, `name=value` or `name=value@permille`, comma separated. With a permille a
fault hits only that share of traces, chosen by a hash of the trace id and FAULTS_SEED, so that one message meets it in
every role or in none.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import MappingProxyType

from opentelemetry import trace
from typing_extensions import override


@dataclass(frozen=True)
class Planted:
    """One planted fault: its parameter ("" if it has none) and the share of traces that it hits."""

    value: str
    permille: int


def parse(text: str) -> Mapping[str, Planted]:
    """Parse `a,b=3,c=x@50`. Raises ValueError for an entry without a name or a share that is not 1..1000."""
    planted: dict[str, Planted] = {}
    for entry in filter(None, map(str.strip, text.split(","))):
        rest, _, share = entry.partition("@")
        name, _, value = rest.partition("=")
        if not name:
            raise ValueError(f"FAULTS has an entry without a name: {entry!r}")
        if share and not (share.isdecimal() and 1 <= int(share) <= 1000):
            raise ValueError(f"FAULTS: the share of {entry!r} is not 1..1000 permille")
        planted[name] = Planted(value, int(share or 1000))
    return MappingProxyType(planted)


_PLANTED = parse(os.environ.get("FAULTS", ""))
_SEED = os.environ.get("FAULTS_SEED", "0")
ACTIVATIONS: Counter[str] = Counter()
"""How often each planted fault has answered since the process started."""


def fault(name: str) -> str | None:
    """The parameter of a planted fault ("" if it has none), or None where it is not planted or spares this trace."""
    planted = _PLANTED.get(name)
    if planted is None or not _hit(name, planted.permille):
        return None
    ACTIVATIONS[name] += 1
    return planted.value


def _hit(name: str, permille: int) -> bool:
    if permille == 1000:
        return True
    trace_id = trace.get_current_span().get_span_context().trace_id
    digest = hashlib.sha256(f"{_SEED}/{name}/{trace_id:032x}".encode()).digest()
    return int.from_bytes(digest[:4]) % 1000 < permille


class _Activations(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(ACTIVATIONS).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: logs are a surface that suites read."""


def serve_activations(port: int) -> None:
    """Answer GET on a loopback port of its own with the activations as JSON, in a thread, until the process ends.

    On loopback, because a suite must not reach it; who may look into pods can (`kubectl port-forward`).
    """
    server = ThreadingHTTPServer(("127.0.0.1", port), _Activations)
    Thread(target=server.serve_forever, name="activations", daemon=True).start()
