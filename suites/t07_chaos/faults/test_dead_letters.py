"""The handler of dead letters is down when tasks have their last delivery."""

import random
import time
from itertools import islice

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform, Tenant
from _helpers.chaos import healed_at
from _helpers.model import ModelServer
from _helpers.properties import Property, check
from t07_chaos.conftest import StartLoad
from t07_chaos.faults.conftest import INJECTION_SECONDS, Fault, recovered
from t07_chaos.letters import DELIVERIES, GIVEN_UP_SECONDS, POISON, judge_letters
from t07_chaos.load import orders

pytestmark = pytest.mark.mock_only
TASKS = 6


def test_letters_wait_for_their_handler(
    platform: Platform,
    store: Tenant,
    load: StartLoad,
    pace: float,
    fault: Fault,
    model: ModelServer,
    seeded: random.Random,
    evidence: Evidence,
) -> None:
    """Every task that was given up meanwhile is in the DLQ when the handler is back, and its episode has failed."""
    down = fault("Outage", "dlq", duration="20s")
    down.wait("Injected", INJECTION_SECONDS)
    with load(islice(orders(store.tenant_id, seeded, direction=POISON), TASKS), pace) as running:
        given_up = any(
            len(running.tasks) == TASKS
            and all(
                sum(call["role"] == "compose" for call in model.calls(task.trace_id)) == DELIVERIES
                for task in running.tasks.values()
            )
            for _ in running.looks(GIVEN_UP_SECONDS)
        )
        at = time.time()
        running.finish()
    status = down.finish()
    judge_letters(platform.database, store, running)
    recovered(status)
    seen = f"the last of {DELIVERIES} deliveries did not come within {GIVEN_UP_SECONDS:.0f} s"
    check(given_up, Property.ACCEPTED_THEN_LOST, seen)
    if at > healed_at(status):
        pytest.skip("inconclusive: the handler was back before the last delivery")
    evidence("poison", TASKS)
