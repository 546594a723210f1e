"""The log sink: takes the logs of all roles by OTLP and answers which lines belong to a trace.

A stand-in for the log store of a real platform, so it keeps the newest lines only and keeps them in memory. A reader
that was too slow can see it: sequence numbers have no gap, and `first` tells what is left.
"""

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from pydantic import BaseModel, Field

from bazaar.problems import Problem
from bazaar.server import serve
from bazaar.settings import Settings
from bazaar.web import create_app

MAX_ANSWER = 1000
LINE_BYTES = 400
"""What a kept line costs besides its text, about."""


class LogsinkSettings(Settings):
    """What the log sink needs."""

    kept_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a role's log; `body` is the JSON object that the role wrote to its standard output too."""

    sequence: int
    role: str
    instance: str
    severity: str
    trace_id: str
    """32 hex digits, or "" outside of any trace."""
    span_id: str
    body: str


class LogsOut(BaseModel):
    """Lines, oldest first. If `first` is greater than the reader's `since` + 1, lines between were dropped."""

    first: int
    last: int
    lines: list[Line]


class _Kept:
    """The newest lines, at most `limit` bytes of them."""

    def __init__(self, limit: int) -> None:
        self._limit, self._size, self.last = limit, 0, 0
        self.lines: deque[Line] = deque()

    def add(self, batch: ExportLogsServiceRequest) -> None:
        for resource in batch.resource_logs:
            who = {entry.key: entry.value.string_value for entry in resource.resource.attributes}
            role, instance = who.get("service.name", ""), who.get("service.instance.id", "")
            for record in (record for scope in resource.scope_logs for record in scope.log_records):
                self.last += 1
                body, ids = record.body.string_value, (record.trace_id.hex(), record.span_id.hex())
                self.lines.append(Line(self.last, role, instance, record.severity_text, *ids, body))
                self._size += len(body) + LINE_BYTES
        while self._size > self._limit:
            self._size -= len(self.lines.popleft().body) + LINE_BYTES


def create_logsink(settings: LogsinkSettings) -> FastAPI:
    """The log sink's application."""
    kept = _Kept(settings.kept_bytes)

    async def ready() -> None:
        """No server is behind it."""

    app = create_app("bazaar log sink", ready)

    @app.post("/v1/logs")
    async def store(request: Request) -> Response:
        try:
            kept.add(ExportLogsServiceRequest.FromString(await request.body()))
        except DecodeError as error:
            raise Problem("malformed-request", "the body is not an ExportLogsServiceRequest") from error
        return Response(ExportLogsServiceResponse().SerializeToString(), media_type="application/x-protobuf")

    @app.get("/logs")
    async def logs(
        trace_id: Annotated[str | None, Query(pattern="^[0-9a-f]{32}$")] = None,
        since: Annotated[int, Query(ge=0, le=2**62)] = 0,
        contains: Annotated[str, Query(max_length=200)] = "",
    ) -> LogsOut:
        """Lines after a sequence number, oldest first, at most 1,000."""
        found = (
            line
            for line in kept.lines
            if line.sequence > since and trace_id in (None, line.trace_id) and contains in line.body
        )
        first = kept.lines[0].sequence if kept.lines else kept.last + 1
        return LogsOut(first=first, last=kept.last, lines=list(islice(found, MAX_ANSWER)))

    return app


def run() -> None:
    """Serve this role until it is told to stop."""
    serve("logsink", LogsinkSettings, create_logsink)
