"""The faults of a run: made once, at their time; what they say joins the verdict; they end with the run."""

from typing import Any

import pytest

from builders import APod, a_run, a_spec, a_step
from core.simulation import Cluster, passes
from proctor.api import names
from proctor.api.scalars import Verdict
from proctor.core.jobs import child_name
from proctor.core.observed import Refusal

TEMPLATE = {"fault": "PodKill", "selector": {"matchLabels": {"app": "shop"}}}


def a_world(*faults: dict[str, Any], lasts: float = 60, **suite: Any) -> Cluster:
    """Return a run of one step with these faults, whose tests take so many seconds."""
    chaos = list(faults) or [{"template": TEMPLATE, "at": "10s"}]
    world = Cluster(a_run({"suite": a_spec(a_step(chaos=chaos), **suite)}))
    world.scripts["one", 0] = passes("t.py::a", after=lasts)
    return world


def fault_of(world: Cluster, index: int = 0) -> str:
    return child_name(world.run, f"one.{index}")


def judge(world: Cluster, verdict: Verdict, reason: str, index: int = 0) -> None:
    world.change_fault(fault_of(world, index), status={"verdict": verdict, "reason": reason, "message": "as seen"})


def test_a_fault_is_made_once_at_its_time() -> None:
    world = a_world(lasts=60)
    world.wait(9)
    assert not world.faults
    world.wait(5)
    assert list(world.faults) == [fault_of(world)]
    made = world.faults[fault_of(world)]
    assert made.spec.fault == "PodKill"
    assert made.spec.seed is not None, "the run's seed"
    assert made.metadata.labels[names.LABEL_RUN_UID] == world.run.metadata.uid
    assert made.metadata.labels[names.LABEL_STEP] == "one"
    world.wait(20)
    assert [fault.name for fault in world.status.chaos] == [fault_of(world)]
    judge(world, Verdict.PASSED, names.PASSED)
    status = world.finish()
    assert status.verdict is Verdict.PASSED
    assert world.created[fault_of(world)] == 1


def test_the_clock_of_a_step_begins_when_its_pods_run() -> None:
    world = a_world()
    world.scripts["one", 0] = [[(40, APod.running), (90, lambda pod: pod.passed("t.py::a"))]]
    world.wait(35)
    assert not world.faults
    world.wait(20)
    assert world.faults


def test_a_template_in_the_target_s_namespace_has_no_owner_elsewhere() -> None:
    world = a_world(target={"name": "shop", "namespace": "elsewhere"})
    world.wait(20)
    assert world.faults[fault_of(world)].metadata.namespace == "elsewhere"


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (Verdict.FAILED, names.NOT_RECOVERED),
        (Verdict.ERROR, names.OBSERVER_FAILED),
        (Verdict.INCONCLUSIVE, names.NOT_EFFECTIVE),
    ],
)
def test_invariant_1_an_unproven_fault_never_passes(verdict: Verdict, reason: str) -> None:
    world = a_world()
    world.wait(20)
    judge(world, verdict, reason)
    status = world.finish()
    assert (status.verdict, status.reason) == (verdict, reason)
    assert fault_of(world) in status.message


def test_a_run_waits_for_its_faults() -> None:
    world = a_world(lasts=15)
    world.wait(300)
    assert world.status.verdict is None
    assert world.status.steps[0].verdict is Verdict.PASSED
    judge(world, Verdict.PASSED, names.PASSED)
    assert world.finish().verdict is Verdict.PASSED


def test_a_step_that_ends_before_its_fault_is_inconclusive() -> None:
    world = a_world({"template": TEMPLATE, "at": "5m"}, lasts=15)
    status = world.finish()
    assert (status.verdict, status.reason) == (Verdict.INCONCLUSIVE, names.NOT_EFFECTIVE)
    assert "5m" in status.message
    assert not world.faults


def test_several_faults_come_in_their_order_and_the_worst_counts() -> None:
    world = a_world({"template": TEMPLATE, "at": "20s"}, {"template": TEMPLATE, "at": "10s"})
    world.wait(15)
    assert list(world.faults) == [fault_of(world, 1)]
    judge(world, Verdict.INCONCLUSIVE, names.NOT_EFFECTIVE, 1)
    world.wait(15)
    judge(world, Verdict.FAILED, names.NOT_RECOVERED, 0)
    assert world.finish().verdict is Verdict.FAILED


def test_a_fault_that_was_deleted_is_not_made_again_and_proves_nothing() -> None:
    world = a_world()
    world.wait(20)
    del world.faults[fault_of(world)]
    status = world.finish()
    assert world.created[fault_of(world)] == 1
    assert (status.verdict, status.reason) == (Verdict.INCONCLUSIVE, names.NOT_EFFECTIVE)
    assert "deleted" in status.message


def test_what_a_deleted_fault_has_shown_stays() -> None:
    world = a_world()
    world.wait(20)
    judge(world, Verdict.FAILED, names.NOT_RECOVERED)
    world.settle()
    del world.faults[fault_of(world)]
    assert world.finish().verdict is Verdict.FAILED


def test_a_fault_that_the_api_server_refuses_is_an_error_and_does_not_hold_up_the_run() -> None:
    world = a_world()
    world.refuse[fault_of(world)] = Refusal("a policy says no", quota=False)
    status = world.finish()
    assert (status.verdict, status.reason) == (Verdict.ERROR, names.INJECTION_REFUSED)
    assert "a policy says no" in status.message
    assert status.steps[0].verdict is Verdict.PASSED


@pytest.mark.parametrize("crashes", [[True], [False, True], [True] * 8])
def test_a_killed_operator_makes_a_fault_once(crashes: list[bool]) -> None:
    world = a_world()
    world.wait(8)
    world.crashes = list(crashes)
    world.wait(20)
    assert list(world.faults) == [fault_of(world)]
    judge(world, Verdict.PASSED, names.PASSED)
    assert world.finish().verdict is Verdict.PASSED
    assert world.created[fault_of(world)] == 1


def test_an_aborted_run_aborts_its_faults() -> None:
    world = a_world()
    world.wait(20)
    assert not world.faults[fault_of(world)].spec.abort
    world.edit(abort=True)
    status = world.finish()
    assert (status.verdict, status.reason) == (Verdict.ERROR, names.ABORTED)
    assert world.faults[fault_of(world)].spec.abort


def test_a_run_that_has_its_verdict_aborts_no_fault_that_has_one() -> None:
    world = a_world()
    world.wait(20)
    judge(world, Verdict.PASSED, names.PASSED)
    world.finish()
    assert not world.faults[fault_of(world)].spec.abort
