"""What T5 has besides the usual: the labelled texts, the router's pods, and their decision on every text."""

import random
from collections.abc import Iterator

import httpx
import pytest
from _fixtures.models import model
from _helpers.metrics import Counters, Restarted
from _helpers.properties import Property, check
from _helpers.replicas import replicas
from _helpers.target import Target
from t05_router import golden as data
from t05_router.golden import Asked, Golden
from t05_router.router import Answer, Router

__all__ = ["model"]

FIRST = 50
"""Enough to see whether it is the router that answers, before all are asked."""


@pytest.fixture(scope="session")
def golden() -> Golden:
    return data.read()


@pytest.fixture(scope="session")
def router() -> Iterator[Router]:
    """The pods of the router. A pod that does not tell its model is an error of each test."""
    pods = replicas("router")
    with httpx.Client(base_url=pods[0], timeout=30) as http:
        found = Router(pods, http)
        found.models()
        yield found


@pytest.fixture(scope="session")
def asked(target: Target, router: Router, golden: Golden) -> Asked:
    """All golden texts are asked once in a session, in an order that follows from the seed.

    The router's own counters are the witness that the router was asked at all, whatever is told in its place.
    """
    chance = random.Random(f"{target.seed}/asked")
    lines = chance.sample(golden.lines, len(golden.lines))
    texts, counters, answers = [line.text for line in lines], Counters(router.pods), list[Answer]()
    for part in (texts[:FIRST], texts[FIRST:]):
        answers += router.ask(part, chance)
        try:
            counted = counters.growth("http_requests_total", method="POST", route="/route", status="200")
        except Restarted as error:
            pytest.skip(f"inconclusive: {error}")
        seen = f"the router's pods counted {counted:.0f} decisions, asked were {len(answers)}"
        check(counted >= len(answers), Property.METRIC_COUNT, seen)
    return Asked(list(zip(lines, answers, strict=True)))
