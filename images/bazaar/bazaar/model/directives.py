"""Stage directions in a user's message, by which a suite has the model misbehave on cue: `[[error 429 times=2]]`.

They act on the last user message and on one step, and the script never sees them.
"""

import asyncio
import re
from typing import Any

from pydantic import BaseModel, Field
from starlette.types import Receive

_DIRECTIVE = re.compile(r"\[\[(hold|stream|error|hang|truncate|malformed)((?: +[\w.=-]+)*) *\]\]\n?")


class Directive(BaseModel, extra="forbid"):
    """One direction. A parameter that is unknown or out of bounds raises ValidationError."""

    name: str
    argument: str = ""
    """The key of a hold, the status of an error."""
    step: str = "compose"
    times: int = Field(default=1000, ge=1)
    """How many equal requests of one trace meet it."""
    n: int = Field(default=1, ge=1, le=100_000)
    size: int = Field(default=16, ge=8, le=16 * 1024, alias="bytes")
    seconds: float = Field(default=120, ge=0, le=120)
    retry_after: int = Field(default=1, ge=0, le=3600, alias="retry-after")

    def status(self) -> int:
        """The status of an error. Raises ValueError for one that is none."""
        if not re.fullmatch(r"[45]\d\d", self.argument):
            raise ValueError(f"{self.argument!r} is not the status of an error")
        return int(self.argument)


def read(messages: list[dict[str, Any]], step: str) -> tuple[list[Directive], list[dict[str, Any]]]:
    """The directions for a step, and the chat without any. Raises ValidationError for one that cannot be followed."""
    asked = next((str(m["content"]) for m in reversed(messages) if m["role"] == "user"), "")
    found = []
    for name, text in _DIRECTIVE.findall(asked):
        words = dict(word.split("=", 1) if "=" in word else ("argument", word) for word in text.split())
        found.append(Directive.model_validate({**words, "name": name}))
    clean = [m | {"content": _DIRECTIVE.sub("", str(m["content"]))} if m["role"] == "user" else m for m in messages]
    return [directive for directive in found if directive.step == step], clean


class Holds:
    """Answers that wait until a suite releases them, so that "in the middle of a step" can be observed."""

    def __init__(self) -> None:
        self.held: dict[asyncio.Event, dict[str, str]] = {}
        """What waits now, oldest first: key, step and trace id."""

    async def wait(self, held: dict[str, str], seconds: float, receive: Receive) -> None:
        """Wait until the key is released, the caller has left (`receive` tells) or the time is over."""
        event = asyncio.Event()
        self.held[event] = held
        ends = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(receive())]
        try:
            await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self.held[event]
            for end in ends:
                end.cancel()

    def release(self, key: str) -> int:
        """Let all that wait for a key go on; gives their number."""
        events = [event for event, held in self.held.items() if held["key"] == key]
        for event in events:
            event.set()
        return len(events)
