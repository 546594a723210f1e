"""The faults that this suite asks for, and what is learnt of each: `chaos` is the runner's."""

from collections.abc import Callable

import pytest
from _fixtures.evidence import Evidence
from _helpers.chaos import Chaos, Experiment, Status
from _helpers.jetstream import deliveries
from _helpers.properties import Property, check
from _helpers.target import endpoint

INJECTION_SECONDS = 60.0
PART_OF = "app.kubernetes.io/part-of"
NAME = "app.kubernetes.io/name"
ALL = {"maxPercent": 100, "maxCount": 10}
"""Of a role with one pod, one is all."""

Fault = Callable[..., Experiment]


@pytest.fixture
def patience() -> float:
    """Longer than elsewhere: by what a fault takes to begin, to last and to heal."""
    return 75.0


@pytest.fixture
def fault(chaos: Chaos) -> Fault:
    """Ask for a fault on one pod of a role; an Outage is one of its whole Deployment."""

    def ask(kind: str, role: str, **arguments: object) -> Experiment:
        where: dict[str, object] = {"selector": {PART_OF: "bazaar", NAME: role}}
        if kind == "Outage":
            where = {"target": ("Deployment", role), "mode": "All"}
        probes = [{"name": "gateway", "http": {"url": f"{endpoint('gateway')}/healthz"}}]
        return chaos.inject(kind, limits=ALL, probes=probes, **where, **arguments)  # type: ignore[arg-type]

    return ask


def recovered(status: Status) -> None:
    """The target is well again, by the experiment's own observer."""
    seen = f"{status.get('verdict')} ({status.get('reason')}): {status.get('message')}"
    check(status["verdict"] == "Passed", Property.RECOVERY, seen)


@pytest.fixture
def redelivered(evidence: Evidence) -> Callable[[], int]:
    """How many deliveries there were beyond the first since the test began. No other suite may run beside this one."""
    before = deliveries("TASKS")

    def count() -> int:
        now = deliveries("TASKS")
        again = (now.delivered - before.delivered) - (now.published - before.published)
        evidence("redeliveries", again)
        if again == 0:
            pytest.skip("inconclusive: no task was delivered twice, so nothing was put to the test")
        return again

    return count
