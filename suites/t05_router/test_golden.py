"""The pinned version of the router decides every golden text as it did: a stale model shows, however good it is."""

import random

import pytest
from _fixtures.evidence import Evidence
from _helpers.properties import Property, check
from t05_router.golden import Asked, Golden
from t05_router.router import Router

AGAIN = 300


@pytest.fixture
def pinned(router: Router, golden: Golden) -> None:
    """The golden decisions are those of the version that every pod says it has, or there is nothing to compare."""
    others = sorted({told["model_version"] for told in router.models()} - {golden.version})
    if others:
        pytest.skip(f"inconclusive: the router has the weights {others}, the golden decisions are of {golden.version}")


def test_every_golden_text_is_decided_as_it_was(pinned: None, asked: Asked, evidence: Evidence) -> None:
    """Agent, exit and probability to six digits, of all texts."""
    wrong = [(line, answer) for line, answer in asked.pairs if not line.same(answer)]
    first = next((f"first {a.agent} {a.probability}, was {w.agent} {w.probability}" for w, a in wrong), "")
    seen = f"{len(wrong)} of {len(asked.pairs)} golden decisions differ, expected 0; {first}"
    check(not wrong, Property.ROUTE_GOLDEN, seen)
    evidence("golden", len(asked.pairs))


def test_every_decision_is_of_the_version_that_is_told(pinned: None, asked: Asked, golden: Golden) -> None:
    told = {answer.model_version for _, answer in asked.pairs}
    check(told == {golden.version}, Property.ROUTE_GOLDEN, f"decisions by {sorted(told)}, /model says {golden.version}")


def test_decision_depends_on_nothing_but_the_text(
    router: Router, asked: Asked, seeded: random.Random, evidence: Evidence
) -> None:
    """Asked again in other traces, after other texts and by other pods, whatever the version is."""
    some = seeded.sample(asked.pairs, AGAIN)
    again = router.ask([line.text for line, _ in some], seeded)
    wrong = sum(before != now for (_, before), now in zip(some, again, strict=True))
    check(wrong == 0, Property.ROUTE_GOLDEN, f"{wrong} of {AGAIN} texts are decided otherwise the second time")
    evidence("golden", AGAIN)
