"""The labelled texts of this suite, and what the pinned version of the router decides of each.

No text of them was seen in training, and no template: data/golden.jsonl.gz is the test split of the router's corpus,
of which a fifth is out of scope. Its first line names the version.
"""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

from t05_router.router import DIGITS, OTHER, Answer

FILE = Path(__file__).parent / "data" / "golden.jsonl.gz"


@dataclass(frozen=True)
class Line:
    """One text."""

    text: str
    label: str
    """What is right."""
    agent: str
    exit: bool
    probability: float

    @property
    def in_scope(self) -> bool:
        return self.label != OTHER

    def same(self, answer: Answer) -> bool:
        """Whether this is what was decided, to the last digit."""
        told = (answer.agent, answer.exit, round(answer.probability, DIGITS))
        return told == (self.agent, self.exit, self.probability)


@dataclass(frozen=True)
class Golden:
    """The pinned version and its decisions."""

    version: str
    lines: list[Line]


@dataclass(frozen=True)
class Asked:
    """Every golden text and the decision of a live router, in the order in which they were asked."""

    pairs: list[tuple[Line, Answer]]

    @property
    def in_scope(self) -> list[tuple[Line, Answer]]:
        return [(line, answer) for line, answer in self.pairs if line.in_scope]

    @property
    def out_of_scope(self) -> list[tuple[Line, Answer]]:
        return [(line, answer) for line, answer in self.pairs if not line.in_scope]


def read() -> Golden:
    """The committed file."""
    first, *lines = gzip.decompress(FILE.read_bytes()).decode().splitlines()
    return Golden(json.loads(first)["model_version"], [Line(**json.loads(line)) for line in lines])
