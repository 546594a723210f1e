"""The invariants that decisions alone can show, each against many random worlds. Numbers are those of the design."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from builders import RUNNER_IMAGE, APod, a_pod, a_run, a_spec, a_step, a_workload, at, termination_message
from core.simulation import Cluster, Moment, Script, passes, reports
from proctor.api import names
from proctor.api.scalars import StepState, Verdict
from proctor.core import jobs, lifecycle
from proctor.core.observed import Ended, ObservedRun, Pod, Refusal
from proctor.core.results import Trouble, encode

TESTS = ("t.py::a", "t.py::b", "t.py::c", "t.py::d")
fast = settings(max_examples=20, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
"""Each example is a whole run of many passes: to shrink one would take minutes."""


def part(index: int, shards: int) -> tuple[str, ...]:
    return TESTS[index::shards]


def passing_world(shards: int = 1, **spec: Any) -> Cluster:
    world = Cluster(a_run({"suite": a_spec(a_step(shards=shards), **spec)}))
    for index in range(shards):
        world.scripts["one", index] = passes(*part(index, shards), of=TESTS)
    return world


# --- 1: no evidence, no pass ------------------------------------


def _cut_head(text: str, where: int) -> str:
    return text[1 + where % (len(text) - 1) :]


def _cut_tail(text: str, where: int) -> str:
    return text[: where % len(text)]


def _change(text: str, where: int) -> str:
    place = where % len(text)
    return text[:place] + ("x" if text[place] != "x" else "y") + text[place + 1 :]


def _drop(text: str, where: int) -> str:
    place = where % len(text)
    return text[:place] + text[place + 1 :]


@fast
@given(
    shards=st.integers(1, 3),
    where=st.integers(0, 3000),
    damage=st.sampled_from([_cut_head, _cut_tail, _change, _drop]),
)
def test_invariant_1_no_evidence_no_pass_with_any_damage(
    shards: int, where: int, damage: Callable[[str, int], str]
) -> None:
    world = passing_world(shards)
    own = part(shards - 1, shards)

    def damaged(pod: APod) -> Pod:
        return pod.said(damage(encode(pod.summary(own, of=TESTS)), where))

    world.scripts["one", shards - 1] = [[(2, APod.running), (5, damaged)]]
    status = world.finish()
    assert (status.verdict, status.reason) == (Verdict.ERROR, names.INCOMPLETE_REPORT)


def _summary(**change: Any) -> Callable[[APod], Pod]:
    return lambda pod: pod.reported(replace(pod.summary(TESTS), **change))


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param(lambda pod: pod.said(""), id="no message"),
        pytest.param(lambda pod: replace(pod.running(), phase="Succeeded"), id="no container status"),
        pytest.param(_summary(run="another"), id="another run"),
        pytest.param(_summary(step="two"), id="another step"),
        pytest.param(_summary(index=1), id="another index"),
        pytest.param(_summary(pod="another"), id="another pod"),
        pytest.param(_summary(complete=False), id="not complete"),
        pytest.param(_summary(collection=None), id="no collection"),
        pytest.param(_summary(part=None), id="no part"),
        pytest.param(_summary(counts={}), id="nothing counted"),
        pytest.param(_summary(counts={"passed": 3}), id="one test missing"),
        pytest.param(_summary(counts={"skipped": 4}), id="all skipped"),
        pytest.param(_summary(counts={"quarantined": 4}), id="all quarantined"),
        pytest.param(_summary(trouble=Trouble(names.TARGET_UNREACHABLE, "no answer")), id="the runner had trouble"),
        pytest.param(lambda pod: pod.reported(pod.summary(TESTS[:3], of=TESTS)), id="a part is not the whole"),
        pytest.param(lambda pod: pod.reported(pod.summary()), id="zero tests"),
        pytest.param(lambda pod: pod.reported(pod.summary(TESTS), exit_code=1), id="the runner did not end well"),
        pytest.param(lambda pod: pod.reported(pod.summary(TESTS), reason="OOMKilled"), id="a child was killed"),
        pytest.param(
            lambda pod: replace(pod.passed(*TESTS), reason="DeadlineExceeded", phase="Failed"), id="pod deadline"
        ),
    ],
)
def test_invariant_1_no_evidence_no_pass(ending: Callable[[APod], Pod]) -> None:
    world = passing_world()
    world.scripts["one", 0] = [[(2, APod.running), (5, ending)]]
    assert world.finish().verdict in (Verdict.ERROR, Verdict.INCONCLUSIVE)
    sane = passing_world()
    assert sane.finish().verdict is Verdict.PASSED


@pytest.mark.parametrize("seen", [{}, {"requests": 9}, {"request": 10}], ids=str)
@pytest.mark.parametrize("shards", [1, 3])
def test_invariant_1_no_evidence_no_pass_below_the_minimum(shards: int, seen: dict[str, int]) -> None:
    """All tests pass in both worlds; only the one in which the shards together saw enough may pass."""
    for evidence, enough in ((seen, False), ({"requests": 10}, True)):
        world = Cluster(a_run({"suite": a_spec(a_step(shards=shards, evidence={"requests": 10}))}))
        for index in range(shards):
            own = evidence if index == shards - 1 else {"requests": 0}
            world.scripts["one", index] = reports(tests=part(index, shards), of=TESTS, evidence=own)
        status = world.finish()
        if enough:
            assert status.verdict is Verdict.PASSED
        else:
            assert (status.verdict, status.reason) == (Verdict.INCONCLUSIVE, names.INSUFFICIENT_EVIDENCE)
            assert f"requests: {seen.get('requests', 0)} of at least 10" in status.message


@pytest.mark.parametrize("shards", [2, 3])
def test_invariant_1_no_evidence_no_pass_without_every_shard(shards: int) -> None:
    world = passing_world(shards)
    world.scripts["one", 0] = [[(2, APod.running), (5, lambda pod: pod.failed("Evicted", "low on disk"))]]
    assert world.finish().verdict is Verdict.ERROR


def test_invariant_1_no_evidence_no_pass_when_the_target_changed() -> None:
    world = Cluster(
        a_run({"suite": {"target": {"name": "shop", "selector": {"matchLabels": {"a": "b"}}}, "steps": [a_step()]}})
    )
    world.target = (a_workload(),)
    world.wait(3)
    world.target = (a_workload(image="sha256:other"),)
    assert world.finish().verdict is Verdict.INCONCLUSIVE


# --- 2: one status, and it tells what was seen ------------------


def test_invariant_2_status_tells_of_a_job_only_once_it_was_seen() -> None:
    world = passing_world()
    decision = world.decide()
    assert [type(action).__name__ for action in decision.actions] == ["CreateJob", "CreatePlan"]
    assert decision.status.steps[0].job is None
    assert decision.status.steps[0].state is StepState.WAITING
    world.step()
    assert world.status.steps[0].job is None
    world.step()
    assert world.status.steps[0].job is not None
    assert world.status.steps[0].job.uid == world.job().uid


# --- random worlds ----------------------------------------------


def _lost_after(test: str, outcome: str) -> Callable[[APod], Pod]:
    return lambda pod: pod.lost(summary=pod.summary([test], of=TESTS, complete=False, **{outcome: [test]}))


def endings(own: Sequence[str]) -> dict[str, Callable[[APod], Pod]]:
    """Return how a pod may end, by name; `own` is its part."""
    first = list(own[:1])
    return {
        "passes": lambda pod: pod.passed(*own, of=TESTS),
        "fails": lambda pod: pod.reported(pod.summary(own, of=TESTS, failed=first)),
        "flaky": lambda pod: pod.reported(pod.summary(own, of=TESTS, flaky=first)),
        "breaks": lambda pod: pod.reported(pod.summary(own, of=TESTS, error=first)),
        "other tests": lambda pod: pod.passed("x.py::y"),
        "no report": lambda pod: pod.said(""),
        "dies": lambda pod: pod.reported(
            pod.summary(own, of=TESTS, complete=False, in_flight=own[0]), exit_code=137, reason="OOMKilled"
        ),
        "wrong image": lambda pod: pod.said("", exit_code=127),
        "deadline": lambda pod: pod.failed("DeadlineExceeded"),
        "rejected": lambda pod: pod.failed("OutOfcpu", "no room"),
        "prepare": lambda pod: replace(pod.failed(""), prepare=Ended(1, "Error", "no source")),
        "lost": APod.lost,
        "lost node": lambda pod: replace(pod.lost("DeletionByTaintManager"), phase="Running", deleting=True),
        "lost after a failure": _lost_after(own[0], "failed"),
        "hangs": APod.running,
        "never starts": lambda pod: pod.pod,
        "no image": APod.pulling,
        "no node": APod.unschedulable,
    }


@st.composite
def scripts(draw: st.DrawFn, index: int, shards: int) -> Script:
    script: list[Sequence[Moment]] = []
    for _ in range(draw(st.integers(1, 5))):
        menu = endings(part(index, shards))
        starts = draw(st.integers(1, 90))
        ending = menu[draw(st.sampled_from(sorted(menu)))]
        script.append([(starts, APod.running), (starts + draw(st.integers(0, 400)), ending)][draw(st.integers(0, 1)) :])
    return script


@st.composite
def worlds(draw: st.DrawFn) -> Cluster:
    steps: list[dict[str, Any]] = []
    known: list[str] = []
    for name in draw(st.sampled_from([["one"], ["one", "two"], ["one", "two", "three"]])):
        after = draw(st.lists(st.sampled_from(known), unique=True, max_size=2)) if known else []
        shards = draw(st.integers(1, 3))
        steps.append(
            a_step(name, shards=shards, after=after, exclusive=draw(st.booleans()), startTimeout="2m", timeout="5m")
        )
        known.append(name)
    world = Cluster(
        a_run(
            {
                "suite": a_spec(
                    *steps,
                    parallelism=draw(st.integers(1, 3)),
                    onFlaky=draw(st.sampled_from(["Pass", "Fail"])),
                )
            }
        )
    )
    world.budget = draw(st.integers(1, 4))
    for step in steps:
        for index in range(step["shards"]):
            world.scripts[step["name"], index] = draw(scripts(index, step["shards"]))
    return world


def _vanish_a_job(world: Cluster) -> None:
    if world.jobs:
        world.remove_job(next(iter(world.jobs)))


def _vanish_pods(world: Cluster) -> None:
    world.pods.clear()


def _vanish_plan(world: Cluster) -> None:
    world.plan = world.plan_document = None


def _refuse(quota: bool) -> Callable[[Cluster], None]:
    def refuse(world: Cluster) -> None:
        for step in ("one", "two", "three"):
            world.refuse[jobs.child_name(world.run, step)] = Refusal("no", quota=quota, since=world.now)

    return refuse


INTERVENTIONS: dict[str, Callable[[Cluster], None]] = {
    "nothing": lambda world: None,
    "abort": lambda world: world.edit(abort=True),
    "a Job vanishes": _vanish_a_job,
    "the pods vanish": _vanish_pods,
    "the plan vanishes": _vanish_plan,
    "Jobs are refused": _refuse(False),
    "a quota is full": _refuse(True),
}


@fast
@given(
    world=worlds(),
    intervention=st.sampled_from(sorted(INTERVENTIONS)),
    moment=st.integers(0, 500),
    crashes=st.lists(st.booleans(), max_size=12),
)
def test_invariant_11_every_run_ends_within_its_limits(
    world: Cluster, intervention: str, moment: int, crashes: list[bool]
) -> None:
    """Nothing hangs, no Job starts twice, a verdict stays, deciding twice is deciding once (see Cluster)."""
    world.crashes = crashes
    if moment:
        world.wait(moment)
    INTERVENTIONS[intervention](world)
    status = world.finish(passes=400)
    assert status.reason
    assert status.message
    assert status.finished_at is not None
    for name, times in world.created.items():
        assert times == 1 or name == "plan", f"{name} was started {times} times"
    assert not [job for job in world.jobs.values() if job.live], "no Job is left"
    # Each of three steps may lose four pods of each of three shards, one after the other, each to its deadline.
    assert world.now <= at(3 * 3 * 4 * (2 * 120 + 300 + 120 + 120) + 500)
    if status.verdict is Verdict.PASSED:
        assert all(step.verdict is Verdict.PASSED for step in status.steps)
        assert status.counts.failed == status.counts.error == 0
    if status.counts.failed:
        assert status.verdict is Verdict.FAILED


@fast
@given(world=worlds(), crashes=st.lists(st.booleans(), min_size=1, max_size=25))
def test_invariant_3_and_4_a_killed_operator_comes_to_the_same_verdict(world: Cluster, crashes: list[bool]) -> None:
    calm = replace(world, jobs={}, pods={}, created=type(world.created)(), refusals={}, history=[], events=[])
    world.crashes = crashes
    killed, unharmed = world.finish(), calm.finish()
    assert (killed.verdict, killed.reason, killed.message) == (unharmed.verdict, unharmed.reason, unharmed.message)
    assert killed.counts == unharmed.counts
    assert max(times for name, times in world.created.items() if name != "plan") == 1


@st.composite
def any_pod(draw: st.DrawFn) -> Pod:
    """Return a pod as no script would make it: any combination of what the API server might show."""
    index = draw(st.integers(-1, 3))
    base = a_pod(
        draw(st.sampled_from(["one", "two"])), index, n=draw(st.integers(0, 5)), created=draw(st.integers(-9, 900))
    )
    message = draw(
        st.one_of(
            st.text(max_size=40),
            st.sampled_from(['{"v":1}', '{"body":null}', "[]", "null", '{"commit": 1}']),
            st.just(termination_message(base.pod, "a")),
            st.just(termination_message(base.pod)),
        )
    )
    ended = st.builds(
        Ended, st.sampled_from([0, 1, 127, 137, 143]), st.sampled_from(["", "OOMKilled", "Error"]), st.just(message)
    )
    return replace(
        base.pod,
        role=draw(st.sampled_from([names.ROLE_STEP, names.ROLE_RESOLVE, ""])),
        phase=draw(st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown"])),
        reason=draw(st.sampled_from(["", "Evicted", "NodeLost", "DeadlineExceeded"])),
        waiting=draw(st.sampled_from([None, ("ErrImagePull", ""), ("Odd", "x")])),
        unschedulable=draw(st.sampled_from([None, "", "no node"])),
        disrupted=draw(st.sampled_from([None, "PreemptionByScheduler", "DeletionByPodGC"])),
        deleting=draw(st.booleans()),
        started=draw(st.booleans()),
        prepare=draw(st.none() | ended),
        runner=draw(st.none() | ended),
        ended_at=draw(st.none() | st.integers(0, 900).map(at)),
    )


@settings(max_examples=60, deadline=None)
@given(
    pods=st.lists(any_pod(), max_size=6),
    shards=st.integers(1, 3),
    job=st.sampled_from(
        [None, {}, {"complete": True}, {"failed": "DeadlineExceeded"}, {"failed": "BackoffLimitExceeded"}]
    ),
    git=st.booleans(),
    abort=st.booleans(),
    seconds=st.integers(0, 100_000),
)
def test_decide_takes_any_world(
    pods: list[Pod], shards: int, job: dict[str, Any] | None, git: bool, abort: bool, seconds: int
) -> None:
    """Whatever is shown, decide neither raises nor changes its mind, and the status stays one that can be stored."""
    source = {"git": {"url": "https://git.example/x", "ref": "main"}} if git else {}
    world = Cluster(a_run({"suite": a_spec(a_step(shards=shards, source=source), a_step("two"))}))
    world.settle()
    world.now = at(seconds)
    if abort:
        world.edit(abort=True)
    for name, known in list(world.jobs.items()):
        if job is None:
            world.remove_job(name)
        else:
            world.jobs[name] = replace(known, **job)
    world.pods = {f"{number}": pod for number, pod in enumerate(pods)}
    decision = world.decide()
    stored = type(decision.status).model_validate_json(decision.status.model_dump_json(by_alias=True))
    assert stored == decision.status
    assert all(len(condition.message) <= 1024 for condition in stored.conditions)
    assert len(stored.failures) <= 50


@fast
@given(world=worlds(), moment=st.integers(0, 600))
def test_time_alone_brings_every_world_to_a_verdict(world: Cluster, moment: int) -> None:
    """From any world, frozen at any moment: turning the clock to `look_again` ends it in a bounded number of passes."""
    world.wait(moment)
    seen = replace(world.observe(), gone=frozenset(), target=())
    frozen: ObservedRun = seen
    for _ in range(200):
        decision = lifecycle.decide(frozen, RUNNER_IMAGE)
        if decision.status.verdict is not None:
            return
        if decision.questions:
            frozen = replace(
                frozen,
                gone=frozen.gone | {question.name for question in decision.questions if hasattr(question, "name")},
                pod_refusals={question.job: None for question in decision.questions if hasattr(question, "job")},
            )
            continue
        assert decision.look_again is not None
        ended = {step.name for step in decision.status.steps if step.verdict is not None}
        frozen = replace(
            frozen,
            held=tuple(claim for claim in frozen.held if claim.step not in ended),
            now=max(decision.look_again, frozen.now + (at(1) - at(0))),
            run=frozen.run.model_copy(update={"status": decision.status}),
        )
        if any(type(action).__name__ == "CreateJob" for action in decision.actions):
            return  # this world moves on by itself; a frozen one has nothing to say about new Jobs
    raise AssertionError(f"still no verdict at {frozen.now}: {world.story}")


# --- 8: attempts ------------------------------------------------


@fast
@given(outcome=st.sampled_from(["failed", "flaky", "error"]), losses=st.integers(1, 3), shards=st.integers(1, 2))
def test_invariant_8_what_failed_in_a_lost_pod_is_never_plainly_passed(outcome: str, losses: int, shards: int) -> None:
    world = passing_world(shards)
    own = part(0, shards)
    lost: list[Moment] = [(2, APod.running), (5, _lost_after(own[0], outcome))]
    world.scripts["one", 0] = [*[lost] * losses, *passes(*own, of=TESTS)]
    status = world.finish()
    assert (status.verdict, status.reason) == (Verdict.PASSED, names.PASSED_WITH_FLAKES)
    assert (status.counts.passed, status.counts.flaky) == (len(TESTS) - 1, 1)


def test_invariant_8_the_test_in_flight_of_a_pod_that_died_by_itself_is_an_error() -> None:
    world = passing_world()
    world.scripts["one", 0] = [
        [
            (2, APod.running),
            (
                5,
                lambda pod: pod.reported(
                    pod.summary(TESTS, complete=False, counts={"passed": 1}, in_flight=TESTS[1]), exit_code=1
                ),
            ),
        ]
    ]
    status = world.finish()
    assert status.verdict is Verdict.ERROR
    assert (status.counts.passed, status.counts.error) == (1, 1)
    assert [(failure.test, failure.outcome) for failure in status.failures] == [(TESTS[1], "error")]


def test_invariant_8_a_consistent_failure_is_failed_and_never_flaky() -> None:
    world = passing_world()
    world.scripts["one", 0] = reports(tests=TESTS, failed=TESTS[:1])
    status = world.finish()
    assert (status.verdict, status.counts.failed, status.counts.flaky) == (Verdict.FAILED, 1, 0)


# --- 11: reasons ------------------------------------------------


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (APod.pulling, names.IMAGE_PULL_ERROR),
        (APod.unschedulable, names.UNSCHEDULABLE),
        (lambda pod: pod.reported(pod.summary(TESTS), exit_code=137, reason="OOMKilled"), names.OOM_KILLED),
        (lambda pod: replace(pod.lost("DeletionByTaintManager"), phase="Running"), names.NODE_LOST),
        (APod.running, names.DEADLINE_EXCEEDED),
    ],
)
def test_invariant_11_a_suite_that_cannot_run_ends_with_that_reason(how: Callable[[APod], Pod], reason: str) -> None:
    world = passing_world()
    world.scripts["one", 0] = [[(2, how)]]
    status = world.finish()
    assert (status.verdict, status.reason) == (Verdict.ERROR, reason)
    assert reason == names.DEADLINE_EXCEEDED or world.now <= at(310)


# --- 12: secrets ------------------------------------------------


def test_invariant_12_secrets_are_named_and_never_read() -> None:
    """Secrets reach a pod by reference; neither plan, nor status, nor Events hold more than their name."""
    world = Cluster(
        a_run(
            {
                "suite": {
                    "target": {"name": "shop", "secretRef": {"name": "shop-keys"}},
                    "steps": [
                        a_step(
                            source={"git": {"url": "https://x.example/r", "ref": "m", "secretRef": {"name": "git-key"}}}
                        )
                    ],
                }
            }
        )
    )
    world.settle()
    job = world.manifests[jobs.child_name(world.run, jobs.resolve_part("one"))]
    volumes = {volume["name"]: volume for volume in job["spec"]["template"]["spec"]["volumes"]}
    assert volumes["git"]["secret"]["secretName"] == "git-key"
    told = f"{world.status} {world.events}"
    assert "shop-keys" not in told
    assert "git-key" not in told
