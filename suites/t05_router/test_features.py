"""What the router sees of a text, as far as its answers show: what says nothing changes no probability, words do.

Each test changes some golden texts in one way. The answers are compared to the last digit, so a feature that is made
in another way than in training is seen before it decides anything.
"""

import random
import re
import unicodedata
from collections.abc import Callable, Mapping

import pytest
from _fixtures.evidence import Evidence
from _helpers.properties import Property, check
from t05_router.golden import Golden
from t05_router.router import Answer, Router

TEXTS = 25
DIFFERENT = 20
"""Some of the corpus differ in a digit only."""
INVISIBLE = "\u200b\u200d\u2060\ufeff\u00ad\u202e\u2066"
"""Zero width, joiners, a soft hyphen, and marks that turn the direction."""

Change = Callable[[str, random.Random], str]


def _spread(text: str, characters: str, chance: random.Random) -> str:
    """The text with one of some characters in about every third place."""
    return "".join(letter + (chance.choice(characters) if chance.random() < 0.3 else "") for letter in text)


def _wide(text: str, chance: random.Random) -> str:
    return "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text)


def _reordered(text: str, chance: random.Random) -> str:
    words = text.split()
    return " ".join(chance.sample(words, len(words)))


SAME: Mapping[str, Change] = {
    "capitals": lambda text, _: text.upper(),
    "mixed case": lambda text, chance: "".join(chance.choice([x.upper(), x.lower()]) for x in text),
    "invisible characters": lambda text, chance: _spread(text, INVISIBLE, chance),
    "forms of full width": _wide,
    "other digits": lambda text, chance: re.sub(r"\d", lambda _: str(chance.randrange(10)), text),
    "arabic digits": lambda text, _: re.sub(r"\d", lambda digit: chr(0x660 + int(digit[0])), text),
    "spaces and line ends": lambda text, _: "\n " + text.replace(" ", " \t\r\n ") + "\u00a0",
    "marks that say nothing": lambda text, _: "... " + text.replace(" ", " - ") + " !!",
    "control characters": lambda text, _: "\x00" + text.replace(" ", " \x00\x1f ") + "\x07",
    "decomposed letters": lambda text, _: unicodedata.normalize("NFD", text),
}
"""Ways to change a text that leave all of its words."""
OTHERWISE: Mapping[str, Change] = {
    "a question": lambda text, _: text.replace("?", "") if "?" in text else f"{text}?",
    "half of the words": lambda text, _: " ".join(text.split()[::2]),
    "another order of words": _reordered,
    "words run together": lambda text, _: text.replace(" ", ""),
    "one more word": lambda text, _: f"{text} refund",
}
"""Ways to say something else."""


@pytest.fixture
def some(golden: Golden, router: Router, seeded: random.Random) -> list[tuple[str, Answer]]:
    """Some texts of all kinds and their decisions, which differ: a router with one answer sees nothing."""
    texts = [line.text for line in seeded.sample(golden.lines, TEXTS)]
    answers = router.ask(texts, seeded)
    different = len({tuple(answer.probabilities.values()) for answer in answers})
    seen = f"{different} different decisions on {TEXTS} texts, expected {DIFFERENT}"
    check(different >= DIFFERENT, Property.ROUTE_FEATURES, seen)
    return list(zip(texts, answers, strict=True))


def again(
    router: Router, some: list[tuple[str, Answer]], change: Change, chance: random.Random
) -> list[tuple[str, bool]]:
    """Each changed text, and whether its decision is that of the text before."""
    texts = [change(text, chance) for text, _ in some]
    answers = router.ask(texts, chance)
    return [(text, answer == before) for text, answer, (_, before) in zip(texts, answers, some, strict=True)]


@pytest.mark.parametrize("way", SAME)
def test_what_says_nothing_changes_nothing(
    router: Router, some: list[tuple[str, Answer]], seeded: random.Random, evidence: Evidence, way: str
) -> None:
    other = [text for text, same in again(router, some, SAME[way], seeded) if not same]
    seen = f"{way} changed {len(other)} of {TEXTS} decisions, expected 0; first {other[:1]!r:.120}"
    check(not other, Property.ROUTE_FEATURES, seen)
    evidence("features", TEXTS)


@pytest.mark.parametrize("way", OTHERWISE)
def test_what_says_something_is_seen(
    router: Router, some: list[tuple[str, Answer]], seeded: random.Random, evidence: Evidence, way: str
) -> None:
    """Of one word nothing can be taken away or turned round, so not all texts must differ."""
    same = sum(same for _, same in again(router, some, OTHERWISE[way], seeded))
    seen = f"{way} changed {TEXTS - same} of {TEXTS} decisions, expected most"
    check(same <= TEXTS // 5, Property.ROUTE_FEATURES, seen)
    evidence("features", TEXTS)
