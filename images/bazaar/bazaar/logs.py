"""Logs as one JSON object a line on standard output, which is what log collectors of clusters read.

Messages and tracebacks pass the redaction of personal data here, whoever wrote them. With BAZAAR_LOGS_URL the same
lines go to a log sink by OTLP too, where they can be asked for by trace.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from opentelemetry import trace
from opentelemetry._logs import Logger
from typing_extensions import override

from bazaar import tracing
from bazaar.safety.pii import redact

_TRANSPORT = ("opentelemetry", "urllib3", "requests")
"""Loggers of the way to the sink: what they say of a failure there must not be sent there."""


class Json(logging.Formatter):
    """Writes a record as JSON, redacted."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        current = trace.get_current_span().get_span_context()
        if current.is_valid:
            entry["trace_id"] = trace.format_trace_id(current.trace_id)
            entry["span_id"] = trace.format_span_id(current.span_id)
        if record.exc_info:
            entry["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


class _Output(logging.StreamHandler[TextIO]):
    """Writes a line, and gives the same to the sink, which sends in batches from a thread of its own."""

    sink: Logger | None = None

    @override
    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        if self.sink and not record.name.startswith(_TRANSPORT):
            self.sink.emit(timestamp=int(record.created * 1e9), severity_text=record.levelname, body=line)
        return line


_OUTPUT = _Output(sys.stdout)


def configure() -> None:
    """Send all loggers of the process to standard output; libraries speak from WARNING on."""
    _OUTPUT.setFormatter(Json())
    logging.basicConfig(level=logging.WARNING, handlers=[_OUTPUT], force=True)
    logging.getLogger("bazaar").setLevel(logging.INFO)


def export(role: str, url: str | None) -> None:
    """Send the same lines to an OTLP/HTTP endpoint if there is one. What waits is sent when the process exits."""
    if not url:
        return
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    provider = LoggerProvider(tracing.resource(role))
    exporter = OTLPLogExporter(f"{url.rstrip('/')}/v1/logs")
    # Small batches: one of tracebacks must fit into a body.
    waiting = BatchLogRecordProcessor(
        exporter, schedule_delay_millis=tracing.EXPORT_MILLISECONDS, max_export_batch_size=128
    )
    provider.add_log_record_processor(waiting)
    _OUTPUT.sink = provider.get_logger("bazaar")
