"""Customers keep ordering while an orchestrator is killed in the middle of a step, at a time that the seed chooses."""

import os
import random
from collections.abc import Callable
from itertools import chain, islice

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform, Tenant
from _helpers.chaos import injected_at
from _helpers.model import ModelServer, hold_key
from _helpers.properties import Property, check
from t07_chaos.conftest import StartLoad
from t07_chaos.faults.conftest import INJECTION_SECONDS, Fault, recovered
from t07_chaos.judge import judge
from t07_chaos.load import Load, Task, orders
from t07_chaos.recover import recovered_rate, warmed

pytestmark = pytest.mark.mock_only
FULL = os.environ.get("PROFILE") == "full"
SCHEDULES, TASKS = (20, 500) if FULL else (3, 150)
OTHERS = ("gateway", "router", "tools", "model", "cassette", "dlq", "nats")
"""Killed too in the full profile, one after the other. Not the database: it is the oracle."""
HELD = 18
"""Tasks whose answer the model withholds: more than the 16 that an orchestrator works on, so that each has some."""
STEP_SECONDS = 20.0


@pytest.mark.parametrize("schedule", range(1, SCHEDULES + 1))
def test_orchestrator_dies_in_the_middle_of_a_step(
    platform: Platform,
    store: Tenant,
    load: StartLoad,
    pace: float,
    model: ModelServer,
    fault: Fault,
    redelivered: Callable[[], int],
    seeded: random.Random,
    evidence: Evidence,
    schedule: int,
) -> None:
    """Nothing that was accepted is lost, each effect is there once, and the shop works at its rate again, soon."""
    key = hold_key(store.tenant_id)
    before = seeded.randint(TASKS // 5, TASKS // 3)
    usual = orders(store.tenant_id, seeded, ("order", "saga", "declined"))
    held = orders(store.tenant_id, seeded, ("order",), f"[[hold {key} times=1]] ")
    tasks = chain(islice(usual, before), islice(held, HELD), usual)
    with load(tasks, pace) as running:
        warmed(running, before + HELD)
        waiting = [task for task in running.tasks.values() if task.text.startswith("[[hold")]
        in_step = any(len(model.held(key)) == HELD for _ in running.looks(STEP_SECONDS))
        check(in_step, Property.EPISODE_ENDS, f"{len(model.held(key))} of {HELD} answers are asked of the model")
        experiment = fault("ProcessKill", "orchestrator")
        killed_at = injected_at(experiment.wait("Injected", INJECTION_SECONDS))
        steps = _unfinished(platform, store, running, waiting)
        model.let_go(key)
        recovered_rate(running, killed_at, killed_at)
        for role in OTHERS if FULL else ():
            recovered(fault("ProcessKill", role).finish())
            evidence("kills")
        taken = running.accepted(TASKS, 30 + TASKS / pace)
        check(taken, Property.ACCEPTED_THEN_LOST, f"{len(running.seen)} messages accepted, expected {TASKS}")
        running.stop()
        running.finish()
    status = experiment.finish()
    judge(platform.database, store, running, given_up=FULL)
    recovered(status)
    if not steps:
        pytest.skip("inconclusive: no step was started and not done when the orchestrator was killed")
    redelivered()
    evidence("kills")
    evidence("tasks", len(running.seen))


def _unfinished(platform: Platform, store: Tenant, running: Load, held: list[Task]) -> int:
    """How many of the held tasks are in the step whose answer is withheld."""
    of = {running.seen[task.key].episode_id for task in held}
    rows = platform.database.rows("episode_steps", store.tenant_id, step="compose")
    return sum(row["episode_id"] in of and row["done_at"] is None for row in rows)
