"""What an answer of a model is made of: the parts of a stream, and the texts in it that may hold secrets."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from cassette.redact import Redactor

EVENTS = "text/event-stream"
_END_OF_EVENT = re.compile(r"(?<=\n\n)|(?<=\r\n\r\n)")
_PREFIX = "data: "
_TOKENS = re.compile(rb'"total_tokens": ?(\d{1,9})')


def split(content_type: str, text: str) -> list[str]:
    """The events of a stream, or the one body."""
    return [part for part in _END_OF_EVENT.split(text) if part] if content_type.startswith(EVENTS) else [text]


def clean(redactor: Redactor, parts: list[str]) -> list[str]:
    """The parts without the secrets in what the model said, also where one goes over several events."""
    bodies = [_body(part) for part in parts]
    said: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
    for body in bodies:
        for index, choice in enumerate(body.get("choices") or []):
            for where, place in _texts(choice.get("delta") or choice.get("message"), str(index)):
                said[where].append(place)
    cleaned = list(parts)
    before = [json.dumps(body) for body in bodies]
    for places in said.values():
        for (container, name), text in zip(places, redactor.parts(c[n] for c, n in places), strict=True):
            container[name] = text
    for index, body in enumerate(bodies):
        if json.dumps(body) != before[index]:
            head, tail = (_PREFIX, "\n\n") if parts[index].startswith(_PREFIX) else ("", "")
            cleaned[index] = head + json.dumps(body, ensure_ascii=False, separators=(",", ":")) + tail
    return cleaned


def tokens(asked: bytes, answer: bytes, length: int) -> int:
    """What a call cost: as the end of the answer tells, else one token for each 4 bytes of both."""
    told = _TOKENS.findall(answer)
    return int(told[-1]) if told else (len(asked) + length) // 4


def _body(part: str) -> dict[str, Any]:
    try:
        body = json.loads(part.removeprefix(_PREFIX))
    except json.JSONDecodeError:
        return {}  # [DONE], a comment
    return body if isinstance(body, dict) else {}


def _texts(value: Any, where: str) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Each text within a message: where it is, and its container with the name or number in it."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in members:
        if isinstance(member, str):
            yield f"{where}.{name}", (value, name)
        else:
            yield from _texts(member, f"{where}.{name}")
