"""Tasks that are delivered again because their model failed: what was done is not done again."""

import random
from itertools import islice

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform, Tenant
from _helpers.model import ModelServer
from _helpers.properties import Property, check
from t07_chaos.conftest import StartLoad
from t07_chaos.judge import judge
from t07_chaos.load import orders

pytestmark = pytest.mark.mock_only
TASKS = 8
FAILURES = {
    "once": ("[[error 500 times=1]] ", 2),
    "three times": ("[[error 500 times=3]] ", 4),
    "cut off": ("[[truncate times=1]] ", 2),
    "told to wait": ("[[error 429 times=1]] ", 2),
}
"""What the model does to the last step, and how often it is asked."""


@pytest.mark.parametrize("failure", FAILURES)
def test_task_is_delivered_again(
    platform: Platform,
    store: Tenant,
    load: StartLoad,
    model: ModelServer,
    seeded: random.Random,
    evidence: Evidence,
    failure: str,
) -> None:
    """Effects, money, stock and frames are those of one delivery."""
    direction, times = FAILURES[failure]
    kinds = ("order", "saga", "declined")
    with load(islice(orders(store.tenant_id, seeded, kinds, direction), TASKS), 20) as running:
        running.finish()
    judge(platform.database, store, running)
    for task in running.tasks.values():
        asked = [call["role"] for call in model.calls(task.trace_id)].count("compose")
        check(asked == times, Property.STEP_ORDER, f"the last step was asked for {asked} times, expected {times}")
    evidence("redeliveries", TASKS * (times - 1))
    evidence("tasks", TASKS)
