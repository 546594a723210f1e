"""Drift shows in what the router says, and only drift: with thresholds that follow from the number of decisions.

The reference are the committed decisions of other texts than those that are looked at, so what is compared is never a
text with itself. Two-sample tests on a classifier's outputs find shifts best: Rabanser, Günnemann and Lipton, "Failing
Loudly", NeurIPS 2019. The outputs here are one number a text, `clarity`, and the agent.
"""

import random
from collections import Counter
from collections.abc import Iterable, Sequence

import pytest
from _fixtures.evidence import Evidence
from _helpers.drift import binned, kolmogorov_smirnov, noise_floor, stability_index
from _helpers.properties import Property, check
from _helpers.wager import alarm
from t05_router.golden import Asked, Line
from t05_router.router import OTHER, Answer

BINS = 10
LOOKED_AT, REFERENCE = 1000, 2500
ALPHA = 1e-6
"""The chance of a false alarm, of each test."""
USUAL, FEARED = 0.15, 0.20
"""Of texts in scope, the share that may be left to the language model or worse, and one that must be noticed."""
MISROUTED, FEARED_MISROUTED = 0.01, 0.03
WATCHED = 600

Pair = tuple[Line, Answer]


def clarity(decision: Line | Answer) -> float:
    """How sure it is that a text is for an agent: small for what is out of scope, however surely it is that."""
    return 1 - decision.probability if decision.agent == OTHER else decision.probability


def apart(asked: Asked, chance: random.Random) -> tuple[list[Pair], list[Line]]:
    """Some texts in scope to look at, and others as a reference."""
    pairs = chance.sample(asked.in_scope, LOOKED_AT + REFERENCE)
    return pairs[:LOOKED_AT], [line for line, _ in pairs[LOOKED_AT:]]


def strange(asked: Asked, usual: Sequence[Pair], share: float, chance: random.Random) -> list[Pair]:
    """The same traffic with a share of texts out of scope."""
    count = round(share * len(usual))
    mixed = [*usual[count:], *chance.sample(asked.out_of_scope, count)]
    return chance.sample(mixed, len(mixed))


def index_of_clarity(reference: Sequence[Line], pairs: Sequence[Pair]) -> float:
    known = [clarity(line) for line in reference]
    histograms = (binned(known, known, BINS), binned(known, [clarity(answer) for _, answer in pairs], BINS))
    return stability_index(*histograms)


def index_of_agents(reference: Sequence[Line], pairs: Sequence[Pair]) -> float:
    one, two = Counter(line.agent for line in reference), Counter(answer.agent for _, answer in pairs)
    agents = sorted({*one, *two})
    return stability_index([one[a] for a in agents], [two[a] for a in agents])


def unhandled(pairs: Iterable[Pair]) -> Iterable[bool]:
    """Of each text, whether it was not routed at once and rightly."""
    return (not (answer.exit and answer.agent == line.label) for line, answer in pairs)


def test_usual_traffic_is_distributed_as_it_was(asked: Asked, seeded: random.Random, evidence: Evidence) -> None:
    """Neither the stability index nor Kolmogorov and Smirnov find a difference."""
    pairs, reference = apart(asked, seeded)
    floor = noise_floor(BINS, LOOKED_AT, REFERENCE, ALPHA)
    index = index_of_clarity(reference, pairs)
    check(index <= floor, Property.ROUTE_DRIFT, f"stability index {index:.3f} of usual traffic, noise is {floor:.3f}")
    known, now = [clarity(line) for line in reference], [clarity(answer) for _, answer in pairs]
    distance, p = kolmogorov_smirnov(known, now)
    check(p >= ALPHA, Property.ROUTE_DRIFT, f"distance {distance:.3f} of usual traffic, p = {p:.1g}")
    evidence("drift", LOOKED_AT)


@pytest.mark.parametrize("share", [0.2, 0.3])
def test_traffic_out_of_scope_shows(asked: Asked, seeded: random.Random, evidence: Evidence, share: float) -> None:
    """Both tests find it, so a router that is equally sure of everything fails."""
    usual, reference = apart(asked, seeded)
    pairs = strange(asked, usual, share, seeded)
    floor = noise_floor(BINS, LOOKED_AT, REFERENCE, ALPHA)
    index = index_of_clarity(reference, pairs)
    seen = f"stability index {index:.3f} with {share:.0%} out of scope, expected more than noise, {floor:.3f}"
    check(index > floor, Property.ROUTE_DRIFT, seen)
    known, now = [clarity(line) for line in reference], [clarity(answer) for _, answer in pairs]
    distance, p = kolmogorov_smirnov(known, now)
    seen = f"distance {distance:.3f} with {share:.0%} out of scope, p = {p:.1g}, expected less than {ALPHA}"
    check(p < ALPHA, Property.ROUTE_DRIFT, seen)
    evidence("drift", LOOKED_AT)


def test_agents_are_asked_for_as_they_were(asked: Asked, seeded: random.Random, evidence: Evidence) -> None:
    """And traffic in which one agent is asked for three times as often shows."""
    pairs, reference = apart(asked, seeded)
    floor = noise_floor(len({line.label for line, _ in asked.pairs}), LOOKED_AT, REFERENCE, ALPHA)
    index = index_of_agents(reference, pairs)
    check(index <= floor, Property.ROUTE_DRIFT, f"stability index {index:.3f} of usual agents, noise is {floor:.3f}")
    favorite = seeded.choice(sorted({line.label for line, _ in pairs}))
    others = [pair for pair in pairs if pair[0].label != favorite]
    crowd = seeded.choices([pair for pair in pairs if pair[0].label == favorite], k=LOOKED_AT * 3 // 8)
    shifted = [*others[: LOOKED_AT - len(crowd)], *crowd]
    index = index_of_agents(reference, shifted)
    seen = f"stability index {index:.3f} with 3/8 of {favorite}, expected more than noise, {floor:.3f}"
    check(index > floor, Property.ROUTE_DRIFT, seen)
    evidence("drift", LOOKED_AT)


def test_watch_is_silent_on_usual_traffic(asked: Asked, evidence: Evidence) -> None:
    """Looked at after every decision, over all texts in scope in the order in which they were asked."""
    at = alarm(unhandled(asked.in_scope), USUAL, FEARED, ALPHA)
    seen = f"alarm after {at} texts in scope: more than {USUAL:.0%} do not exit rightly"
    check(at is None, Property.ROUTE_COVERAGE, seen)
    evidence("drift", len(asked.in_scope))


def test_watch_stops_at_traffic_out_of_scope(asked: Asked, seeded: random.Random, evidence: Evidence) -> None:
    """Without labels: all that is watched is whether a decision was an exit."""
    usual = seeded.sample(asked.in_scope, WATCHED)
    pairs = strange(asked, usual, 0.3, seeded)
    at = alarm((not answer.exit for _, answer in pairs), USUAL, FEARED, ALPHA)
    check(at is not None, Property.ROUTE_DRIFT, f"no alarm in {WATCHED} decisions, 30 % of them on texts out of scope")
    evidence("drift", at or 0)


def test_watch_over_each_label_sees_no_misroutes(asked: Asked, evidence: Evidence) -> None:
    """The exits of each label in the order of asking, all labels together at the stated rate of false alarms."""
    labels = sorted({line.label for line, _ in asked.in_scope})
    for label in labels:
        exits = [answer.agent != label for line, answer in asked.in_scope if line.label == label and answer.exit]
        at = alarm(exits, MISROUTED, FEARED_MISROUTED, ALPHA / len(labels))
        wrong = sum(exits[:at])
        check(at is None, Property.ROUTE, f"alarm: {wrong} of the first {at} exits of {label} have a wrong agent")
        evidence("drift", len(exits))
