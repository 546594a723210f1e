"""Whole runs, folded through the simulated cluster until their verdict."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from builders import COMMIT, RUN_UID, APod, a_pod, a_run, a_spec, a_step, a_suite, a_workload, at
from core.simulation import Cluster, Script, passes, reports
from proctor.api import names
from proctor.api.scalars import StepState, Verdict
from proctor.core import conditions, jobs
from proctor.core.observed import Claim, Pod, Refusal
from proctor.core.results import Trouble

QUOTA = Refusal("exceeded quota: pods, requested: 1, used: 4, limited: 4", quota=True)


def one(script: Script | None = None, spec: dict[str, Any] | None = None, **step: Any) -> Cluster:
    """Return a run of one step with one shard."""
    world = Cluster(a_run({"suite": spec or a_spec(a_step(**step))}))
    if script is not None:
        world.scripts["one", 0] = script
    return world


def steps(*wanted: dict[str, Any], **fields: Any) -> Cluster:
    return Cluster(a_run({"suite": a_spec(*wanted, **fields)}))


def truth(world: Cluster, kind: str) -> tuple[str, str] | None:
    found = conditions.get(world.status.conditions, kind)
    return (found.status, found.reason) if found else None


def outcome(world: Cluster) -> tuple[Verdict | None, str]:
    status = world.finish()
    return status.verdict, status.reason


def died(exit_code: int = 1, reason: str = "Error", **summary: Any) -> Script:
    def how(pod: APod) -> Any:
        return pod.reported(pod.summary(complete=False, **summary), exit_code=exit_code, reason=reason)

    return [[(2, APod.running), (5, how)]]


@pytest.mark.parametrize(
    ("script", "verdict", "reason", "says"),
    [
        pytest.param(passes("a", "b"), "Passed", names.PASSED, "2 tests passed", id="passing"),
        pytest.param(
            reports(tests="ab", failed="b"),
            "Failed",
            names.TESTS_FAILED,
            "1 of 2 tests failed: b: failed here",
            id="failing",
        ),
        pytest.param(
            reports(tests="ab", error="b"), "Error", names.TEST_ERRORS, "1 of 2 tests broke outside", id="setup-error"
        ),
        pytest.param(
            reports(tests="ab", flaky="b"),
            "Passed",
            names.PASSED_WITH_FLAKES,
            "1 of 2 tests failed, then passed",
            id="flaky",
        ),
        pytest.param(
            reports(tests="ab", counts={"passed": 1, "quarantined": 1}),
            "Passed",
            names.PASSED,
            "1 tests passed",
            id="quarantined",
        ),
        pytest.param(
            reports(tests="ab", counts={"quarantined": 2}),
            "Inconclusive",
            names.NO_TESTS_EXECUTED,
            "2 quarantined",
            id="all-quarantined",
        ),
        pytest.param(reports(), "Inconclusive", names.NO_TESTS_EXECUTED, "none was collected", id="zero-tests"),
        pytest.param(
            reports(tests="ab", counts={"skipped": 2}),
            "Inconclusive",
            names.NO_TESTS_EXECUTED,
            "2 skipped",
            id="all-skipped",
        ),
        pytest.param(
            died(137, "OOMKilled", tests="ab", counts={"passed": 1}, in_flight="b"),
            "Error",
            names.OOM_KILLED,
            "killed for memory during b",
            id="oom",
        ),
        pytest.param(
            [[(2, APod.running), (5, lambda p: p.reported(p.summary("a"), reason="OOMKilled"))]],
            "Error",
            names.OOM_KILLED,
            "a child process was killed",
            id="oom-of-a-child",
        ),
        pytest.param(
            died(1, tests="ab", counts={"passed": 1}, in_flight="b"),
            "Error",
            names.RUNNER_CRASHED,
            "exited with code 1 during b",
            id="runner-crashed",
        ),
        pytest.param(
            died(1, tests="ab", counts={"failed": 1}, in_flight="b"),
            "Failed",
            names.TESTS_FAILED,
            "also RunnerCrashed",
            id="a-failure-is-not-masked-by-a-crash",
        ),
        pytest.param(
            [[(1, lambda p: p.said("", exit_code=127))]], "Error", names.RUNNER_INCOMPATIBLE, "127", id="no-python"
        ),
        pytest.param(
            [[(2, lambda p: p.said("hello"))]], "Error", names.INCOMPLETE_REPORT, "not a report", id="no-report"
        ),
        pytest.param(
            reports(tests="ab", complete=False), "Error", names.INCOMPLETE_REPORT, "has no end", id="report-without-end"
        ),
        pytest.param(
            reports(tests="abc", counts={"passed": 2}),
            "Error",
            names.INCOMPLETE_REPORT,
            "2 of 3 tests",
            id="too-few-tests",
        ),
        pytest.param(
            reports(tests="ab", trouble=Trouble(names.COLLECTION_ERROR, "cannot import x")),
            "Error",
            names.COLLECTION_ERROR,
            "cannot import x",
            id="the-runner-tells-of-trouble",
        ),
        pytest.param(
            [[(2, APod.running), (9, lambda p: p.failed("DeadlineExceeded"))]],
            "Error",
            names.DEADLINE_EXCEEDED,
            "exceeded its deadline",
            id="pod-deadline",
        ),
        pytest.param(
            [[(2, lambda p: replace(p.failed("Init:Error"), prepare=p.said("", exit_code=3).runner))]],
            "Error",
            names.SOURCE_UNAVAILABLE,
            "prepare exited with code 3",
            id="init-container",
        ),
    ],
)
def test_one_shard(script: Script, verdict: str, reason: str, says: str) -> None:
    world = one(script)
    assert outcome(world) == (verdict, reason)
    assert says in world.status.message
    assert truth(world, names.FINISHED) == ("True", names.FINISHED)
    assert truth(world, names.SUCCEEDED) == ("True" if verdict == "Passed" else "False", reason)
    assert world.created[jobs.child_name(world.run, "one")] == 1


def test_flaky_fails_where_the_suite_says_so() -> None:
    world = one(reports(tests="ab", flaky="b"), a_spec(a_step(), onFlaky="Fail"))
    assert outcome(world) == (Verdict.FAILED, names.FLAKY_TESTS)
    assert [(f.test, f.outcome) for f in world.status.failures] == [("b", "flaky")]


def test_the_status_tells_the_story() -> None:
    world = one(reports(tests="ab", failed="b"), seed_spec := a_spec(a_step(), quarantine=[]))
    assert seed_spec["steps"]
    world.step()
    assert truth(world, names.ACCEPTED) == ("True", names.ACCEPTED)
    assert conditions.get(world.status.conditions, names.ACCEPTED).message == "1 step, 1 shard"  # type: ignore[union-attr]
    assert truth(world, names.PLANNED) == ("True", names.PLANNED)
    assert truth(world, names.SUCCEEDED) == ("Unknown", "Running")
    assert truth(world, names.EVIDENCE_STORED) == ("False", "NoLedger")
    assert world.status.steps[0].job is None, "a Job is told of only once it was seen"
    assert truth(world, names.STARTED) == ("False", names.WAITING_FOR_PODS)
    world.wait(3)
    assert truth(world, names.STARTED) == ("True", names.STARTED)
    assert world.status.steps[0].state is StepState.RUNNING
    assert world.status.progress.shards_done == 0
    status = world.finish()
    assert (status.counts.passed, status.counts.failed) == (1, 1)
    assert [(f.test, f.step, f.outcome, f.line) for f in status.failures] == [("b", "one", "failed", "failed here")]
    assert (status.progress.steps_done, status.progress.steps, status.progress.shards_done) == (1, 1, 1)
    assert len(status.evidence_digest) == 64
    assert status.duration == "5s"
    reasons = [event.reason for event in world.events]
    assert reasons == [names.PLANNED, "StepStarted", "Failed"]
    assert world.events[-1].warning


# --- the suite -----------------------------------------------------------------------------------------------------


def test_a_missing_suite_is_waited_for_and_may_appear() -> None:
    world = Cluster(a_run({"suiteRef": {"name": "nightly"}}))
    world.wait(10)
    assert truth(world, names.ACCEPTED) == ("False", names.SUITE_NOT_FOUND)
    assert world.status.verdict is None
    world.suite = a_suite()
    assert outcome(world) == (Verdict.PASSED, names.PASSED)
    assert truth(world, names.ACCEPTED) == ("True", names.ACCEPTED)
    assert world.status.suite == "nightly"


def test_a_suite_that_never_comes_ends_the_run_after_the_grace() -> None:
    world = Cluster(a_run({"suiteRef": {"name": "nightly"}}))
    assert outcome(world) == (Verdict.ERROR, names.SUITE_NOT_FOUND)
    assert world.now == at(30)
    assert world.status.suite == "nightly"


def test_an_edit_of_the_suite_does_not_reach_a_planned_run() -> None:
    world = Cluster(a_run({"suiteRef": {"name": "nightly"}}), suite=a_suite(a_spec(a_step("one"), a_step("two"))))
    world.step()
    world.suite = a_suite(a_spec(a_step("three")))
    assert outcome(world) == (Verdict.PASSED, names.PASSED)
    assert [step.name for step in world.status.steps] == ["one", "two"]


def test_the_plan_of_a_crashed_pass_wins_over_a_newer_suite() -> None:
    world = Cluster(a_run({"suiteRef": {"name": "nightly"}}), suite=a_suite(a_spec(a_step("one"))))
    world.step()
    world.run = a_run({"suiteRef": {"name": "nightly"}})  # killed before the status was written; the plan is read back
    world.suite = a_suite(a_spec(a_step("two")))
    assert outcome(world) == (Verdict.PASSED, names.PASSED)
    assert [step.name for step in world.status.steps] == ["one"]
    assert world.created[jobs.child_name(world.run, "one")] == 1
    assert jobs.child_name(world.run, "two") not in world.created


@pytest.mark.parametrize(
    ("spec", "reason", "says"),
    [
        ({"suite": a_spec(a_step(kind="Locust", load={"users": 1}))}, names.NOT_SUPPORTED, "spec.steps[0].kind"),
        ({"suite": a_spec(a_step(chaos=[{"template": {}}]))}, names.INVALID_SPEC, "steps[0].chaos[0].template"),
        ({"suite": a_spec(a_step("a"), a_step("b", gates=["p95"]))}, names.NOT_SUPPORTED, "spec.steps[1].gates"),
        ({"suite": a_spec(a_step(), impact="Select")}, names.NOT_SUPPORTED, "spec.impact"),
        ({"suite": a_spec(a_step("a"), a_step("b", after=["a"])), "steps": ["b"]}, names.INVALID_SPEC, "waits for a"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_before_anything_happens(
    spec: dict[str, Any], reason: str, says: str
) -> None:
    world = Cluster(a_run(spec))
    assert outcome(world) == (Verdict.ERROR, reason)
    assert truth(world, names.ACCEPTED) == ("False", reason)
    assert says in world.status.message
    assert not world.created


def test_a_run_of_a_suite_that_lacks_its_step_is_refused() -> None:
    world = Cluster(a_run({"suiteRef": {"name": "nightly"}, "steps": ["two"]}), suite=a_suite())
    assert outcome(world) == (Verdict.ERROR, names.INVALID_SPEC)
    assert "no step two" in world.status.message


def test_an_unknown_field_is_refused() -> None:
    applied = '{"spec": {"suite": {"target": {"name": "shop"}, "shard": 4}}}'
    world = Cluster(a_run(annotations={names.ANNOTATION_LAST_APPLIED: applied}))
    world.raw_spec = {"suite": {"target": {"name": "shop"}}}
    assert outcome(world) == (Verdict.ERROR, names.UNKNOWN_FIELD)
    assert "spec.suite.shard" in world.status.message
    assert not world.created


# --- abort and suspend ---------------------------------------------------------------------------------------------


def test_abort_before_the_plan_starts_nothing() -> None:
    world = Cluster(a_run({"suite": a_spec(), "abort": True}))
    assert outcome(world) == (Verdict.ERROR, names.ABORTED)
    assert not world.created


def test_abort_in_the_middle_ends_the_run_and_its_jobs() -> None:
    world = steps(a_step("one"), a_step("two", after=["one"]))
    world.wait(3)
    world.edit(abort=True)
    assert outcome(world) == (Verdict.ERROR, names.ABORTED)
    assert world.deleted == [jobs.child_name(world.run, "one")]
    assert not world.jobs
    assert world.created[jobs.child_name(world.run, "two")] == 0


def test_abort_after_a_failed_step_is_failed() -> None:
    world = steps(a_step("one"), a_step("two"))
    world.scripts["one", 0] = reports(tests="ab", failed="b")
    world.scripts["two", 0] = passes("c", after=100)
    world.wait(10)
    world.edit(abort=True)
    assert outcome(world) == (Verdict.FAILED, names.TESTS_FAILED)
    assert "also Aborted" in world.status.message


def test_abort_keeps_the_failures_of_shards_that_have_reported() -> None:
    world = steps(a_step("one", shards=2))
    world.scripts["one", 0] = reports(tests="ab", of="abc", failed="b")
    world.scripts["one", 1] = passes("c", of="abc", after=100)
    world.wait(10)
    world.edit(abort=True)
    assert outcome(world) == (Verdict.FAILED, names.TESTS_FAILED)
    assert [f.test for f in world.status.failures] == ["b"]
    assert world.status.evidence_digest


def test_abort_counts_what_a_job_reported_that_the_status_does_not_know_yet() -> None:
    world = one(reports(tests="ab", failed="b", after=1))
    world.step()
    world.live()
    world.now = at(10)
    world.live()
    assert world.status.steps[0].job is None
    world.edit(abort=True)
    assert outcome(world) == (Verdict.FAILED, names.TESTS_FAILED)


def test_abort_after_flaky_tests_that_must_not_be_is_failed() -> None:
    world = steps(a_step("one"), a_step("two"), onFlaky="Fail")
    world.scripts["one", 0] = reports(tests="ab", flaky="b")
    world.scripts["two", 0] = passes("c", after=100)
    world.wait(10)
    world.edit(abort=True)
    assert outcome(world) == (Verdict.FAILED, names.FLAKY_TESTS)


def test_suspend_lets_run_what_runs_and_starts_nothing_new() -> None:
    world = steps(a_step("one"), a_step("two", after=["one"]))
    world.wait(3)
    world.edit(suspend=True)
    world.wait(600)
    assert [step.state for step in world.status.steps] == [StepState.FINISHED, StepState.WAITING]
    assert world.status.steps[1].reason == names.SUSPENDED
    world.edit(suspend=False)
    assert outcome(world) == (Verdict.PASSED, names.PASSED)


# --- what vanishes -------------------------------------------------------------------------------------------------


def test_a_vanished_plan_ends_the_run() -> None:
    world = one(passes("a", after=100))
    world.wait(5)
    world.plan = world.plan_document = None
    assert outcome(world) == (Verdict.ERROR, names.PLAN_VANISHED)
    assert world.deleted == [jobs.child_name(world.run, "one")]


def test_a_vanished_plan_masks_no_failure() -> None:
    world = steps(a_step("one"), a_step("two"))
    world.scripts["one", 0] = reports(tests="ab", failed="b")
    world.scripts["two", 0] = passes("c", after=100)
    world.wait(10)
    world.plan = world.plan_document = None
    assert outcome(world) == (Verdict.FAILED, names.TESTS_FAILED)


def test_a_vanished_job_is_an_error_and_is_not_made_again() -> None:
    world = one(passes("a", after=100))
    world.wait(5)
    world.remove_job(world.job().name)
    assert outcome(world) == (Verdict.ERROR, names.JOB_VANISHED)
    assert list(world.created.values()) == [1, 1], "one plan, one Job"


def test_a_job_that_only_the_cache_lost_is_waited_for() -> None:
    world = one(passes("a"))
    world.wait(3)
    hidden = world.jobs
    seen = replace(world.observe(), jobs=(), present=frozenset(hidden))
    from proctor.core.lifecycle import decide

    decision = decide(seen, "image")
    assert decision.status.verdict is None
    assert not decision.actions
    assert decision.look_again is not None


def test_a_refused_job_ends_its_step() -> None:
    world = steps(a_step("one"), a_step("two"))
    world.refuse[jobs.child_name(world.run, "one")] = Refusal("spec.template.spec.volumes: unknown", quota=False)
    assert outcome(world) == (Verdict.ERROR, names.JOB_REFUSED)
    assert [step.verdict for step in world.status.steps] == [Verdict.ERROR, Verdict.PASSED]


def test_a_quota_that_passes_in_time_delays_only() -> None:
    world = one(startTimeout="60s")
    name = jobs.child_name(world.run, "one")
    world.refuse[name] = QUOTA
    world.wait(40)
    assert truth(world, names.STARTED) == ("False", names.QUOTA_EXCEEDED)
    del world.refuse[name]
    assert outcome(world) == (Verdict.PASSED, names.PASSED)


def test_a_quota_that_stays_ends_the_step_at_its_start_timeout() -> None:
    world = one(startTimeout="60s")
    world.refuse[jobs.child_name(world.run, "one")] = QUOTA
    assert outcome(world) == (Verdict.ERROR, names.QUOTA_EXCEEDED)
    assert at(60) <= world.now <= at(90)


def test_a_late_step_has_its_own_start_timeout_for_quota() -> None:
    world = steps(a_step("one"), a_step("two", after=["one"], startTimeout="60s"))
    world.scripts["one", 0] = passes("a", after=600)
    name = jobs.child_name(world.run, "two")
    world.refuse[name] = replace(QUOTA, since=at(600))
    world.wait(620)
    assert world.status.verdict is None
    del world.refuse[name]
    assert outcome(world) == (Verdict.PASSED, names.PASSED)


def test_a_pod_quota_shows_while_the_step_waits_and_may_pass() -> None:
    world = one(startTimeout="60s")
    world.pod_refusal = QUOTA
    world.wait(30)
    assert truth(world, names.STARTED) == ("False", names.QUOTA_EXCEEDED)
    world.pod_refusal = None
    assert outcome(world) == (Verdict.PASSED, names.PASSED)


@pytest.mark.parametrize("quota", [True, False])
def test_pods_that_are_never_taken_end_the_step(quota: bool) -> None:
    world = one(startTimeout="60s")
    world.pod_refusal = Refusal("no", quota=quota)
    assert outcome(world) == (Verdict.ERROR, names.QUOTA_EXCEEDED if quota else names.JOB_REFUSED)
    assert world.now == at(60)
    assert not world.jobs, "the Job is removed once the verdict is written"


# --- starting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (APod.pulling, names.IMAGE_PULL_ERROR),
        (APod.unschedulable, names.UNSCHEDULABLE),
        (lambda pod: pod.pulling("CreateContainerConfigError", "no secret"), names.POD_CONFIG_ERROR),
        (lambda pod: pod.pod, names.START_TIMEOUT),
    ],
)
def test_start_trouble_waits_until_the_start_timeout(trouble: Callable[[APod], Any], reason: str) -> None:
    heals = one([[(1, trouble), (100, APod.running), (110, lambda p: p.passed("a"))]], startTimeout="2m")
    heals.wait(90)
    shown = names.WAITING_FOR_PODS if reason == names.START_TIMEOUT else reason
    assert truth(heals, names.STARTED) == ("False", shown)
    assert outcome(heals) == (Verdict.PASSED, names.PASSED)

    stays = one([[(1, trouble)]], startTimeout="2m")
    assert outcome(stays) == (Verdict.ERROR, reason)
    assert at(120) <= stays.now <= at(125)
    assert not stays.jobs


def test_fewer_places_than_shards_is_no_start_trouble() -> None:
    world = steps(a_step("one", shards=3, startTimeout="60s"), parallelism=1)
    for index, test in enumerate("abc"):
        world.scripts["one", index] = passes(test, of="abc", after=300)
    assert outcome(world) == (Verdict.PASSED, names.PASSED)
    assert world.status.counts.passed == 3


def test_a_shard_that_waits_for_its_place_does_not_make_the_operator_spin() -> None:
    world = steps(a_step("one", shards=2, startTimeout="60s"), parallelism=1)
    for index, test in enumerate("ab"):
        world.scripts["one", index] = passes(test, of="ab", after=300)
    world.wait(200)
    assert world.look_again is not None
    assert world.look_again > world.now


def test_a_late_shard_has_its_own_start_timeout() -> None:
    world = steps(a_step("one", shards=4, startTimeout="60s"), parallelism=2)
    world.scripts["one", 0] = passes("a", of="abcd", after=100)
    world.scripts["one", 1] = passes("b", of="abcd", after=400)
    world.scripts["one", 2] = [[(1, APod.pulling)]]
    assert outcome(world) == (Verdict.ERROR, names.IMAGE_PULL_ERROR)
    assert at(155) <= world.now <= at(170)


def test_pods_that_hang_behind_a_full_house_end_the_step() -> None:
    world = steps(a_step("one", shards=4, startTimeout="60s"), parallelism=2)
    world.scripts["one", 0] = passes("a", of="abcd", after=50)
    world.scripts["one", 1] = passes("b", of="abcd", after=50)
    world.scripts["one", 2] = world.scripts["one", 3] = [[]]
    assert outcome(world) == (Verdict.ERROR, names.START_TIMEOUT)
    assert world.now <= at(125)


# --- disruptions ---------------------------------------------------------------------------------------------------


def losses(count: int, last: Script) -> Script:
    return [*[[(2, APod.running), (10, APod.lost)]] * count, *last]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_up_to_three_disruptions_of_a_shard_are_replaced_unmarked(count: int) -> None:
    world = one(losses(count, passes("a", "b")))
    assert outcome(world) == (Verdict.PASSED, names.PASSED)
    assert len(world.pods) == count + 1


def test_the_fourth_disruption_ends_the_step() -> None:
    world = one(losses(4, passes("a")))
    assert outcome(world) == (Verdict.ERROR, names.EVICTED)


def test_a_shard_that_is_lost_again_and_again_does_not_keep_the_others_waiting() -> None:
    world = steps(a_step("one", shards=2), parallelism=1)
    world.scripts["one", 0] = [[(2, APod.running), (10, APod.lost)]]
    assert outcome(world) == (Verdict.ERROR, names.EVICTED)
    assert world.now <= at(60)


def test_a_disruption_after_the_start_timeout_is_replaced_too() -> None:
    world = one(
        [[(2, APod.running), (900, APod.lost)], [(20, APod.running), (30, lambda pod: pod.passed("a"))]],
        startTimeout="60s",
    )
    assert outcome(world) == (Verdict.PASSED, names.PASSED)


@pytest.mark.parametrize("ended", [True, False])
def test_a_lost_node_is_given_the_start_timeout_to_be_replaced(ended: bool) -> None:
    def gone(pod: APod) -> Any:
        lost = replace(pod.lost("DeletionByTaintManager"), deleting=True)
        return lost if ended else replace(lost, phase="Running")

    world = one([[(2, APod.running), (900, gone)], []], startTimeout="60s")
    assert outcome(world) == (Verdict.ERROR, names.START_TIMEOUT if ended else names.NODE_LOST)
    assert at(960) <= world.now <= at(965)


def test_a_test_that_failed_in_a_lost_pod_and_then_passed_is_flaky() -> None:
    first = [(2, APod.running), (5, lambda p: p.lost(summary=p.summary("ab", failed="b", complete=False)))]
    world = one([first, *passes("a", "b")])
    assert outcome(world) == (Verdict.PASSED, names.PASSED_WITH_FLAKES)
    assert [(f.test, f.outcome) for f in world.status.failures] == [("b", "flaky")]


def test_invariant_8_what_a_lost_pod_saw_outlives_the_pod_and_the_operators_memory() -> None:
    first = [(2, APod.running), (5, lambda p: p.lost(summary=p.summary("ab", failed="b", complete=False)))]
    world = one([first, *passes("a", "b", after=60)])
    world.until(lambda w: bool(w.status.steps and w.status.steps[0].lost))
    gone = [name for name, pod in world.pods.items() if pod.disrupted]
    assert gone
    for name in gone:
        del world.pods[name]
    assert outcome(world) == (Verdict.PASSED, names.PASSED_WITH_FLAKES)
    assert [(f.test, f.outcome) for f in world.status.failures] == [("b", "flaky")]
    assert not world.status.steps[0].lost, "the judged step needs them no more"


def test_a_test_that_was_flaky_in_a_lost_pod_stays_flaky() -> None:
    first = [(2, APod.running), (5, lambda p: p.lost(summary=p.summary("ab", flaky="b", complete=False)))]
    world = one([first, *passes("a", "b")])
    assert outcome(world) == (Verdict.PASSED, names.PASSED_WITH_FLAKES)
    assert world.status.counts.model_dump() == {
        "passed": 1,
        "flaky": 1,
        "failed": 0,
        "error": 0,
        "skipped": 0,
        "quarantined": 0,
    }


def test_a_failure_that_the_successor_never_reached_stays_a_failure() -> None:
    first = [(2, APod.running), (5, lambda p: p.lost(summary=p.summary("ab", failed="b", complete=False)))]
    world = one([first, *died(1, counts={}, tests="")])
    assert outcome(world) == (Verdict.FAILED, names.TESTS_FAILED)


def test_a_pod_that_outlives_its_deadline_is_given_up() -> None:
    world = one([[(2, APod.running)]], timeout="10m", startTimeout="60s")
    assert outcome(world) == (Verdict.ERROR, names.DEADLINE_EXCEEDED)
    assert world.now <= at(60 + 600 + 60 + 300)


def test_the_deadline_of_a_job_is_told() -> None:
    world = one([[(2, APod.running)]])
    world.wait(10)
    job = world.job()
    world.jobs[job.name] = replace(job, failed="DeadlineExceeded", message="was active too long", finished_at=at(10))
    assert outcome(world) == (Verdict.ERROR, names.DEADLINE_EXCEEDED)
    assert "was active too long" in world.status.message


@pytest.mark.parametrize("finished_at", [at(10), None])
def test_a_job_that_ended_without_its_pods_has_lost_its_report(finished_at: Any) -> None:
    world = one([[(2, APod.running)]])
    world.wait(10)
    job = world.job()
    world.jobs[job.name] = replace(job, complete=True, finished_at=finished_at)
    world.pods.clear()
    assert outcome(world) == (Verdict.ERROR, names.INCOMPLETE_REPORT)
    assert "shard 0" in world.status.message
    assert world.now <= at(20)


# --- shards --------------------------------------------------------------------------------------------------------


def test_two_shards_are_merged() -> None:
    world = steps(a_step("one", shards=2))
    world.scripts["one", 0] = passes("a", "b", of="abc")
    world.scripts["one", 1] = passes("c", of="abc", after=30)
    assert outcome(world) == (Verdict.PASSED, names.PASSED)
    assert [shard.counts.passed for shard in world.status.steps[0].shards] == [2, 1]


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        pytest.param(("a", "ab"), ("b", "abc"), "2, 3 by count", id="different-collections"),
        pytest.param(("a", "abc"), ("b", "abc"), "do not add up", id="a-test-in-no-part"),
        pytest.param(("ab", "abc"), ("bc", "abc"), "do not add up", id="a-test-in-two-parts"),
    ],
)
def test_shards_that_do_not_share_one_collection(first: tuple[str, str], second: tuple[str, str], says: str) -> None:
    world = steps(a_step("one", shards=2))
    world.scripts["one", 0] = passes(*first[0], of=first[1])
    world.scripts["one", 1] = passes(*second[0], of=second[1])
    assert outcome(world) == (Verdict.ERROR, names.COLLECTION_DIFFERS)
    assert says in world.status.message


def test_a_lost_shard_is_not_made_up_for_by_the_others() -> None:
    world = steps(a_step("one", shards=2))
    world.scripts["one", 0] = passes("a", of="ab")
    world.scripts["one", 1] = [[(2, APod.running), (5, lambda pod: pod.said(""))]]
    assert outcome(world) == (Verdict.ERROR, names.INCOMPLETE_REPORT)


# --- order ---------------------------------------------------------------------------------------------------------


def test_after_waits_for_a_pass_and_skips_all_that_follow_a_failure() -> None:
    world = steps(
        a_step("d", after=["c"]), a_step("a"), a_step("b", after=["a"]), a_step("c", after=["b"]), a_step("x")
    )
    world.scripts["a", 0] = reports(tests="ab", failed="b")
    world.wait(3)
    assert {step.name: step.reason for step in world.status.steps}["b"] == names.WAITING_FOR_STEP
    assert outcome(world) == (Verdict.FAILED, names.TESTS_FAILED)
    assert {step.name: step.state.value for step in world.status.steps} == {
        "a": "Finished",
        "b": "Skipped",
        "c": "Skipped",
        "d": "Skipped",
        "x": "Finished",
    }
    assert set(world.created) == {"plan", jobs.child_name(world.run, "a"), jobs.child_name(world.run, "x")}


def test_after_runs_in_order_whatever_the_order_of_the_list() -> None:
    world = steps(a_step("c", after=["b"]), a_step("b", after=["a"]), a_step("a"))
    assert outcome(world) == (Verdict.PASSED, names.PASSED)
    started = {step.name: step.started_at for step in world.status.steps}
    assert sorted(started, key=lambda name: started[name] or at(0)) == ["a", "b", "c"]


def test_an_inconclusive_step_skips_too_and_the_run_cannot_pass() -> None:
    world = steps(a_step("a"), a_step("b", after=["a"]))
    world.scripts["a", 0] = reports()
    assert outcome(world) == (Verdict.INCONCLUSIVE, names.NO_TESTS_EXECUTED)


def test_an_exclusive_step_runs_alone() -> None:
    world = steps(a_step("a"), a_step("b", exclusive=True), a_step("c"))
    while world.status.verdict is None:
        world.settle()
        running = [job.step for job in world.jobs.values() if job.live]
        assert running != [] or world.status.verdict is not None
        assert "b" not in running or running == ["b"]
        world.wait(1)
    assert world.status.verdict is Verdict.PASSED


def test_another_runs_exclusive_step_is_waited_for() -> None:
    world = one()
    target = jobs.target_key(world.run, world.run.spec.suite)  # type: ignore[arg-type]
    world.held = (Claim("other", "load", target, True, 1, at(-5)),)
    world.wait(100)
    assert truth(world, names.STARTED) == ("False", names.WAITING_FOR_TARGET)
    assert world.status.steps[0].reason == names.WAITING_FOR_TARGET
    world.held = ()
    assert outcome(world) == (Verdict.PASSED, names.PASSED)


def test_the_budget_is_waited_for() -> None:
    world = steps(a_step("one", shards=4), parallelism=4)
    world.budget = 5
    for index, test in enumerate("abcd"):
        world.scripts["one", index] = passes(test, of="abcd")
    world.held = (Claim("other", "x", "elsewhere", False, 2, at(-5)),)
    world.wait(100)
    assert truth(world, names.STARTED) == ("False", names.WAITING_FOR_BUDGET)
    assert "needs 4 pods, 2 of 5" in world.status.steps[0].message
    world.held = ()
    assert outcome(world) == (Verdict.PASSED, names.PASSED)


# --- target --------------------------------------------------------------------------------------------------------

SELECTED = {"target": {"name": "shop", "selector": {"matchLabels": {"app": "shop"}}}, "steps": [a_step()]}


@pytest.mark.parametrize(
    ("after", "names_it"),
    [
        ((a_workload(image="sha256:b"),), "Deployment/gateway"),
        ((a_workload(template="t2"),), "Deployment/gateway"),
        ((a_workload(), a_workload("agents")), "Deployment/agents"),
        ((), "Deployment/gateway"),
    ],
    ids=["image", "template", "added", "removed"],
)
def test_a_target_that_changed_is_inconclusive(after: Any, names_it: str) -> None:
    world = one(spec=SELECTED)
    world.target = (a_workload(),)
    world.wait(3)
    world.target = after
    assert outcome(world) == (Verdict.INCONCLUSIVE, names.TARGET_CHANGED)
    assert names_it in world.status.message


def test_a_target_that_stayed_is_recorded() -> None:
    world = one(spec=SELECTED)
    world.target = (a_workload(),)
    assert outcome(world) == (Verdict.PASSED, names.PASSED)
    assert [(t.name, t.images, t.images_at_end) for t in world.status.target] == [
        ("gateway", ["sha256:a"], ["sha256:a"])
    ]


def test_a_failure_is_not_masked_by_a_changed_target() -> None:
    world = one(reports(tests="ab", failed="b"), SELECTED)
    world.target = (a_workload(),)
    world.wait(3)
    world.target = ()
    assert outcome(world) == (Verdict.FAILED, names.TESTS_FAILED)


def test_no_target_no_run() -> None:
    world = one(spec=SELECTED)
    assert outcome(world) == (Verdict.ERROR, names.TARGET_NOT_FOUND)
    assert not world.created


# --- git -----------------------------------------------------------------------------------------------------------

GIT = {"git": {"url": "https://git.example/shop.git", "ref": "main"}}


def resolving(*moments: Any) -> Cluster:
    world = one(source=GIT)
    world.scripts["one.git", 0] = [list(moments)]
    return world


def said(text: str, exit_code: int = 0) -> Callable[[APod], Any]:
    return lambda pod: pod.said(text, exit_code=exit_code)


def test_a_git_ref_is_resolved_once_and_pinned() -> None:
    world = resolving((5, said(f'{{"commit": "{COMMIT}"}}')))
    world.wait(3)
    assert world.status.steps[0].reason == names.RESOLVING_SOURCE
    assert outcome(world) == (Verdict.PASSED, names.PASSED)
    assert world.status.resolved is not None
    assert [(pin.step, pin.commit) for pin in world.status.resolved.commits] == [("one", COMMIT)]
    pod = world.manifests[jobs.child_name(world.run, "one")]["spec"]["template"]["spec"]
    for container in (*pod["initContainers"], *pod["containers"]):
        assert {"name": names.ENV_COMMIT, "value": COMMIT} in container["env"]


@pytest.mark.parametrize(
    ("moments", "reason", "says"),
    [
        ([(5, said('{"error": "no such ref"}', 1))], names.SOURCE_UNAVAILABLE, "no such ref"),
        ([(5, said("", 1))], names.SOURCE_UNAVAILABLE, "named no commit"),
        ([(5, said('{"commit": "main"}'))], names.SOURCE_UNAVAILABLE, "named no commit"),
        ([(5, said("[]"))], names.SOURCE_UNAVAILABLE, "named no commit"),
        (
            [(1, APod.pulling), (300, lambda pod: replace(pod.pulling(), phase="Failed", reason="DeadlineExceeded"))],
            names.IMAGE_PULL_ERROR,
            "no such image",
        ),
        ([(9, lambda pod: pod.failed("DeadlineExceeded"))], names.SOURCE_UNAVAILABLE, "FailedIndexes"),
    ],
)
def test_a_git_ref_that_does_not_resolve(moments: Any, reason: str, says: str) -> None:
    world = resolving(*moments)
    assert outcome(world) == (Verdict.ERROR, reason)
    assert says in world.status.message
    assert world.created[jobs.child_name(world.run, "one")] == 0


def test_a_disrupted_resolution_is_repeated() -> None:
    world = one(source=GIT)
    lost = [(5, lambda pod: replace(pod.lost(), runner=pod.said('{"error": "terminated"}', exit_code=143).runner))]
    world.scripts["one.git", 0] = [lost, [(5, said(f'{{"commit": "{COMMIT}"}}'))]]
    assert outcome(world) == (Verdict.PASSED, names.PASSED)


def test_a_resolution_whose_pod_vanished_ends() -> None:
    world = resolving((300, said("")))
    world.wait(3)
    name = jobs.child_name(world.run, jobs.resolve_part("one"))
    world.jobs[name] = replace(world.jobs[name], complete=True, finished_at=world.now)
    world.pods.clear()
    assert outcome(world) == (Verdict.ERROR, names.SOURCE_UNAVAILABLE)


def test_a_deleted_run_is_left_alone() -> None:
    world = Cluster(a_run(deletion_timestamp=at(1)))
    decision = world.decide()
    assert (decision.actions, decision.events, decision.status) == ((), (), world.status)


def test_evidence_is_added_up_over_shards_and_not_over_pods_that_were_lost() -> None:
    def lost(pod: APod) -> Pod:
        return pod.lost(summary=pod.summary(["a"], of=["a", "b"], complete=False, evidence={"requests": 100}))

    world = Cluster(a_run({"suite": a_spec(a_step(shards=2, evidence={"requests": 12}))}))
    seen = {"requests": 5, "tenants": 1}
    again = reports(tests=["a"], of=["a", "b"], evidence=seen)[0]
    world.scripts["one", 0] = [[(2, APod.running), (4, lost)], again]
    world.scripts["one", 1] = reports(tests=["b"], of=["a", "b"], evidence={"requests": 6})
    status = world.finish()
    assert status.steps[0].evidence == {"requests": 11, "tenants": 1}
    assert (status.verdict, status.message) == (Verdict.INCONCLUSIVE, "evidence requests: 11 of at least 12")


def test_what_the_shards_count_in_many_names_is_bounded() -> None:
    world = Cluster(a_run({"suite": a_spec(a_step(shards=4, evidence={"wanted": 4}))}))
    tests = ["a", "b", "c", "d"]
    for index, test in enumerate(tests):
        many = {f"n{index}-{n}": 10**15 for n in range(15)} | {"wanted": 1}
        world.scripts["one", index] = reports(tests=[test], of=tests, evidence=many)
    status = world.finish()
    assert status.verdict is Verdict.PASSED
    assert len(status.steps[0].evidence) == 16
    assert status.steps[0].evidence["wanted"] == 4


def test_pods_of_other_runs_are_no_evidence() -> None:
    world = one([[(2, APod.running), (5, lambda pod: pod.reported(replace(pod.summary("a"), run="other")))]])
    assert outcome(world) == (Verdict.ERROR, names.INCOMPLETE_REPORT)
    assert a_pod().pod.run_uid == RUN_UID


def _forget(world: Cluster) -> None:
    world.plan = world.plan_document = None
    world.pods.clear()
    world.jobs.clear()


@pytest.mark.parametrize(
    "later",
    [
        lambda world: world.edit(abort=True),
        lambda world: world.scripts.update({("one", 0): reports(tests="ab", failed="b")}),
        _forget,
    ],
    ids=["abort", "other evidence", "nothing left"],
)
def test_a_verdict_is_final(later: Callable[[Cluster], None]) -> None:
    world = one(passes("a", "b"))
    before = world.finish()
    later(world)
    world.live()
    world.now = at(100_000)
    decision = world.decide()
    assert decision.status == before
    assert decision.events == ()
