"""A tool does not answer in time, and is asked again: two deliveries ask for one effect, and both are heard."""

import random
from collections.abc import Callable
from itertools import islice

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform, Tenant
from _helpers.properties import Property, check
from t07_chaos.conftest import StartLoad
from t07_chaos.faults.conftest import INJECTION_SECONDS, Fault, recovered
from t07_chaos.judge import judge
from t07_chaos.load import orders

pytestmark = pytest.mark.mock_only
TASKS = 12
STEP_SECONDS = 10.0
FROZEN = "24s"
"""A worker waits 20 s for its tool."""


def test_tools_freeze_longer_than_a_worker_waits(
    platform: Platform,
    store: Tenant,
    load: StartLoad,
    pace: float,
    fault: Fault,
    redelivered: Callable[[], int],
    seeded: random.Random,
    evidence: Evidence,
) -> None:
    """When they thaw they have the first request in hand, whose worker has given up, and soon the second."""
    frozen = fault("Pause", "tools", duration=FROZEN)
    frozen.wait("Injected", INJECTION_SECONDS)
    with load(islice(orders(store.tenant_id, seeded), TASKS), pace) as running:
        for _ in running.looks(STEP_SECONDS):
            steps = platform.database.rows("episode_steps", store.tenant_id, step="tool-1")
            if len(steps) == TASKS:
                break
        done = sum(row["done_at"] is not None for row in steps)
        made = len(platform.database.rows("effects", store.tenant_id))
        check(done <= made, Property.CHECKPOINT, f"{done} steps are done of {made} effects, tools frozen")
        running.finish()
    status = frozen.finish()
    judge(platform.database, store, running, given_up=True)
    recovered(status)
    if len(steps) < TASKS or made:
        pytest.skip(f"inconclusive: {len(steps)} of {TASKS} tasks were in their tool, {made} effects too early")
    redelivered()
    evidence("tasks", len(running.seen))
