"""Logs as one JSON object a line on standard output, which is what log collectors of clusters read.

Messages and tracebacks pass the redaction of personal data here, whoever wrote them.
"""

import json
import logging
import sys
from datetime import UTC, datetime

from typing_extensions import override

from bazaar.safety.pii import redact


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
        if record.exc_info:
            entry["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


def configure() -> None:
    """Send all loggers of the process to standard output; libraries speak from WARNING on."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Json())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("bazaar").setLevel(logging.INFO)
