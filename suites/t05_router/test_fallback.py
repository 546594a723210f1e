"""A router that does not answer in time is passed by, and only then.

What keeps it from answering is work: texts to the limit that grow eighteenfold when they are normalized, more of them
at once than it decides in the second that it is given.
"""

import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import ceil
from threading import Barrier

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Shop
from _helpers.model import ModelServer
from _helpers.properties import Property, check
from t05_router.golden import Golden
from t05_router.router import Router
from t05_router.talk import asked_for_route, early, say

HEAVY = "\ufdfa" * 10_240
BUSY_SECONDS = 5.0
GIVEN_SECONDS = 1.0
LEAST, MOST = 10, 200
"""Texts at once, for each pod."""


@contextmanager
def busy(router: Router) -> Iterator[None]:
    """Every pod has work for BUSY_SECONDS from here; it is done when the block is left.

    Skips as inconclusive where the pods were done before the block could see that.
    """
    body = json.dumps({"text": HEAVY}).encode()
    began = time.monotonic()
    for pod in router.pods:
        router.post(pod, body)
    count = min(max(ceil(BUSY_SECONDS * len(router.pods) / (time.monotonic() - began)), LEAST), MOST)
    sent = Barrier(count * len(router.pods) + 1)
    with ThreadPoolExecutor(count * len(router.pods)) as pool:
        work = [pool.submit(router.post, pod, body, sent.wait) for pod in router.pods for _ in range(count)]
        sent.wait(timeout=30)
        began = time.monotonic()
        yield
        for answer in work:
            answer.result()
    if time.monotonic() - began < 2 * GIVEN_SECONDS:
        pytest.skip(f"inconclusive: {count} of the heaviest texts kept no pod busy for {2 * GIVEN_SECONDS:.0f} s")


@pytest.mark.mock_only
def test_busy_router_is_passed_by(
    shop: Shop, router: Router, model: ModelServer, golden: Golden, seeded: random.Random, evidence: Evidence
) -> None:
    """Of two plain messages the one during the work is decided by the model, by its ledger, and the next is not."""
    during, after = early(router, golden, 2, seeded)
    with busy(router):
        passed_by = say(shop, during, seeded)
    routed = say(shop, after, seeded)
    calls = len(asked_for_route(model, passed_by))
    seen = f"exit {passed_by.exit} with {calls} calls for the route while the router is busy, expected fallback and 1"
    check((passed_by.exit, calls) == ("fallback", 1), Property.ROUTE_FALLBACK, seen)
    calls = len(asked_for_route(model, routed))
    seen = f"exit {routed.exit} with {calls} calls for the route after that, expected early and 0"
    check((routed.exit, calls) == ("early", 0), Property.ROUTE_FALLBACK, seen)
    evidence("messages", 2)
