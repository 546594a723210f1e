"""Which runs of a TestSuite are due, which are to be aborted, and which old ones may go.

One cause makes one run: the run's name is a function of the cause, so repeating a pass cannot repeat a run.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from proctor.api import names
from proctor.api.scalars import Concurrency, Trigger
from proctor.api.testrun import TestRun
from proctor.api.testsuite import LastRun, RunPolicy, TestSuite, TestSuiteStatus
from proctor.core import conditions, fields, retention, schedule
from proctor.core.actions import AbortRun, Action, CreateRun, Decision, Event, Manifest
from proctor.core.errors import InvalidSpec
from proctor.core.observed import AskPodRefusal, AskTarget, ObservedSuite, Question, Workload
from proctor.core.plan import check_supported

TARGET_PERIOD = timedelta(seconds=5)
"""How often the target is looked at for a rollout."""
NO_TARGET = "none"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SuiteDecision = Decision[TestSuiteStatus]


@dataclass(frozen=True)
class Cause:
    """Why a run is due: the trigger's word, and a key that is equal for equal causes.

    A cause may come again, as when an edit is taken back: `after` is the uid of the latest run of another cause.
    """

    trigger: str
    key: str
    after: str = ""


def decide(seen: ObservedSuite) -> SuiteDecision:
    """Return the next decision about a TestSuite."""
    suite, now = seen.suite, seen.now
    if suite.metadata.deletion_timestamp is not None:
        return Decision(suite.status)
    live = [run for run in seen.runs if run.status.verdict is None and run.metadata.deletion_timestamp is None]
    status = suite.status.model_copy(
        update={
            "observed_generation": suite.metadata.generation,
            "active": sorted(run.metadata.name for run in live),
            "last_run": _last(seen.runs) or suite.status.last_run,
        }
    )
    try:
        _check(seen)
    except InvalidSpec as error:
        return _refuse(seen, status, error.reason, error.message)
    accepted = conditions.get(status.conditions, names.ACCEPTED)
    fresh = (
        accepted is None
        or accepted.observed_generation != suite.metadata.generation
        # What _check found may be mended without a new generation: a dropped field was never stored.
        or (accepted.status == "False" and accepted.reason != names.JOB_REFUSED)
    )
    questions: set[Question] = set()
    if fresh and seen.dry_run is None:
        questions.add(AskPodRefusal(suite.metadata.name))
    watches = Trigger.TARGET_CHANGE in suite.spec.run.triggers and suite.spec.target.selector is not None
    if watches and seen.target is None:
        questions.add(AskTarget())
    if questions:
        return Decision(status, questions=frozenset(questions))
    if fresh:
        if seen.dry_run:
            return _refuse(seen, status, names.JOB_REFUSED, seen.dry_run[0])
        steps = suite.spec.steps
        understood = f"{len(steps)} steps, {sum(step.shards for step in steps)} shards"
        status = _accepted(seen, status, "True", names.ACCEPTED, understood)
    elif accepted is not None and accepted.status == "False":
        return Decision(status, actions=tuple(retention.expired(seen)), look_again=now + TARGET_PERIOD)
    return _run(seen, status, live, watches)


def _run(seen: ObservedSuite, status: TestSuiteStatus, live: list[TestRun], watches: bool) -> SuiteDecision:
    """Start what is due, and forget what is old."""
    suite, now = seen.suite, seen.now
    policy = suite.spec.run
    actions: list[Action] = list(retention.expired(seen))
    times = [now + TARGET_PERIOD] if watches else []
    due, status = _due(seen, status)
    if policy.schedule:
        upcoming = schedule.next_after(policy.schedule, policy.time_zone, now)
        times.append(upcoming)
        if _overdue(policy, status, now) is None:
            status = status.model_copy(update={"next_schedule_time": upcoming})
    else:
        status = status.model_copy(update={"next_schedule_time": None})
    if expiry := retention.next_expiry(seen):
        times.append(expiry)
    look_again = min(times, default=None)
    if due is None or suite.spec.suspend:
        return Decision(status, actions=tuple(actions), look_again=look_again)
    due, made = _place(due, seen.runs)
    if made is not None:
        # The run was made, but not noted: a crash, or a conflict, before the status was written.
        event = Event("RunStarted", f"TestRun {made.metadata.name} ({due.trigger})")
        return Decision(_handled(suite, status, due, seen), tuple(actions), (event,), look_again)
    if live and policy.concurrency is Concurrency.FORBID:
        return Decision(status, actions=tuple(actions), look_again=look_again)
    if policy.concurrency is Concurrency.REPLACE:
        actions += [AbortRun(run.metadata.name) for run in live if not run.spec.abort]
    manifest = run_manifest(suite, due)
    name = manifest["metadata"]["name"]
    actions.append(CreateRun(manifest))
    event = Event("RunStarted", f"TestRun {name} ({due.trigger})")
    return Decision(_handled(suite, status, due, seen), tuple(actions), (event,), look_again)


def _due(seen: ObservedSuite, status: TestSuiteStatus) -> tuple[Cause | None, TestSuiteStatus]:
    """Return the cause of a run that is due, and the status with what needs no run to be noted."""
    suite, now, policy = seen.suite, seen.now, seen.suite.spec.run
    digest = spec_digest(suite)
    if status.handled_digest != digest:
        if Trigger.SPEC_CHANGE in policy.triggers:
            return Cause(Trigger.SPEC_CHANGE.value, digest), status
        status = status.model_copy(update={"handled_digest": digest})
    if Trigger.TARGET_CHANGE in policy.triggers and seen.target is not None:
        now_is = fingerprint(seen.target)
        settled = all(workload.settled for workload in seen.target)
        if not status.target_fingerprint:
            if settled:
                status = status.model_copy(update={"target_fingerprint": now_is})
        elif settled and now_is not in (status.target_fingerprint, NO_TARGET):
            return Cause(Trigger.TARGET_CHANGE.value, now_is), status
    if at := _overdue(policy, status, now):
        return Cause("Schedule", at.isoformat()), status
    return None, status


def _overdue(policy: RunPolicy, status: TestSuiteStatus, now: datetime) -> datetime | None:
    """Return the latest scheduled time that has come since one was announced: a new schedule has missed nothing."""
    announced = status.next_schedule_time
    if not policy.schedule or announced is None or announced > now:
        return None
    return schedule.latest_due(policy.schedule, policy.time_zone, announced - timedelta(seconds=1), now)


def _place(due: Cause, runs: Sequence[TestRun]) -> tuple[Cause, TestRun | None]:
    """Return the cause with the run that it comes after, and the latest run if that is of this very cause."""
    own = sorted(
        (run for run in runs if names.ANNOTATION_TRIGGER_KEY in run.metadata.annotations),
        key=lambda run: (run.metadata.creation_timestamp or _EPOCH, run.metadata.name),
    )

    def of_this(run: TestRun) -> bool:
        return (run.spec.trigger, run.metadata.annotations[names.ANNOTATION_TRIGGER_KEY]) == (due.trigger, due.key)

    before = next((run.metadata.uid for run in reversed(own) if not of_this(run)), "")
    return replace(due, after=before), own[-1] if own and of_this(own[-1]) else None


def _handled(suite: TestSuite, status: TestSuiteStatus, due: Cause, seen: ObservedSuite) -> TestSuiteStatus:
    """Note that `due` has its run. A run sees the spec and the target of its moment, so those are handled too."""
    update: dict[str, object] = {"handled_digest": spec_digest(suite)}
    if seen.target is not None and all(workload.settled for workload in seen.target):
        update["target_fingerprint"] = fingerprint(seen.target)
    if due.trigger == "Schedule":
        policy = suite.spec.run
        assert policy.schedule, "only a schedule makes a run by schedule"
        update["last_schedule_time"] = datetime.fromisoformat(due.key)
        update["next_schedule_time"] = schedule.next_after(policy.schedule, policy.time_zone, seen.now)
    return status.model_copy(update=update)


def run_manifest(suite: TestSuite, due: Cause) -> Manifest:
    """Return the TestRun that one cause makes."""
    key = f"{suite.metadata.uid}/{due.trigger}/{due.key}/{due.after}"
    tail = hashlib.sha256(key.encode()).hexdigest()[:8]
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.TEST_RUN,
        "metadata": {
            "name": f"{suite.metadata.name[:44].rstrip('-.')}-{tail}",
            "namespace": suite.metadata.namespace,
            "labels": {names.LABEL_SUITE: names.label_value(suite.metadata.name)},
            "annotations": {names.ANNOTATION_TRIGGER_KEY: due.key},
            "ownerReferences": [suite.as_owner()],
        },
        "spec": {"suiteRef": {"name": suite.metadata.name}, "trigger": due.trigger},
    }


def spec_digest(suite: TestSuite) -> str:
    """Return a digest of what a run would do: everything but when runs start and how long they are kept."""
    # Without defaults, so that a field which a newer operator knows makes no suite look edited.
    value = suite.spec.model_dump(mode="json", by_alias=True, exclude={"run", "suspend"}, exclude_defaults=True)
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def fingerprint(target: Sequence[Workload]) -> str:
    """Return a digest of what the target is made of: workloads, images and templates, not their number of pods."""
    if not target:
        return NO_TARGET
    text = json.dumps(sorted([w.kind, w.name, w.template, sorted(w.images)] for w in target))
    return hashlib.sha256(text.encode()).hexdigest()


def _check(seen: ObservedSuite) -> None:
    spec = seen.suite.spec
    if lost := fields.dropped(seen.suite.metadata.annotations, seen.raw_spec):
        raise InvalidSpec(names.UNKNOWN_FIELD, f"unknown field {', '.join(lost)}")
    if spec.run.schedule:
        schedule.check(spec.run.schedule, spec.run.time_zone)
    check_supported(spec)


def _refuse(seen: ObservedSuite, status: TestSuiteStatus, reason: str, message: str) -> SuiteDecision:
    was = conditions.get(status.conditions, names.ACCEPTED)
    status = _accepted(seen, status, "False", reason, message)
    now = conditions.get(status.conditions, names.ACCEPTED)
    told = was is not None and now is not None and (was.status, was.message) == (now.status, now.message)
    event = () if told else (Event(reason, message[:1000], warning=True),)
    return Decision(status, tuple(retention.expired(seen)), event)


def _accepted(
    seen: ObservedSuite, status: TestSuiteStatus, truth: conditions.Truth, reason: str, message: str
) -> TestSuiteStatus:
    new = conditions.put(
        status.conditions,
        names.ACCEPTED,
        truth,
        reason,
        message,
        now=seen.now,
        generation=seen.suite.metadata.generation,
    )
    return status.model_copy(update={"conditions": new})


def _last(runs: Sequence[TestRun]) -> LastRun | None:
    done = [run for run in runs if run.status.verdict is not None and run.status.finished_at is not None]
    if not done:
        return None
    run = max(done, key=retention.ended_at)
    assert run.status.verdict is not None
    return LastRun(name=run.metadata.name, verdict=run.status.verdict, time=retention.ended_at(run))
