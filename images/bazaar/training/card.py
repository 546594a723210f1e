"""The router's card: what was measured on the test texts, and the gates that it must pass."""

import math
from pathlib import Path

from bazaar.router.classifier import Classifier
from training.corpus import SPLITS, TEST, generate
from training.measure import cells

PATH = Path(__file__).resolve().parents[3] / "docs" / "router-card.md"
GATES: dict[str, tuple[float, float]] = {
    "texts_in_scope": (4500, math.inf),
    "accuracy": (0.95, 0.985),
    "ece_raw": (0.04, 1),
    "ece": (0, 0.02),
    "ece_in_scope": (0, 0.02),
    "coverage": (0.85, 1),
    "misroute_bound": (0, 0.01),
    "out_of_scope_escalated": (0.85, 1),
}
"""The least and the most of each figure. A corpus that is too easy would prove nothing, so it fails too."""
MEANING = {
    "texts": "texts of the test split",
    "texts_in_scope": "texts in scope",
    "accuracy": "share of all texts whose likeliest label is right",
    "ece_raw": "expected calibration error, 15 bins, without the temperature",
    "ece": "expected calibration error",
    "ece_in_scope": "expected calibration error of the texts in scope",
    "coverage": "share of the texts in scope that exit, so that no language model is asked",
    "exits": "texts in scope that exit",
    "misroutes": "texts in scope that exit with a wrong agent",
    "misroute_bound": "exact one-sided 95 % upper bound of misroutes given exit",
    "out_of_scope_escalated": "share of the texts out of scope that do not exit",
}


def complaints(classifier: Classifier) -> list[str]:
    """Which gates a classifier with a card does not pass."""
    card = classifier.card
    return [
        f"{name} is {card[name]:g}, must be {low:g} to {high:g}"
        for name, (low, high) in GATES.items()
        if not low <= card[name] <= high
    ]


def text(classifier: Classifier) -> str:
    """The card as Markdown."""
    splits = (f"{s.name} {s.in_scope:,} texts in scope and {s.out_of_scope:,} out of it" for s in SPLITS)
    gates = {name: f"{low:g} to {high:g}" for name, (low, high) in GATES.items()}
    figures = (f"| {name} | {classifier.card[name]:g} | {gates.get(name, '')} | {MEANING[name]} |" for name in MEANING)
    test = generate(TEST)
    found = cells([example.label for example in test], [classifier.decide(example.text) for example in test])
    labels = classifier.labels
    rows = (f"| {row} | {' | '.join(str(found.get((row, column), 0)) for column in labels)} |" for row in labels)
    return f"""\
# The card of bazaar's router

Made by `make bazaar-router-card`. **Every text is generated** (images/bazaar/training): the figures say that the router
and its gates work, not how it would do with customers. The splits share no template; training labels are noisy.

- model version `{classifier.version}`
- temperature {classifier.temperature:g}, threshold {classifier.threshold:g}
- {"; ".join(splits)}

| figure | value | gate | meaning |
|---|---|---|---|
{chr(10).join(figures)}

What exits, by label (rows) and agent (columns):

| | {" | ".join(labels)} |
|{"---|" * (len(labels) + 1)}
{chr(10).join(rows)}
"""
