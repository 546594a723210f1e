"""Customers keep ordering while the queue cannot be reached, or nobody is there who works on it."""

import random

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform, Tenant
from _helpers.chaos import healed_at, injected_at
from t07_chaos.conftest import StartLoad
from t07_chaos.faults.conftest import INJECTION_SECONDS, Fault, recovered
from t07_chaos.judge import judge
from t07_chaos.load import orders
from t07_chaos.recover import recovered_rate, warmed

pytestmark = pytest.mark.mock_only
BEFORE = 20
VERDICT_SECONDS = 120.0


@pytest.mark.parametrize(
    ("kind", "role", "arguments"),
    [
        ("NetworkCut", "nats", {"port": 4222, "duration": "6s"}),
        ("Outage", "orchestrator", {"duration": "6s"}),
    ],
    ids=["queue is cut off", "no orchestrator"],
)
def test_outage_under_load(
    platform: Platform,
    store: Tenant,
    load: StartLoad,
    pace: float,
    fault: Fault,
    seeded: random.Random,
    evidence: Evidence,
    kind: str,
    role: str,
    arguments: dict[str, object],
) -> None:
    """What is accepted before, during and after is done, once; and the shop is at its rate again within 30 s."""
    with load(orders(store.tenant_id, seeded, ("order", "saga", "declined")), pace) as running:
        warmed(running, BEFORE)
        experiment = fault(kind, role, **arguments)
        injected = injected_at(experiment.wait("Injected", INJECTION_SECONDS))
        status = experiment.wait("Healed", VERDICT_SECONDS)
        recovered_rate(running, injected, healed_at(status))
        running.stop()
        running.finish()
    status = experiment.finish()
    judge(platform.database, store, running, given_up=True)
    recovered(status)
    during = sum(
        running.history.first(key) < healed_at(status) and (seen.ended_at or 0) > injected
        for key, seen in running.seen.items()
    )
    if during == 0:
        pytest.skip("inconclusive: no message was on its way during the outage")
    evidence("outages")
    evidence("tasks", len(running.seen))
    evidence("disturbed", during)
