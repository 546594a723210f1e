"""One step of a run: from its Job and pods to its status.

A finished step is never looked at again; what was judged stays judged.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from proctor.api import names
from proctor.api.scalars import OnFlaky, StepState, seconds
from proctor.api.testrun import Counts, JobReference, ShardStatus, StepStatus
from proctor.api.testsuite import Step, TestSuiteSpec
from proctor.core import shard as shards
from proctor.core import verdict
from proctor.core.jobs import GRACE, child_name
from proctor.core.observed import AskJob, AskPodRefusal, Job, ObservedRun, Pod, Question
from proctor.core.results import Failure, Trouble

LAG = timedelta(seconds=10)
"""How long the pods of a finished Job may stay unseen before their report counts as lost."""
NO_PODS = timedelta(seconds=2)
"""How long a Job may be without pods before we ask why."""


@dataclass(frozen=True)
class StepView:
    """A step's new status, its failures and evidence, what to ask, and when it has to be looked at again."""

    status: StepStatus
    failures: tuple[Failure, ...] = ()
    omitted: int = 0
    evidence: tuple[str, ...] = ()
    questions: frozenset[Question] = frozenset()
    look_again: datetime | None = None


def observe(step: Step, before: StepStatus, seen: ObservedRun, spec: TestSuiteSpec) -> StepView:
    """Return what is known of a step that is not finished and whose Job exists or existed."""
    name = child_name(seen.run, step.name)
    job = next((job for job in seen.jobs if job.name == name), None)
    if job is None:
        return _without_job(name, before, seen)
    pods = [pod for pod in seen.pods if pod.step == step.name and pod.role == names.ROLE_STEP]
    parts = [shards.observe(index, [p for p in pods if p.index == index]) for index in range(step.shards)]
    status = before.model_copy(
        update={
            "state": StepState.RUNNING,
            "reason": "",
            "message": "",
            "job": JobReference(name=job.name, uid=job.uid),
            "started_at": before.started_at or job.created,
            "shards": [_shard_status(part) for part in parts],
            "counts": _sum([part.counts for part in parts]),
        }
    )
    if all(part.settled for part in parts):
        trouble = next((part.trouble for part in parts if part.trouble), None) or shards.coverage(parts)
        return _finish(status, parts, trouble, seen.now, spec)
    return _unsettled(step, status, job, pods, parts, seen, spec)


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
    if job.failed == "DeadlineExceeded":
        return _finish(status, parts, Trouble(names.DEADLINE_EXCEEDED, f"Job {job.name}: {job.message}"), now, spec)
    if not job.live:
        lost_at = (job.finished_at or now) + LAG
        if now < lost_at:
            return StepView(status, look_again=lost_at)
        lost = ", ".join(str(part.index) for part in parts if not part.settled)
        trouble = Trouble(names.INCOMPLETE_REPORT, f"Job {job.name} ended but no report came from shard {lost}")
        return _finish(status, parts, trouble, now, spec)

    obstacle = next((part.obstacle for part in parts if part.obstacle), None)
    questions: frozenset[Question] = frozenset()
    if not pods and now >= job.created + NO_PODS:
        if job.name not in seen.pod_refusals:
            questions = frozenset({AskPodRefusal(job.name)})
        elif refusal := seen.pod_refusals[job.name]:
            obstacle = Trouble(names.QUOTA_EXCEEDED if refusal.quota else names.JOB_REFUSED, refusal.message)
    # Shards beyond the parallelism start late by design: their clock starts when a place is free.
    starting = [part for part in parts if not part.settled and not part.running]
    live = [part for part in parts if part.running]
    start_by = job.created + timedelta(seconds=seconds(step.start_timeout))
    late = len(starting) == len(parts) or obstacle is not None or len(live) + len(starting) <= job.pods
    latest = max([pod.created for pod in pods if not pod.ended and not pod.started], default=job.created)
    start_by = max(start_by, latest + timedelta(seconds=seconds(step.start_timeout)))
    if starting and late and now >= start_by:
        trouble = obstacle or Trouble(
            names.START_TIMEOUT, f"no pod of Job {job.name} started within {step.start_timeout}"
        )
        return _finish(status, parts, trouble, now, spec)
    pod_limit = timedelta(seconds=seconds(step.start_timeout) + seconds(step.timeout) + 2 * GRACE)
    stuck = next((pod for pod in pods if pod.started and not pod.ended and now >= pod.created + pod_limit), None)
    if stuck is not None:
        word = names.NODE_LOST if stuck.deleting or stuck.reason == names.NODE_LOST else names.DEADLINE_EXCEEDED
        trouble = Trouble(word, f"pod {stuck.name} outlived its deadline; its node no longer answers")
        return _finish(status, parts, trouble, now, spec)
    if obstacle is not None:
        status = status.model_copy(update={"reason": obstacle.reason, "message": obstacle.message})
    elif not live:
        status = status.model_copy(update={"reason": names.WAITING_FOR_PODS, "message": "its pods are starting"})
    deadlines = [start_by if starting else now + pod_limit]
    if not pods:
        deadlines.append(now + NO_PODS)
    return StepView(status, questions=questions, look_again=min(deadlines))


def end(status: StepStatus, trouble: Trouble, now: datetime) -> StepView:
    """Return a step that ends by trouble with the counts that it has."""
    counts = status.counts.model_dump()
    judgment = verdict.judge_step(counts, (), trouble, OnFlaky.PASS)
    return StepView(_ended(status, judgment, now))


def _finish(
    status: StepStatus,
    parts: list[shards.Shard],
    trouble: Trouble | None,
    now: datetime,
    spec: TestSuiteSpec,
) -> StepView:
    failures = tuple(failure for part in parts for failure in part.failures)
    counts = status.counts.model_dump()
    judgment = verdict.judge_step(counts, failures, trouble, spec.on_flaky)
    return StepView(
        _ended(status, judgment, now),
        failures=failures,
        omitted=sum(part.omitted for part in parts),
        evidence=tuple(part.evidence for part in parts),
    )


def _ended(status: StepStatus, judgment: verdict.Judgment, now: datetime) -> StepStatus:
    return status.model_copy(
        update={
            "state": StepState.FINISHED,
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


def _sum(parts: list[Mapping[str, int]]) -> Counts:
    totals: dict[str, int] = dict.fromkeys(Counts.model_fields, 0)
    for part in parts:
        for name, value in part.items():
            totals[name] += value
    return Counts(**totals)
