"""The envelope of every report: one line of JSON in a container's termination message.

The kubelet keeps only the last 4,096 bytes of that message, and anything in the container can write there, so a
report carries its own length and digest. That makes damage visible; it does not authenticate the writer.

Standard library and Python 3.10 only: the runner imports this inside images that have nothing of ours.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

VERSION = 1
MAX_BYTES = 3500
"""Of a sealed report; the one who seals keeps to it."""


class IncompleteReport(Exception):
    """A report is missing, damaged, or not the one that was asked for. The text says which."""


def seal(body: Mapping[str, Any]) -> str:
    """Return the report as one line: {"v", "bytes", "sha256", "body"}."""
    text = canonical(body)
    return canonical({"v": VERSION, "bytes": len(text), "sha256": _digest(text), "body": body})


def unseal(message: str) -> dict[str, Any]:
    """Return the body of the report in a termination message.

    Raises IncompleteReport when it is missing, damaged or oversized. What the body holds is not looked at.
    """
    line = message.strip()
    if not line:
        raise IncompleteReport("the termination message is empty")
    size = len(line.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise IncompleteReport(f"the report has {size} bytes, more than {MAX_BYTES}")
    try:
        envelope = json.loads(line)
        body = envelope["body"]
        text = canonical(body)
        version, length, digest = envelope["v"], envelope["bytes"], envelope["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IncompleteReport(f"the termination message is not a report ({type(error).__name__})") from None
    if version != VERSION:
        raise IncompleteReport(f"the report's version {version!r} is unknown, this operator reads version {VERSION}")
    if length != len(text) or digest != _digest(text):
        raise IncompleteReport("the report's length or digest does not match its content")
    if not isinstance(body, dict):
        raise IncompleteReport("the report's content is malformed (no object)")
    return body


def canonical(value: object) -> str:
    """Return the one form of a JSON value that lengths and digests are taken of, in ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def shortened(text: str, limit: int) -> str:
    """Cut text so that its JSON form has at most `limit` bytes, however many escapes it needs."""
    if len(json.dumps(text)) <= limit:
        return text
    text = text[: limit - len('"..."')]
    while len(json.dumps(text)) > limit - 3:
        text = text[:-1]
    return text + "..."


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
