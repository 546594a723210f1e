"""The gates of a router, on labelled texts: exact bounds of shares, each confusion by itself, calibration.

They hold for any version. A gate says what is known at 95 %, not what was seen: the bound must hold, not the share.
"""

from collections import Counter
from itertools import product

import pytest
from _fixtures.evidence import Evidence
from _helpers.bounds import at_least, lower_bound, upper_bound
from _helpers.calibration import calibration_error, log_loss
from _helpers.properties import Property, check
from t05_router.golden import Asked
from t05_router.router import OTHER, Router

CONFIDENCE = 0.95
ACCURACY = 0.95
MISROUTES = 0.01
COVERAGE = 0.85
ESCALATED = 0.85
CELL = 0.005
"""The share of a label's texts that may exit with one wrong agent."""
ALARMS = 0.001
"""The chance that a router in which every confusion is as large as it may be fails the test of all of them."""
CALIBRATION_ERROR, ENOUGH = 0.02, 4500
"""With fewer decisions perfect probabilities have such an error too."""
OTHER_POWERS = (1.5, 1 / 1.5)
ROUNDING = 1e-5


def test_most_texts_have_the_right_agent(asked: Asked) -> None:
    """Out of scope is an agent too: `other`."""
    right, n = sum(line.label == answer.agent for line, answer in asked.pairs), len(asked.pairs)
    bound = lower_bound(right, n, CONFIDENCE)
    seen = f"{right} of {n} likeliest agents are right, so at least {bound:.4f}, expected {ACCURACY}"
    check(bound >= ACCURACY, Property.ROUTE, seen)


def test_early_exits_are_right(asked: Asked) -> None:
    exits = [(line, answer) for line, answer in asked.in_scope if answer.exit]
    wrong = sum(line.label != answer.agent for line, answer in exits)
    bound = upper_bound(wrong, len(exits), CONFIDENCE) if exits else 1.0
    seen = f"{wrong} of {len(exits)} exits have a wrong agent, so up to {bound:.4f}, expected {MISROUTES}"
    check(bound <= MISROUTES, Property.ROUTE, seen)


def test_no_pair_is_confused(asked: Asked, evidence: Evidence) -> None:
    """Each of all pairs (label, other agent) by an exact test, at a level such that all together alarm at ALARMS.

    An error in two labels only is too small for a gate over all texts, and fills two of these cells.
    """
    labels = sorted({line.label for line, _ in asked.pairs})
    texts = Counter(line.label for line, _ in asked.pairs)
    exits = Counter((line.label, answer.agent) for line, answer in asked.pairs if answer.exit)
    cells = [(label, agent) for label, agent in product(labels, labels) if label != agent]
    chances = {cell: at_least(CELL, exits[cell], texts[cell[0]]) for cell in cells if exits[cell]}
    confused = sorted((cell for cell in chances if chances[cell] < ALARMS / len(cells)), key=lambda cell: chances[cell])
    told = ", ".join(f"{exits[label, agent]} of {texts[label]} {label} exit as {agent}" for label, agent in confused)
    check(not confused, Property.ROUTE_CELL, f"{told}: more than {CELL:.1%} would show with p < {ALARMS}/{len(cells)}")
    evidence("cells", len(cells))


def test_most_texts_in_scope_exit_early(asked: Asked) -> None:
    """And with the right agent: a router that answers anything at once covers nothing."""
    good = sum(answer.exit and answer.agent == line.label for line, answer in asked.in_scope)
    n = len(asked.in_scope)
    bound = lower_bound(good, n, CONFIDENCE)
    seen = f"{good} of {n} texts in scope exit rightly, so at least {bound:.4f}, expected {COVERAGE}"
    check(bound >= COVERAGE, Property.ROUTE_COVERAGE, seen)


def test_what_is_out_of_scope_is_escalated(asked: Asked, evidence: Evidence) -> None:
    left, n = sum(not answer.exit for _, answer in asked.out_of_scope), len(asked.out_of_scope)
    bound = lower_bound(left, n, CONFIDENCE)
    seen = f"{left} of {n} texts out of scope are escalated, so at least {bound:.4f}, expected {ESCALATED}"
    check(bound >= ESCALATED, Property.ROUTE_OUT_OF_SCOPE, seen)
    evidence("out-of-scope", n)


def test_out_of_scope_is_never_final(asked: Asked) -> None:
    """However sure the router is of it: what to say then is for the language model to find."""
    exits = sum(answer.exit for _, answer in asked.pairs if answer.agent == OTHER)
    n = sum(answer.agent == OTHER for _, answer in asked.pairs)
    seen = f"{exits} of {n} decisions for {OTHER} are final, expected 0 of some"
    check(n > 0 and exits == 0, Property.ROUTE_OUT_OF_SCOPE, seen)


def test_probabilities_are_shares(asked: Asked) -> None:
    """The expected calibration error, where there are decisions enough to ask for it."""
    if len(asked.pairs) < ENOUGH:
        pytest.skip(f"inconclusive: {len(asked.pairs)} decisions, calibration shows from {ENOUGH}")
    error = calibration_error((answer.probability, answer.agent == line.label) for line, answer in asked.pairs)
    seen = f"the calibration error of {len(asked.pairs)} decisions is {error:.4f}, expected {CALIBRATION_ERROR} at most"
    check(error <= CALIBRATION_ERROR, Property.ROUTE_CALIBRATED, seen)


def test_no_other_temperature_is_better(asked: Asked) -> None:
    """Probabilities that are made surer or less sure, by a half each, fit the labels worse."""
    decisions = [(answer.probabilities, line.label) for line, answer in asked.pairs]
    loss = log_loss(decisions, 1)
    for power in OTHER_POWERS:
        other = log_loss(decisions, power)
        seen = f"log loss {loss:.4f}, and with the probabilities to the power of {power:.2f} {other:.4f}, expected more"
        check(loss < other, Property.ROUTE_CALIBRATED, seen)


def test_probabilities_are_of_all_labels_and_sum_to_one(asked: Asked, router: Router) -> None:
    labels = {frozenset(told["labels"]) for told in router.models()}
    for _, answer in asked.pairs:
        check({frozenset(answer.probabilities)} == labels, Property.ROUTE_CALIBRATED, "a label has no probability")
        total = sum(answer.probabilities.values())
        check(abs(total - 1) <= ROUNDING, Property.ROUTE_CALIBRATED, f"probabilities sum to {total}, expected 1")


def test_decision_follows_from_its_probabilities(asked: Asked, router: Router) -> None:
    """The agent is the likeliest label, and an exit for an agent is one at the threshold that the model tells."""
    (threshold,) = {told["threshold"] for told in router.models()}
    for _, answer in asked.pairs:
        likeliest = max(answer.probabilities.values())
        seen = f"the agent {answer.agent} has the probability {answer.probability}, another one {likeliest}"
        check(answer.probability == likeliest, Property.ROUTE, seen)
        if answer.agent != OTHER:
            seen = f"exit is {answer.exit} at a probability of {answer.probability}, the threshold is {threshold}"
            check(answer.exit == (answer.probability >= threshold), Property.ROUTE_COVERAGE, seen)
