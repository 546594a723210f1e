"""Whether a step may start now: what it waits for, or the Job to create."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from proctor.api import names
from proctor.api.scalars import StepState, Verdict, seconds
from proctor.api.step import Step
from proctor.api.testrun import PinnedCommit, StepStatus
from proctor.core import jobs, resolve, turns
from proctor.core import step as steps
from proctor.core.actions import Manifest
from proctor.core.chaos import inrun
from proctor.core.observed import Claim, ObservedRun, Refusal
from proctor.core.plan import Plan
from proctor.core.results import Trouble

RECHECK = timedelta(seconds=15)
"""Waiting runs are woken by what they wait for; this is the net below."""


@dataclass(frozen=True)
class Start:
    """A step without a Job as it now stands, the Job to create if its turn has come, a commit just pinned."""

    view: steps.StepView
    job: Manifest | None = None
    commit: str | None = None


def start(
    step: Step,
    old: StepStatus,
    seen: ObservedRun,
    plan: Plan,
    views: Mapping[str, steps.StepView],
    held: Sequence[Claim],
    commits: Sequence[PinnedCommit],
    runner_image: str,
) -> Start:
    """Return how a step without a Job stands beside the other steps (`views`), claims (`held`) and commits."""
    now = seen.now
    later = now + RECHECK

    def waiting(reason: str, message: str) -> steps.StepView:
        update = {
            "reason": reason,
            "message": message,
            "pods": jobs.pods_at_once(step, plan.spec),
            "exclusive": step.exclusive,
        }
        return steps.StepView(old.model_copy(update=update), look_again=later)

    needs = [_status_of(name, views, seen) for name in step.after]
    if bad := [s for s in needs if s.state is StepState.SKIPPED or s.verdict not in (None, Verdict.PASSED)]:
        update = {
            "state": StepState.SKIPPED,
            "reason": names.STEP_SKIPPED,
            "message": f"step {bad[0].name} did not pass ({bad[0].reason})",
            "finished_at": now,
        }
        return Start(steps.StepView(old.model_copy(update=update)))
    if open_ := [s.name for s in needs if s.verdict is None]:
        return Start(waiting(names.WAITING_FOR_STEP, f"waits for step {', '.join(open_)}"))
    if seen.run.spec.suspend:
        return Start(waiting(names.SUSPENDED, "spec.suspend is set"))
    commit = next((pin.commit for pin in commits if pin.step == step.name), None)
    pinned = None
    if step.source.git is not None and commit is None:
        outcome = resolve.observe(step, seen)
        if outcome.trouble is not None:
            return Start(steps.end(old, outcome.trouble, now))
        if outcome.commit is None:
            manifest = None if outcome.running else jobs.resolve_job(seen.run, plan, step, runner_image)
            refusal = seen.refusals.get(jobs.child_name(seen.run, jobs.resolve_part(step.name)))
            if manifest is None or refusal is None:
                message = f"resolving {step.source.git.ref} of the git repository"
                return Start(waiting(names.RESOLVING_SOURCE, message), job=manifest)
            if trouble := _given_up(refusal, step, seen):
                return Start(steps.end(old, trouble, now))
            return Start(waiting(names.QUOTA_EXCEEDED, refusal.message), job=manifest)
        commit = pinned = outcome.commit
    refusal = seen.refusals.get(jobs.child_name(seen.run, step.name))
    if refusal is not None and (trouble := _given_up(refusal, step, seen)):
        return Start(steps.end(old, trouble, now), commit=pinned)
    wait = _fault_is_on(step, seen) or turns.may_start(claim(seen, plan, step), held, seen.awaited, seen.budget)
    if wait is not None:
        return Start(waiting(wait.reason, wait.message), commit=pinned)
    if refusal is not None:
        view = waiting(names.QUOTA_EXCEEDED, refusal.message)
    else:
        view = waiting(names.WAITING_FOR_PODS, "its Job is being created")
    return Start(view, job=jobs.step_job(seen.run, plan, step, runner_image, commit), commit=pinned)


def _fault_is_on(step: Step, seen: ObservedRun) -> turns.Wait | None:
    """Return why an exclusive step waits for a fault that is not of its own run."""
    for fault in seen.faults:
        if step.exclusive and inrun.run_of(fault) != seen.run.metadata.uid:
            return turns.Wait(names.WAITING_FOR_TARGET, f"ChaosExperiment {fault.metadata.name} is on in its namespace")
    return None


def claim(seen: ObservedRun, plan: Plan, step: Step) -> Claim:
    """Return what a step claims of the target and of the budget."""
    return Claim(
        run_uid=seen.run.metadata.uid,
        step=step.name,
        target=jobs.target_key(seen.run, plan.spec),
        exclusive=step.exclusive,
        namespace=jobs.target_namespace(seen.run, plan.spec),
        pods=jobs.pods_at_once(step, plan.spec),
        since=seen.run.metadata.creation_timestamp or seen.now,
    )


def _given_up(refusal: Refusal, step: Step, seen: ObservedRun) -> Trouble | None:
    """Return why a step ends whose Job the API server would not take; a quota may pass until startTimeout."""
    since = refusal.since or seen.run.status.started_at or seen.now
    if refusal.quota and seen.now < since + timedelta(seconds=seconds(step.start_timeout)):
        return None
    return Trouble(names.QUOTA_EXCEEDED if refusal.quota else names.JOB_REFUSED, refusal.message)


def _status_of(name: str, views: Mapping[str, steps.StepView], seen: ObservedRun) -> StepStatus:
    if name in views:
        return views[name].status
    return next(s for s in seen.run.status.steps if s.name == name)
