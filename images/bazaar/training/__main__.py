"""Retrains the router from nothing, prints its card, and fails if a gate does not hold: `make bazaar-router-card`.

The committed weights must come out again. Sums of floating-point numbers differ in their last bits between processors
and versions of linear algebra, and rounding to 8 bits hides most of that but not all. So where the file is not equal
to the bit, its decisions must be: at most DIFFERENT of the golden ones may differ.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace

from bazaar.router.classifier import PREVIOUS, WEIGHTS, Classifier
from training import card, golden
from training.corpus import TEST, TRAIN, VALIDATION, Example, generate
from training.measure import calibration_error, measure
from training.train import pack, train

DIFFERENT = 5


def trained(examples: Sequence[Example]) -> Classifier:
    """A classifier with its card and its version."""
    fitted, test = train(examples, generate(VALIDATION)), generate(TEST)
    labels = [example.label for example in test]
    figures = measure(labels, [fitted.decide(example.text) for example in test])
    raw = replace(fitted, temperature=1.0)
    figures["ece_raw"] = calibration_error(labels, [raw.decide(example.text) for example in test])
    measured = replace(fitted, card={name: round(value, 4) for name, value in figures.items()})
    return replace(measured, version=hashlib.sha256(pack(measured)).hexdigest())


def write(current: Classifier) -> None:
    """Replace the committed files. The weights before these are made of half of the texts."""
    examples = generate(TRAIN)
    WEIGHTS.write_bytes(pack(current))
    PREVIOUS.write_bytes(pack(trained(examples[: len(examples) // 2])))
    golden.write(current.version, [golden.golden(e.text, e.label, current.decide(e.text)) for e in generate(TEST)])
    card.PATH.write_text(card.text(current), encoding="utf-8")


def compared(current: Classifier) -> tuple[str, bool]:
    """How a retrained classifier stands to the committed one, and whether that will do."""
    version, lines = golden.read()
    if version == current.version:
        return "retraining gives the committed weights, to the bit", True
    again = [current.decide(line.text) for line in lines]
    count = sum((a.agent, a.exit) != (b.agent, b.exit) for a, b in zip(lines, again, strict=True))
    return f"retraining gives other weights; {count} of {len(lines)} golden decisions differ", count <= DIFFERENT


def main() -> None:
    """Exit code 1 if a gate does not hold or the committed weights do not come out again."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace the committed weights, decisions and card")
    wanted = parser.parse_args()
    current = trained(generate(TRAIN))
    print(card.text(current))
    wrong = card.complaints(current)
    if wanted.write and not wrong:
        write(current)
    comparison, same = compared(current)
    print(comparison)
    sys.exit("\n".join([*wrong, *([] if same else [f"at most {DIFFERENT} may differ"])]) or None)


if __name__ == "__main__":
    main()
