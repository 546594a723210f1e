"""The golden decisions: every text of the test split, its label, and what these weights decide of it.

They are data of the suite that replays them (T5), so there is one file and nothing to keep equal.
"""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from bazaar.router.classifier import Decision

PATH = Path(__file__).resolve().parents[3] / "suites" / "t05_router" / "data" / "golden.jsonl.gz"


class Golden(BaseModel):
    """One line of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    text: str
    label: str
    """What is right, generated with the text."""
    agent: str
    exit: bool
    probability: float
    """Of the agent, to 6 digits."""


def golden(text: str, label: str, decision: Decision) -> Golden:
    """The line of a decision."""
    probability = decision.probabilities[decision.agent]
    return Golden(text=text, label=label, agent=decision.agent, exit=decision.exit, probability=probability)


def read() -> tuple[str, list[Golden]]:
    """The version of the weights that decided, and the lines."""
    first, *lines = gzip.decompress(PATH.read_bytes()).decode().splitlines()
    return json.loads(first)["model_version"], [Golden.model_validate_json(line) for line in lines]


def write(version: str, lines: Sequence[Golden]) -> None:
    """Write the file. Equal lines give an equal content."""
    texts = [json.dumps({"model_version": version}), *(line.model_dump_json() for line in lines)]
    PATH.write_bytes(gzip.compress("".join(f"{text}\n" for text in texts).encode(), mtime=0))
