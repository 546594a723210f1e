"""Retrains the router from nothing, measures it, and refuses it if a gate does not hold: `make bazaar-router-card`.

The committed weights must come out again. Sums of floating-point numbers differ in their last bits between machines and
versions of the linear algebra, so where the file is not equal to the bit its decisions must be: at most DIFFERENT of
the golden ones may differ.
"""

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bazaar.router.classifier import PREVIOUS, WEIGHTS, Classifier
from training import golden
from training.corpus import SPLITS, TEST, TRAIN, VALIDATION, Example, generate
from training.measure import calibration_error, cells, measure
from training.train import pack, train

ROOT = Path(__file__).resolve().parents[3]
CARD = ROOT / "docs" / "router-card.md"
DIFFERENT = 5
GATES: dict[str, tuple[float, float]] = {
    "accuracy": (0.95, 0.985),
    "ece_raw": (0.04, 1.0),
    "ece": (0.0, 0.02),
    "ece_in_scope": (0.0, 0.02),
    "texts_in_scope": (4500, float("inf")),
    "coverage": (0.85, 1.0),
    "misroute_bound": (0.0, 0.01),
    "out_of_scope_escalated": (0.85, 1.0),
}
"""What a router must reach on the test texts, and how good it may be before the corpus is too easy to say anything."""
MEANING = {
    "texts": "texts in the test split",
    "texts_in_scope": "of these in scope",
    "accuracy": "share of all texts whose likeliest label is right",
    "ece_raw": "expected calibration error, 15 bins, before the temperature",
    "ece": "the same after it",
    "ece_in_scope": "the same on texts in scope",
    "coverage": "share of texts in scope that exit without a language model",
    "exits": "texts in scope that exit",
    "misroutes": "of these with a wrong agent",
    "misroute_bound": "exact one-sided 95 % upper bound of misroutes given exit",
    "out_of_scope_escalated": "share of texts out of scope that do not exit",
}


def retrained() -> tuple[Classifier, Classifier]:
    """The router, with its figures, and the one before it: the same with half of the texts."""
    examples, validation, test = generate(TRAIN), generate(VALIDATION), generate(TEST)
    current, previous = train(examples, validation), train(examples[: len(examples) // 2], validation)
    return figured(current, test), figured(previous, test)


def figured(classifier: Classifier, test: Sequence[Example]) -> Classifier:
    """The classifier with its card and its version."""
    labels = [example.label for example in test]
    raw = [replace(classifier, temperature=1.0).decide(example.text) for example in test]
    found = measure(labels, [classifier.decide(example.text) for example in test])
    card = {name: round(value, 4) for name, value in (found | {"ece_raw": calibration_error(labels, raw)}).items()}
    complete = replace(classifier, card=card)
    return replace(complete, version=hashlib.sha256(pack(complete)).hexdigest())


def text(classifier: Classifier) -> str:
    """The card as Markdown."""
    card = classifier.card
    rows = [f"| {name} | {_gate(name)} | {card[name]:g} | {MEANING[name]} |" for name in MEANING]
    test = generate(TEST)
    found = cells([e.label for e in test], [classifier.decide(e.text) for e in test])
    table = ["| label | " + " | ".join(classifier.labels) + " |", "|---" * (len(classifier.labels) + 1) + "|"]
    for label in classifier.labels:
        table.append(f"| {label} | " + " | ".join(str(found.get((label, a), 0)) for a in classifier.labels) + " |")
    splits = [f"{s.name}: {s.in_scope} texts in scope, {s.out_of_scope} out of it" for s in SPLITS]
    return "\n".join(
        [
            "# Card of bazaar's router",
            "",
            "Made by `make bazaar-router-card`. **All texts are generated**, by images/bazaar/training: these figures say",
            "that the router and the gates work, not how it would do with customers. The splits share no template.",
            f"{'; '.join(splits)}.",
            "",
            f"Model version `{classifier.version}`, temperature {classifier.temperature:g}, threshold",
            f"{classifier.threshold:g}, labels {', '.join(classifier.labels)}.",
            "",
            "| figure | gate | value | meaning |",
            "|---|---|---|---|",
            *rows,
            "",
            "Early exits by label (rows) and agent (columns):",
            "",
            *table,
            "",
        ]
    )


def _gate(name: str) -> str:
    low, high = GATES.get(name, (0.0, float("inf")))
    if name not in GATES:
        return ""
    return f"{low:g} to {high:g}" if high < 1e9 and low else f"at most {high:g}" if high < 1e9 else f"at least {low:g}"


def complaints(classifier: Classifier) -> list[str]:
    """Which gates do not hold."""
    card = classifier.card
    wrong = [f"{n} is {card[n]:g}, not in {low:g} to {high:g}" for n, (low, high) in GATES.items() if not low <= card[n] <= high]
    return wrong


def reproduced(classifier: Classifier) -> list[str]:
    """How the committed weights and golden decisions differ from these; empty if they are the same."""
    version, lines = golden.read()
    again = golden.decided(classifier, generate(TEST))
    if [line.text for line in lines] != [line.text for line in again]:
        return ["the corpus makes other texts than the golden ones"]
    different = sum((a.agent, a.exit) != (b.agent, b.exit) for a, b in zip(lines, again, strict=True))
    if version == classifier.version:
        print("retraining gave the committed weights, to the bit")
    elif different <= DIFFERENT:
        print(f"retraining gave other bits than those committed; {different} of {len(lines)} decisions differ")
    else:
        return [f"retraining decides {different} of {len(lines)} texts differently, at most {DIFFERENT} may be"]
    return []


def main() -> None:
    """Print the card; with `--write` replace weights, golden decisions and card. Exit code 1 if a gate fails."""
    current, previous = retrained()
    print(text(current))
    wrong = complaints(current)
    if "--write" in sys.argv[1:] and not wrong:
        WEIGHTS.write_bytes(pack(current))
        PREVIOUS.write_bytes(pack(previous))
        golden.write(current.version, golden.decided(current, generate(TEST)))
        CARD.write_text(text(current), encoding="utf-8")
    wrong += reproduced(current)
    sys.exit("\n".join(wrong) or None)


if __name__ == "__main__":
    main()
