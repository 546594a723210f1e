"""The corpus of the router: generated, seeded, and split so that no phrase is in two splits.

A text is an opening, a sentence of context, a core that decides the label, and a closing; all but the core may be
missing. Openings, contexts and closings are shared by all labels and full of their vocabulary, so a text about a refund
may well tell of an order and a payment. A core is composed by grammar.yaml or is a line of phrases/LABEL.txt. A
composed template is in one split only, though its pieces may be in others; a line shares nothing with any other, so
these are the cores that a router finds hard.
"""

import itertools
import random
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zlib import crc32

import yaml

FOLDER = Path(__file__).resolve().parent
IN_SCOPE = ("cancel", "faq", "handoff", "lead", "order", "payment", "refund", "tracking")
OTHER = "other"
LABELS = (*IN_SCOPE, OTHER)
SEED = 7


@dataclass(frozen=True)
class Split:
    """How a split is made.

    Labels that decide something are reviewed; those of training are as customers' clicks leave them.
    """

    name: str
    shares: range
    """Which hundredths of all templates are in it."""
    in_scope: int
    out_of_scope: int
    lines: float
    """The share of cores that are lines; the others are composed."""
    noise: float
    """The share of texts with a random wrong label."""


TRAIN = Split("train", range(0, 56), 14_000, 3_500, 0.3, 0.04)
VALIDATION = Split("validation", range(56, 72), 4_000, 900, 0.04, 0.002)
TEST = Split("test", range(72, 100), 4_600, 1_000, 0.04, 0.002)
SPLITS = (TRAIN, VALIDATION, TEST)


@dataclass(frozen=True)
class Example:
    """A text, its label, and the templates that it was made of."""

    text: str
    label: str
    templates: frozenset[str]
    """Each as `_key` writes it."""


class Writer:
    """Writes the texts of one split."""

    def __init__(self, split: Split) -> None:
        self._split = split
        self._chance = random.Random(f"{SEED}/{split.name}")
        self._grammar: dict[str, list[str]] = _load("grammar.yaml")
        self._slots: dict[str, list[str]] = _load("slots.yaml")
        files = sorted(FOLDER.glob("phrases/*.txt"))
        self._lines = {path.stem: self._own(path) for path in files}
        self._taken = {_key(phrase) for path in files for line in _read(path) for phrase in _variants(line)}

    def write(self, label: str) -> Example:
        """One text about a label."""
        chance = self._chance
        parts = [self._say(label)]
        if chance.random() < 0.3:
            parts.insert(chance.choice([0, 0, 1]), self._say("contexts"))
        if chance.random() < 0.3:
            parts.insert(0, self._choose("openings"))
        if chance.random() < 0.25:
            parts.append(self._choose("closings"))
        marks = (chance.choice(["", "", ".", "?", "!"]) if part[-1] not in ".,!?:" else "" for part in parts)
        text = " ".join(part + mark for part, mark in zip(parts, marks, strict=True))
        text = re.sub(r"\{(\w+)\}", lambda slot: chance.choice(self._slots[slot[1]]), text)
        wrong = chance.random() < self._split.noise
        label = chance.choice([x for x in LABELS if x != label]) if wrong else label
        return Example(self._disturb(text), label, frozenset(map(_key, parts)))

    def _own(self, path: Path) -> list[str]:
        lines = _read(path)
        random.Random(f"{SEED}/{path.stem}").shuffle(lines)
        return [line for place, line in enumerate(lines) if place * 100 // len(lines) in self._split.shares]

    def _say(self, kind: str) -> str:
        alone = self._chance.random() < self._split.lines
        return self._choose(kind) if alone else self._compose(kind)

    def _choose(self, kind: str) -> str:
        return self._chance.choice(_variants(self._chance.choice(self._lines[kind])))

    def _compose(self, label: str) -> str:
        while True:
            text = f"<{label}>"
            while name := re.search(r"<(\w+)>", text):
                text = text[: name.start()] + self._chance.choice(self._grammar[name[1]]) + text[name.end() :]
            text = " ".join(text.split())
            key = _key(text)
            if key not in self._taken and crc32(f"{SEED}/{key}".encode()) % 100 in self._split.shares:
                return text

    def _disturb(self, text: str) -> str:
        """Sometimes a typing mistake, sometimes no capitals."""
        chance = self._chance
        if chance.random() < 0.15 and len(text) > 8:
            at = chance.randrange(1, len(text) - 2)
            text = text[:at] + chance.choice(["", text[at] * 2, text[at + 1] + text[at]]) + text[at + 1 :]
        return text.lower() if chance.random() < 0.4 else text


@cache
def generate(split: Split) -> tuple[Example, ...]:
    """The texts of a split, each text once, the labels in equal parts. The same at every call."""
    writer = Writer(split)
    found: dict[str, Example] = {}
    for label in [IN_SCOPE[n % len(IN_SCOPE)] for n in range(split.in_scope)] + [OTHER] * split.out_of_scope:
        while (example := writer.write(label)).text in found:
            pass
        found[example.text] = example
    examples = list(found.values())
    random.Random(f"{SEED}/{split.name}/order").shuffle(examples)
    return tuple(examples)


def _key(template: str) -> str:
    """A template without capitals and without the mark at its end: what differs in these only is one template."""
    return template.casefold().rstrip(" .,!?:")


def _variants(line: str) -> list[str]:
    """What a line with [one|or the other] stands for."""
    parts = [part.split("|") for part in re.split(r"\[([^\[\]]*\|[^\[\]]*)\]", line)]
    return [" ".join("".join(chosen).split()) for chosen in itertools.product(*parts)]


def _read(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _load(name: str) -> dict[str, list[str]]:
    loaded: dict[str, list[str]] = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return loaded
