"""A collector of traces: takes spans by OTLP/HTTP from all roles and keeps them for the tests to look at."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from typing_extensions import override


@dataclass(frozen=True)
class Seen:
    """A span that a role has sent."""

    role: str
    span: Span

    @property
    def error(self) -> bool:
        return self.span.status.code == Status.STATUS_CODE_ERROR

    @property
    def attributes(self) -> dict[str, str | int]:
        values = {a.key: a.value for a in self.span.attributes}
        return {key: value.string_value or value.int_value for key, value in values.items()}


class Collector:
    """All spans so far."""

    def __init__(self) -> None:
        self.url = ""
        self._seen: list[Seen] = []

    def add(self, batch: ExportTraceServiceRequest) -> None:
        for resource in batch.resource_spans:
            who = {a.key: a.value.string_value for a in resource.resource.attributes}
            spans = (span for scope in resource.scope_spans for span in scope.spans)
            self._seen += [Seen(who["service.name"], span) for span in spans]

    def trace(self, trace_id: str, complete: Callable[[list[Seen]], bool], seconds: float = 20) -> list[Seen]:
        """The spans of a trace once `complete` holds of them, or those that came within `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            found = [seen for seen in list(self._seen) if seen.span.trace_id.hex() == trace_id]
            if complete(found) or time.monotonic() > deadline:
                return found
            time.sleep(0.05)


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector that listens on loopback as long as the block lasts."""
    kept = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            kept.add(ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield kept
        server.shutdown()
