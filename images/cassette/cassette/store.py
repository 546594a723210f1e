"""Cassettes: interactions in files of JSON lines, one line each and sorted, so that a diff shows what has changed.

Files are replaced whole and never written in place.
"""

import hashlib
import json
import os
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Any

import rfc8785
from pydantic import BaseModel, ConfigDict, ValidationError

from cassette.faults import fault


class Asked(BaseModel):
    """A request without its secrets. What is not here does not choose the answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    method: str
    path: str
    body: Any = None

    @cached_property
    def canonical(self) -> bytes:
        """The one way to write it (RFC 8785). Raises ValueError for what JSON cannot say exactly."""
        return rfc8785.dumps(self.model_dump())


class Answered(BaseModel):
    """An answer without secrets; `parts` are the events of a stream, or the one body."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    content_type: str
    parts: list[str]


class Interaction(BaseModel):
    """A request and its answer; the id is the beginning of the request's key."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str
    request: Asked
    response: Answered

    @cached_property
    def line(self) -> str:
        """Its line in a cassette."""
        return json.dumps(self.model_dump(), sort_keys=True, ensure_ascii=False)


def replace_file(path: Path, text: str) -> None:
    """Write a whole file, on disk when this returns; a killed process leaves the old one or the new one."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def key_of(asked: Asked) -> str:
    """The key of a request: SHA-256 of its canonical form."""
    return hashlib.sha256(asked.canonical).hexdigest()


class Store:
    """The cassettes of a folder. Raises ValueError at start for a file that is not one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.cassettes: dict[str, dict[str, Interaction]] = {}
        """By name, then by key."""
        self.uses: Counter[tuple[str, str]] = Counter()
        """How often a cassette's key was replayed since this process started."""
        for path in sorted(folder.glob("*.jsonl")):
            self.cassettes[path.stem] = parse(path.read_text(encoding="utf-8"))

    def find(self, asked: Asked) -> Interaction | None:
        """The recorded interaction of a request, from the first cassette by name that has it."""
        key = key_of(asked)
        for name, found in sorted(self.cassettes.items()):
            if fault("cassette_key_ignores_body"):
                key = next((k for k, i in sorted(found.items()) if _alike(i.request.body, asked.body)), key)
            if key in found:
                self.uses[name, key] += 1
                return found[key]
        return None

    def put(self, name: str, interactions: dict[str, Interaction]) -> None:
        """Store a whole cassette; when this returns, it survives a kill."""
        replace_file(self._folder / f"{name}.jsonl", dump(interactions))
        self.cassettes[name] = interactions

    def remove(self, name: str) -> None:
        """Forget a whole cassette. Raises KeyError if there is none."""
        del self.cassettes[name]
        (self._folder / f"{name}.jsonl").unlink(missing_ok=True)

    def unused(self, name: str) -> list[str]:
        """The ids of a cassette's interactions that were not replayed since this process started."""
        return [i.id for key, i in sorted(self.cassettes[name].items()) if not self.uses[name, key]]


def _alike(one: Any, other: Any) -> bool:
    said = {"messages", "input"}
    return {k: v for k, v in one.items() if k not in said} == {k: v for k, v in other.items() if k not in said}


def dump(interactions: dict[str, Interaction]) -> str:
    """A cassette's text."""
    return "".join(f"{i.line}\n" for _, i in sorted(interactions.items()))


def parse(text: str) -> dict[str, Interaction]:
    """A cassette from its text. Raises ValueError that names the line which is no interaction or has another's id."""
    found = {}
    for number, line in enumerate(filter(None, text.split("\n")), 1):
        try:
            interaction = Interaction.model_validate_json(line)
            key = key_of(interaction.request)
        except (ValidationError, ValueError) as error:
            raise ValueError(f"line {number} is not an interaction") from error
        if not key.startswith(interaction.id) or len(interaction.id) < 16:
            raise ValueError(f"line {number}: the id is not that of the request, which is {key[:16]}")
        found[key] = interaction
    return found
