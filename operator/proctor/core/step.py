"""One step of a run: from its Job and pods to its status.

A finished step is never looked at again; what was judged stays judged.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from proctor.api import names
from proctor.api.scalars import OnFlaky, StepState, seconds
from proctor.api.step import Step
from proctor.api.testrun import Counts, JobReference, LostPod, ShardStatus, StepStatus
from proctor.api.testsuite import TestSuiteSpec
from proctor.core import shard as shards
from proctor.core import verdict
from proctor.core.jobs import GRACE, child_name
from proctor.core.observed import AskJob, AskPodRefusal, Ended, Job, ObservedRun, Pod, Question
from proctor.core.results import Failure, Trouble, bounded

LAG = timedelta(seconds=10)
"""How long the pods of a finished Job may stay unseen before their report counts as lost."""
NO_PODS = timedelta(seconds=2)
"""How long a Job may be without pods before we ask why."""


@dataclass(frozen=True)
class StepView:
    """A step's new status, its failures, the messages that it rests on, what to ask, and when to look again."""

    status: StepStatus
    failures: tuple[Failure, ...] = ()
    omitted: int = 0
    messages: tuple[str, ...] = ()
    questions: frozenset[Question] = frozenset()
    look_again: datetime | None = None


def observe(step: Step, before: StepStatus, seen: ObservedRun, spec: TestSuiteSpec) -> StepView:
    """Return what is known of a step that is not finished and whose Job exists or existed."""
    name = child_name(seen.run, step.name)
    job = seen.job(name)
    if job is None:
        return _without_job(name, before, seen)
    if job.plan and seen.plan is not None and job.plan != seen.plan.digest:
        # The plan is created right after the Jobs: a crash left only the Job, and the suite was edited meanwhile.
        return end(
            before, Trouble(names.PLAN_CHANGED, f"Job {name} was made from an earlier edit of the suite"), seen.now
        )
    pods = _pods(step, before, seen)
    parts = _parts(step, pods)
    status = _running(step, before, job, parts, pods)
    if all(part.settled for part in parts):
        return _finish(step, status, parts, _trouble(parts), seen.now, spec)
    return _unsettled(step, status, job, pods, parts, seen, spec)


def stop(step: Step, before: StepStatus, seen: ObservedRun, spec: TestSuiteSpec, why: Trouble) -> StepView:
    """Return how a step that is not finished ends now: by `why`, but with all that its pods have reported."""
    name = child_name(seen.run, step.name)
    job = seen.job(name)
    if job is None:
        return end(before, why, seen.now)
    pods = _pods(step, before, seen)
    parts = _parts(step, pods)
    trouble = _trouble(parts) if all(part.settled for part in parts) else why
    return _finish(step, _running(step, before, job, parts, pods), parts, trouble, seen.now, spec)


def _pods(step: Step, before: StepStatus, seen: ObservedRun) -> list[Pod]:
    """Return the step's pods, those that only the status still knows included."""
    present = [pod for pod in seen.pods if pod.step == step.name and pod.role == names.ROLE_STEP]
    uids = {pod.uid for pod in present}
    return [*present, *(_recalled(lost, step, seen) for lost in before.lost if lost.uid not in uids)]


def _recalled(lost: LostPod, step: Step, seen: ObservedRun) -> Pod:
    return Pod(
        name=lost.name,
        uid=lost.uid,
        run_uid=seen.run.metadata.uid,
        step=step.name,
        role=names.ROLE_STEP,
        index=lost.index,
        phase="Failed",
        created=lost.created,
        disrupted=lost.disruption or None,
        deleting=True,
        runner=None if lost.exit_code is None else Ended(lost.exit_code, "", lost.report),
    )


def _lost(pods: list[Pod]) -> list[LostPod]:
    return [
        LostPod(
            name=pod.name,
            uid=pod.uid,
            index=pod.index,
            created=pod.created,
            disruption=pod.disrupted or "",
            exit_code=pod.runner.exit_code if pod.runner else None,
            report=pod.runner.message if pod.runner else "",
        )
        for pod in pods
        if pod.ended and (pod.deleting or pod.disrupted)
    ]


def _parts(step: Step, pods: list[Pod]) -> list[shards.Shard]:
    return [shards.observe(index, [pod for pod in pods if pod.index == index]) for index in range(step.shards)]


def _trouble(parts: list[shards.Shard]) -> Trouble | None:
    return next((part.trouble for part in parts if part.trouble), None) or shards.coverage(parts)


def _running(step: Step, before: StepStatus, job: Job, parts: list[shards.Shard], pods: list[Pod]) -> StepStatus:
    return before.model_copy(
        update={
            "state": StepState.RUNNING,
            "reason": "",
            "message": "",
            "job": JobReference(name=job.name, uid=job.uid),
            "started_at": before.started_at or job.created,
            "shards": [_shard_status(part) for part in parts],
            "lost": _lost(pods),
            "counts": Counts(**_sum(part.counts for part in parts)),
            "evidence": bounded(_sum(part.evidence for part in parts), step.evidence),
        }
    )


def _without_job(name: str, before: StepStatus, seen: ObservedRun) -> StepView:
    """Judge a recorded Job that no list shows: gone, if the API server itself says so."""
    if name in seen.present:
        return StepView(before, look_again=seen.now + timedelta(seconds=1))
    if name not in seen.gone:
        return StepView(before, questions=frozenset({AskJob(name)}))
    trouble = Trouble(names.JOB_VANISHED, f"Job {name} was deleted by someone else while the run needed it")
    return end(before, trouble, seen.now)


def _unsettled(
    step: Step,
    status: StepStatus,
    job: Job,
    pods: list[Pod],
    parts: list[shards.Shard],
    seen: ObservedRun,
    spec: TestSuiteSpec,
) -> StepView:
    """Decide whether to go on waiting for a step with shards that have not reported."""
    now = seen.now
    if given_up := next((part for part in parts if part.given_up), None):
        # Its endless replacements would hold a place that other shards wait for.
        return _finish(step, status, parts, given_up.trouble, now, spec)
    if job.failed == "DeadlineExceeded":
        return _finish(
            step, status, parts, Trouble(names.DEADLINE_EXCEEDED, f"Job {job.name}: {job.message}"), now, spec
        )
    if not job.live:
        lost_at = (job.finished_at or job.created) + LAG
        if now < lost_at:
            return StepView(status, look_again=lost_at)
        lost = ", ".join(str(part.index) for part in parts if not part.settled)
        trouble = Trouble(names.INCOMPLETE_REPORT, f"Job {job.name} ended but no report came from shard {lost}")
        return _finish(step, status, parts, trouble, now, spec)

    refused = None
    if not pods and now >= job.created + NO_PODS:
        if job.name not in seen.pod_refusals:
            return StepView(status, questions=frozenset({AskPodRefusal(job.name)}))
        if refusal := seen.pod_refusals[job.name]:
            refused = Trouble(names.QUOTA_EXCEEDED if refusal.quota else names.JOB_REFUSED, refusal.message)
    allowance = timedelta(seconds=seconds(step.start_timeout))
    start_by = {part.index: since + allowance for part in parts if (since := _starting_since(part, job, pods))}
    if late := [part for part in parts if part.index in start_by and now >= start_by[part.index]]:
        trouble = (
            next((part.obstacle for part in late if part.obstacle), None)
            or refused
            or Trouble(names.START_TIMEOUT, f"shard {late[0].index} did not start within {step.start_timeout}")
        )
        return _finish(step, status, parts, trouble, now, spec)
    # A pod's own deadline counts from when a node took it, which may be as late as the start timeout.
    limit = timedelta(seconds=2 * seconds(step.start_timeout) + seconds(step.timeout) + 2 * GRACE)
    working = [pod for pod in pods if pod.started and not pod.ended]
    stuck = next((pod for pod in working if now >= pod.created + limit), None)
    if stuck is not None:
        word = names.NODE_LOST if stuck.deleting or stuck.reason == names.NODE_LOST else names.DEADLINE_EXCEEDED
        trouble = Trouble(word, f"pod {stuck.name} outlived its deadline; its node no longer answers")
        return _finish(step, status, parts, trouble, now, spec)
    obstacle = next((part.obstacle for part in parts if part.obstacle), refused)
    if obstacle is not None:
        status = status.model_copy(update={"reason": obstacle.reason, "message": obstacle.message})
    elif not any(part.running for part in parts):
        status = status.model_copy(update={"reason": names.WAITING_FOR_PODS, "message": "its pods are starting"})
    deadlines = [*start_by.values(), *(pod.created + limit for pod in working)]
    if not pods:
        deadlines.append(now + NO_PODS)
    return StepView(status, look_again=min(deadlines, default=now + LAG))


def _starting_since(part: shards.Shard, job: Job, pods: list[Pod]) -> datetime | None:
    """Return since when a shard could have started, None while it cannot or need not.

    A shard without a pod waits by design until the Job's parallelism leaves it a place.
    """
    if part.settled or part.running or part.since is not None:
        return part.since
    if sum(1 for pod in pods if not pod.ended) >= job.pods:
        return None
    return max([job.created, *(pod.ended_at or pod.created for pod in pods if pod.ended)])


def end(status: StepStatus, trouble: Trouble, now: datetime) -> StepView:
    """Return a step that ends by trouble with the counts that it has."""
    counts = status.counts.model_dump()
    judgment = verdict.judge_step(counts, (), trouble, OnFlaky.PASS, evidence={}, minimum={})
    return StepView(_ended(status, judgment, now))


def _finish(
    step: Step,
    status: StepStatus,
    parts: list[shards.Shard],
    trouble: Trouble | None,
    now: datetime,
    spec: TestSuiteSpec,
) -> StepView:
    failures = tuple(failure for part in parts for failure in part.failures)
    counts = status.counts.model_dump()
    judgment = verdict.judge_step(
        counts, failures, trouble, spec.on_flaky, evidence=status.evidence, minimum=step.evidence
    )
    return StepView(
        _ended(status, judgment, now),
        failures=failures,
        omitted=sum(part.omitted for part in parts),
        messages=tuple(part.message for part in parts if part.message),
    )


def _ended(status: StepStatus, judgment: verdict.Judgment, now: datetime) -> StepStatus:
    return status.model_copy(
        update={
            "state": StepState.FINISHED,
            "lost": [],
            "verdict": judgment.verdict,
            "reason": judgment.reason,
            "message": judgment.message[:1000],
            "finished_at": now,
            "duration": duration(status.started_at, now),
        }
    )


def duration(start: datetime | None, end: datetime | None) -> str:
    """Return the time between two instants as a Kubernetes user writes it: 42s, 3m12s, 1h5m."""
    if start is None or end is None:
        return ""
    total = max(0, round((end - start).total_seconds()))
    hours, rest = divmod(total, 3600)
    minutes, secs = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m"
    return f"{minutes}m{secs}s" if minutes else f"{secs}s"


def _shard_status(part: shards.Shard) -> ShardStatus:
    if part.settled:
        state = part.trouble.reason if part.trouble else "Reported"
    else:
        state = "Running" if part.running else "Waiting"
    return ShardStatus(index=part.index, state=state, counts=Counts(**part.counts))


def _sum(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for part in parts:
        totals.update(part)
    return dict(totals)
