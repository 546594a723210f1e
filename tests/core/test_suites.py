"""When runs of a suite are due, which old ones go, and what the suite's status says; schedules through the seasons."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from builders import a_run, a_spec, a_step, a_suite, a_workload, at
from proctor.api import names
from proctor.api.scalars import Verdict
from proctor.api.testrun import TestRun, TestRunStatus
from proctor.api.testsuite import TestSuite
from proctor.core import conditions, schedule, suites
from proctor.core.actions import AbortRun, CreateRun, Decision, DeleteRun
from proctor.core.errors import InvalidSpec
from proctor.core.observed import AskPodRefusal, AskTarget, ObservedSuite, Workload

WATCHED = {"name": "shop", "selector": {"matchLabels": {"app": "shop"}}}


def suite(**run: Any) -> TestSuite:
    return a_suite(a_spec(run=run))


class World:
    """A suite, its runs and the clock: carries out decisions and notes which runs were made."""

    def __init__(self, start: TestSuite, target: tuple[Workload, ...] = ()) -> None:
        self.suite, self.target, self.now = start, target, at(0)
        self.runs: dict[str, TestRun] = {}
        self.made: list[str] = []
        self.deleted: list[str] = []
        self.dry_run: tuple[str, ...] = ()
        self.raw_spec: dict[str, Any] = {}
        self.decision: Decision[Any] = Decision(start.status)

    def step(self, *, crash: bool = False) -> None:
        """Make one pass; with `crash` the status is not written."""
        seen = ObservedSuite(self.suite, self.now, tuple(self.runs.values()), self.raw_spec)
        for _ in range(3):
            decision = suites.decide(seen)
            assert decision == suites.decide(seen)
            if AskTarget() in decision.questions:
                seen = replace(seen, target=self.target)
            if AskPodRefusal(self.suite.metadata.name) in decision.questions:
                seen = replace(seen, dry_run=self.dry_run)
        assert not decision.questions
        self.decision = decision
        for action in decision.actions:
            match action:
                case CreateRun(manifest):
                    name, spec = manifest["metadata"]["name"], manifest["spec"]
                    if name in self.runs:
                        continue
                    annotations = manifest["metadata"]["annotations"]
                    self.runs[name] = a_run(
                        spec,
                        name=name,
                        uid=f"{name}-{len(self.made)}",
                        annotations=annotations,
                        creation_timestamp=self.now,
                    )
                    self.made.append(spec["trigger"])
                case DeleteRun(name, uid):
                    assert self.runs.pop(name).metadata.uid == uid
                    self.deleted.append(name)
                case AbortRun(name):
                    self.finish(name, Verdict.ERROR)
                case _:
                    raise AssertionError(action)
        if not crash:
            self.suite = self.suite.model_copy(update={"status": decision.status})

    def settle(self) -> None:
        for _ in range(3):
            self.step()

    def edit(self, spec: dict[str, Any]) -> None:
        generation = self.suite.metadata.generation + 1
        meta = self.suite.metadata.model_copy(update={"generation": generation})
        self.suite = a_suite(spec, status=self.suite.status).model_copy(update={"metadata": meta})

    def finish(self, name: str, verdict: Verdict = Verdict.PASSED) -> None:
        status = TestRunStatus(verdict=verdict, finished_at=self.now)
        self.runs[name] = self.runs[name].model_copy(update={"status": status})

    def finish_all(self) -> None:
        for name, run in self.runs.items():
            if run.status.verdict is None:
                self.finish(name)

    def wait(self, **time: float) -> None:
        self.now += timedelta(**time)
        self.settle()

    def accepted(self) -> tuple[str, str]:
        found = conditions.get(self.suite.status.conditions, names.ACCEPTED)
        assert found is not None
        return found.status, found.reason


# --- triggers ---


def test_a_new_suite_runs_once() -> None:
    world = World(suite())
    world.settle()
    world.finish_all()
    world.wait(days=3)
    assert world.made == ["SpecChange"]
    assert world.accepted() == ("True", names.ACCEPTED)
    assert world.suite.status.last_run is not None
    assert world.suite.status.last_run.verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("spec", "runs"),
    [
        (a_spec(suspend=True), 1),
        (a_spec(run={"keep": {"passed": 1}}), 1),
        (a_spec(run={"schedule": "0 3 * * *"}), 1),
        (a_spec(run={"concurrency": "Allow"}), 1),
        (a_spec(a_step(shards=2)), 2),
        (a_spec(mode="GOLDEN"), 2),
        (a_spec(parallelism=3), 2),
    ],
)
def test_only_an_edit_of_what_runs_makes_a_run(spec: dict[str, Any], runs: int) -> None:
    world = World(suite())
    world.settle()
    world.finish_all()
    world.now = at(36 * 3600)
    world.edit(spec)
    world.settle()
    world.edit({**spec, "suspend": not spec.get("suspend", False)})
    world.settle()
    world.edit({**spec, "suspend": False})
    world.settle()
    assert len(world.made) == runs


def test_what_an_operator_noted_is_still_known_to_a_newer_one() -> None:
    """A field that a later version adds with a default must not make every suite look edited, and run."""
    suite = a_suite(a_spec(a_step(shards=2, timeout="30m"), mode="GOLDEN"))
    noted = {"mode": "GOLDEN", "steps": [{"name": "one", "shards": 2}], "target": {"name": "shop"}}
    assert suites.spec_digest(suite) == hashlib.sha256(json.dumps(noted).encode()).hexdigest()


def test_an_edit_that_is_taken_back_makes_a_run_too() -> None:
    world = World(suite())
    for shards in (1, 2, 1, 2):
        world.edit(a_spec(a_step(shards=shards)))
        world.wait(minutes=1)
        world.finish_all()
    assert world.made == ["SpecChange"] * 4


@pytest.mark.parametrize("before", [0, 1])
def test_a_crash_before_the_status_is_written_makes_no_second_run(before: int) -> None:
    world = World(suite())
    for shards in range(1, before + 2):
        world.edit(a_spec(a_step(shards=shards)))
        world.settle() if shards <= before else None
        world.finish_all()
        world.now += timedelta(minutes=1)
    world.step(crash=True)
    world.finish_all()
    world.wait(minutes=1)
    assert len(world.made) == before + 1


def test_a_crash_before_the_status_is_written_does_not_abort_the_run_that_was_just_made() -> None:
    world = World(suite(concurrency="Replace"))
    world.step(crash=True)
    world.settle()
    assert [run.status.verdict for run in world.runs.values()] == [None]


def test_an_edit_while_a_run_is_live_waits_for_its_end() -> None:
    world = World(suite())
    world.settle()
    world.edit(a_spec(a_step(shards=2)))
    world.wait(hours=1)
    assert len(world.made) == 1
    world.finish_all()
    world.wait(seconds=1)
    assert len(world.made) == 2


def test_replace_aborts_the_live_run_and_allow_runs_beside_it() -> None:
    for concurrency, aborted in (("Replace", True), ("Allow", False)):
        world = World(suite(concurrency=concurrency))
        world.settle()
        first = next(iter(world.runs))
        world.edit(a_spec(a_step(shards=2), run={"concurrency": concurrency}))
        world.wait(seconds=1)
        assert len(world.made) == 2
        assert (world.runs[first].status.verdict is Verdict.ERROR) is aborted


def test_a_suspended_suite_starts_nothing() -> None:
    world = World(a_suite(a_spec(suspend=True, run={"schedule": "* * * * *"})))
    world.wait(hours=2)
    assert world.made == []
    assert world.accepted()[0] == "True"


def watched(**fields: Any) -> TestSuite:
    return a_suite(a_spec(target=WATCHED, run={"triggers": ["TargetChange"]}, **fields))


def test_a_rollout_makes_one_run_once_it_is_complete() -> None:
    world = World(watched(), (a_workload(),))
    world.wait(minutes=1)
    assert world.made == []
    world.target = (a_workload(image="sha256:b", settled=False),)
    world.wait(minutes=1)
    assert world.made == []
    world.target = (a_workload(image="sha256:b"),)
    world.wait(minutes=1)
    world.finish_all()
    world.wait(minutes=1)
    assert world.made == ["TargetChange"]
    assert world.decision.look_again is not None


def test_a_rollback_and_the_same_rollout_again_are_seen() -> None:
    world = World(watched(), (a_workload(),))
    world.settle()
    for image in ("b", "a", "b", "a"):
        world.target = (a_workload(image=f"sha256:{image}"),)
        world.wait(minutes=1)
        world.finish_all()
    assert world.made == ["TargetChange"] * 4


def test_a_target_that_comes_later_counts_as_a_rollout_and_one_that_goes_does_not() -> None:
    world = World(watched(), ())
    world.wait(minutes=1)
    world.target = (a_workload(),)
    world.wait(minutes=1)
    world.finish_all()
    world.target = ()
    world.wait(minutes=1)
    assert world.made == ["TargetChange"]


def test_the_fingerprint_ignores_the_order_and_sees_what_a_workload_is_made_of() -> None:
    one, two = a_workload("a"), a_workload("b")
    assert suites.fingerprint([one, two]) == suites.fingerprint([two, one])
    changed = [a_workload("a", image="sha256:z"), a_workload("a", template="z"), a_workload("z")]
    assert len({suites.fingerprint([found]) for found in (one, *changed)}) == 4


# --- schedule ---


def scheduled(expression: str, zone: str = "UTC", **run: Any) -> TestSuite:
    return a_suite(a_spec(run={"triggers": [], "schedule": expression, "timeZone": zone, **run}))


def test_a_schedule_makes_a_run_each_time_it_is_due() -> None:
    world = World(scheduled("*/10 * * * *"))
    world.settle()
    assert world.suite.status.next_schedule_time == at(600)
    assert world.decision.look_again == at(600)
    for _ in range(6 * 5):
        world.wait(minutes=2)
        world.finish_all()
    assert world.made == ["Schedule"] * 6


@pytest.mark.parametrize("hours", [1, 30, 24 * 30])
def test_missed_times_make_one_run(hours: int) -> None:
    world = World(scheduled("*/10 * * * *"))
    world.settle()
    world.wait(hours=hours)
    world.finish_all()
    world.wait(seconds=1)
    assert world.made == ["Schedule"]


def test_a_live_run_delays_the_scheduled_one() -> None:
    world = World(scheduled("*/10 * * * *"))
    world.settle()
    world.wait(minutes=10)
    world.wait(minutes=25)
    assert world.made == ["Schedule"]
    world.finish_all()
    world.wait(seconds=1)
    assert world.made == ["Schedule"] * 2


def test_a_schedule_that_is_taken_out_is_no_longer_announced() -> None:
    world = World(scheduled("*/10 * * * *"))
    world.settle()
    world.edit(a_spec(run={"triggers": []}))
    world.settle()
    assert world.suite.status.next_schedule_time is None


def in_zurich(*when: int) -> datetime:
    return datetime(*when, tzinfo=ZoneInfo("Europe/Zurich"))  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("expression", "start", "want"),
    [
        ("0 3 * * *", (2026, 3, 28, 12), ["03-29T01:00", "03-30T01:00", "03-31T01:00"]),
        ("30 2 * * *", (2026, 3, 27, 12), ["03-28T01:30", "03-29T01:00", "03-30T00:30"]),
        ("30 2 * * *", (2026, 10, 24, 0), ["10-24T00:30", "10-25T00:30", "10-26T01:30"]),
        ("0 * * * *", (2026, 3, 29, 0, 30), ["03-29T00:00", "03-29T01:00", "03-29T02:00"]),
    ],
    ids=["an hour that stays", "a time that spring skips", "a time that autumn repeats", "every hour in spring"],
)
def test_schedules_through_the_change_of_time_in_zurich(
    expression: str, start: tuple[int, ...], want: Sequence[str]
) -> None:
    now = in_zurich(*start)
    found = []
    for _ in want:
        now = schedule.next_after(expression, "Europe/Zurich", now)
        assert now.tzinfo is UTC
        found.append(now.strftime("%m-%dT%H:%M"))
    assert found == want


def test_a_repeated_hour_makes_one_run() -> None:
    world = World(scheduled("30 2 * * *", "Europe/Zurich"))
    world.now = in_zurich(2026, 10, 24, 23).astimezone(UTC)
    world.settle()
    for _ in range(8 * 2):
        world.wait(minutes=30)
        world.finish_all()
    assert world.made == ["Schedule"]


def test_latest_due_is_the_last_of_the_missed_and_none_when_nothing_was() -> None:
    due = schedule.latest_due("*/10 * * * *", "UTC", at(0), at(1500))
    assert due == at(1200)
    assert schedule.latest_due("*/10 * * * *", "UTC", at(0), at(600)) == at(600)
    assert schedule.latest_due("*/10 * * * *", "UTC", at(600), at(1199)) is None


@pytest.mark.parametrize(
    ("expression", "zone", "says"),
    [
        ("0 25 * * *", "UTC", "Bad hour"),
        ("a b c d e", "UTC", "spec.run.schedule"),
        ("0 0 30 2 *", "UTC", "spec.run.schedule"),
        ("* * * *", "UTC", "give 5 fields"),
        ("* * * * * *", "UTC", "give 5 fields"),
        ("0 3 * * *", "Europe/Zuerich", "spec.run.timeZone"),
        ("0 3 * * *", "/etc/passwd", "spec.run.timeZone"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_told(expression: str, zone: str, says: str) -> None:
    with pytest.raises(InvalidSpec, match=says) as refused:
        schedule.check(expression, zone)
    assert refused.value.reason == names.INVALID_SPEC


# --- keeping ---


def finished(name: str, age: int, verdict: Verdict = Verdict.PASSED, *, own: bool = True) -> TestRun:
    return a_run(
        {"suiteRef": {"name": "nightly"}},
        name=name,
        uid=name,
        annotations={names.ANNOTATION_TRIGGER_KEY: name} if own else {},
        status=TestRunStatus(verdict=verdict, finished_at=at(-age)),
    )


def deletes(policy: dict[str, Any], *runs: TestRun) -> set[str]:
    world = World(a_suite(a_spec(run={"triggers": [], **policy})))
    world.runs = {run.metadata.name: run for run in runs}
    world.step()
    return set(world.deleted)


def test_keep_counts_passed_and_all_others_apart_and_newest_first() -> None:
    runs = [finished(f"p{age}", age) for age in (3, 1, 2)] + [
        finished(f"f{age}", age, verdict)
        for age, verdict in ((1, Verdict.FAILED), (2, Verdict.ERROR), (3, Verdict.INCONCLUSIVE))
    ]
    assert deletes({"keep": {"passed": 2, "failed": 1}}, *runs) == {"p3", "f2", "f3"}
    assert deletes({"keep": {"passed": 0, "failed": 9}}, *runs) == {"p1", "p2", "p3"}


def test_ttl_is_by_age_and_has_the_suite_looked_at_again() -> None:
    runs = [finished("old", 100), finished("young", 10), finished("bad", 500, Verdict.FAILED)]
    assert deletes({"ttl": {"passed": "60s"}}, *runs) == {"old"}
    assert deletes({"ttl": {"passed": "60s", "failed": "500s"}}, *runs) == {"old", "bad"}
    world = World(a_suite(a_spec(run={"triggers": [], "ttl": {"passed": "60s"}})))
    world.runs = {"young": finished("young", 10)}
    world.step()
    assert world.decision.look_again == at(50)


def test_only_runs_that_the_operator_made_are_deleted() -> None:
    policy = {"keep": {"passed": 0, "failed": 0}, "ttl": {"passed": "1s"}}
    live = a_run({"suiteRef": {"name": "nightly"}}, name="live", annotations={names.ANNOTATION_TRIGGER_KEY: "x"})
    assert deletes(policy, finished("mine", 999, own=False), live, finished("own", 5)) == {"own"}


# --- refusing ---


def test_a_refused_suite_runs_nothing_and_says_so_once() -> None:
    world = World(a_suite(a_spec(run={"schedule": "0 25 * * *"})))
    world.step()
    assert [event.reason for event in world.decision.events] == [names.INVALID_SPEC]
    world.step()
    assert world.decision.events == ()
    assert world.accepted() == ("False", names.INVALID_SPEC)
    assert world.made == []
    world.edit(a_spec())
    world.settle()
    assert world.made == ["SpecChange"]


def test_jobs_that_would_be_refused_refuse_the_suite() -> None:
    world = World(suite())
    world.dry_run = ("spec.steps[0]: its Job would be refused: no",)
    world.settle()
    assert world.accepted() == ("False", names.JOB_REFUSED)
    assert world.made == []


def test_an_unknown_field_that_is_taken_out_lifts_the_refusal_though_the_spec_did_not_change() -> None:
    """The API server never stored the field, so taking it out is no new generation."""
    world = World(suite())
    world.raw_spec = world.suite.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    wrong = '{"spec": {"target": {"name": "shop"}, "paralelism": 3}}'
    meta = world.suite.metadata
    world.suite = world.suite.model_copy(
        update={"metadata": meta.model_copy(update={"annotations": {names.ANNOTATION_LAST_APPLIED: wrong}})}
    )
    world.settle()
    assert world.accepted() == ("False", names.UNKNOWN_FIELD)
    assert world.made == []
    world.suite = world.suite.model_copy(update={"metadata": meta})
    world.settle()
    assert world.accepted() == ("True", names.ACCEPTED)
    assert world.made == ["SpecChange"]


# --- manifests ---


@pytest.mark.parametrize("name", ["a", "s" * 253, f"{'x' * 43}.y", "a.b.c"])
def test_the_name_of_a_run_is_a_function_of_its_cause(name: str) -> None:
    made = a_suite(name=name)
    one: Any = suites.run_manifest(made, suites.Cause("SpecChange", "k"))
    assert one == suites.run_manifest(made, suites.Cause("SpecChange", "k"))
    others = [
        suites.run_manifest(made, suites.Cause("SpecChange", "l")),
        suites.run_manifest(made, suites.Cause("TargetChange", "k")),
        suites.run_manifest(a_suite(name=name, uid="other"), suites.Cause("SpecChange", "k")),
    ]
    assert len({one["metadata"]["name"], *(other["metadata"]["name"] for other in others)}) == 4
    assert len(one["metadata"]["name"]) <= 53
    assert len(one["metadata"]["labels"][names.LABEL_SUITE]) <= 63
    assert TestRun.model_validate({**one, "metadata": {**one["metadata"], "uid": "u"}}).spec.trigger == "SpecChange"
