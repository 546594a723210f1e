"""What is measured of a router: correctness, calibration, early exits, escalation of what is out of scope."""

import math
from collections.abc import Sequence

import numpy as np

from bazaar.router.classifier import OTHER, Decision

BINS = 15
CONFIDENCE = 0.95


def calibration_error(labels: Sequence[str], decisions: Sequence[Decision]) -> float:
    """The expected calibration error of the top label: 15 bins of equal width (Guo et al. 2017, section 2)."""
    sure = np.array([decision.probabilities[decision.agent] for decision in decisions])
    right = np.array([decision.agent == label for label, decision in zip(labels, decisions, strict=True)])
    bins = np.ceil(sure * BINS).astype(int)
    gaps = [abs(np.sum(right[bins == b]) - np.sum(sure[bins == b])) for b in np.unique(bins)]
    return float(np.sum(gaps) / len(sure))


def upper_bound(failures: int, trials: int) -> float:
    """The exact one-sided 95 % upper bound of a rate (Clopper and Pearson 1934)."""
    if failures >= trials:
        return 1.0
    logs = [math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1) for k in range(failures + 1)]
    low, high = failures / trials, 1.0
    for _ in range(60):
        rate = (low + high) / 2
        below = sum(math.exp(log + k * math.log(rate) + (trials - k) * math.log1p(-rate)) for k, log in enumerate(logs))
        low, high = (rate, high) if below > 1 - CONFIDENCE else (low, rate)
    return high


def measure(labels: Sequence[str], decisions: Sequence[Decision]) -> dict[str, float]:
    """The figures of decisions on texts with known labels, of which some are out of scope."""
    pairs = list(zip(labels, decisions, strict=True))
    inside = [(label, decision) for label, decision in pairs if label != OTHER]
    outside = [decision for label, decision in pairs if label == OTHER]
    exits = [(label, decision) for label, decision in inside if decision.exit]
    wrong = sum(label != decision.agent for label, decision in exits)
    return {
        "texts": len(pairs),
        "texts_in_scope": len(inside),
        "accuracy": sum(label == decision.agent for label, decision in pairs) / len(pairs),
        "ece": calibration_error(labels, decisions),
        "ece_in_scope": calibration_error(*zip(*inside, strict=True)),
        "coverage": len(exits) / len(inside),
        "exits": len(exits),
        "misroutes": wrong,
        "misroute_bound": upper_bound(wrong, len(exits)) if exits else 1.0,
        "out_of_scope_escalated": sum(not decision.exit for decision in outside) / len(outside),
    }


def cells(labels: Sequence[str], decisions: Sequence[Decision]) -> dict[tuple[str, str], int]:
    """How many exits each pair (label, agent) has."""
    found: dict[tuple[str, str], int] = {}
    for label, decision in zip(labels, decisions, strict=True):
        if decision.exit:
            found[label, decision.agent] = found.get((label, decision.agent), 0) + 1
    return found
