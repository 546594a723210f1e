"""What to do next about one TestRun: a ladder of early returns over what was observed.

deleting -> finished -> aborted -> refused -> planned -> steps -> verdict. Every rung says what was seen in the status
that it returns; the status tells of a Job only once the Job has been observed.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from proctor.api import names
from proctor.api.scalars import StepState, Verdict
from proctor.api.testrun import PinnedCommit, Progress, Resolved, StepStatus, TargetStatus, TestRunStatus
from proctor.core import fields, jobs
from proctor.core import plan as plans
from proctor.core import step as steps
from proctor.core.actions import Action, CreateJob, CreatePlan, Decision, DeleteJob, Event
from proctor.core.chaos import inrun
from proctor.core.ending import RunDecision, abort, finish, interrupt, judge
from proctor.core.errors import InvalidSpec
from proctor.core.observed import AskTarget, Job, ObservedRun, Question
from proctor.core.plan import Plan
from proctor.core.progress import ENDED, condition, events, fold
from proctor.core.start import RECHECK, claim, start
from proctor.core.verdict import Judgment

SUITE_GRACE = timedelta(seconds=30)
"""How long a run waits for a suite that is not there: both may be applied together, in any order."""


def decide(seen: ObservedRun, runner_image: str) -> RunDecision:
    """Return the next decision about a TestRun. Asking again about the same world gives the same answer."""
    run, before = seen.run, seen.run.status
    if run.metadata.deletion_timestamp is not None:
        return Decision(before)
    if before.verdict is not None:
        return Decision(before, actions=tuple(_leftovers(seen)))
    status = before.model_copy(update={"observed_generation": run.metadata.generation})
    if run.spec.abort:
        return abort(seen, status)
    if before.resolved is None or seen.plan is None:
        return _plan(seen, status, runner_image)
    return _advance(seen, status, seen.plan, runner_image)


def _plan(seen: ObservedRun, status: TestRunStatus, runner_image: str) -> RunDecision:
    """Accept and plan the run, or refuse it with the reason."""
    run, now = seen.run, seen.now
    if status.resolved is not None:
        trouble = Judgment(
            Verdict.ERROR, names.PLAN_VANISHED, f"ConfigMap {status.resolved.plan} was deleted or cannot be read"
        )
        return interrupt(seen, status, trouble) if seen.plan_gone else Decision(status, look_again=now + RECHECK)
    try:
        if lost := fields.dropped(run.metadata.annotations, seen.raw_spec):
            raise InvalidSpec(names.UNKNOWN_FIELD, f"unknown field {', '.join(lost)}")
        plan = seen.plan or plans.make(run, seen.suite, (run.metadata.creation_timestamp or now).date())
    except InvalidSpec as error:
        status = condition(seen, status, names.ACCEPTED, "False", error.reason, error.message)
        born = run.metadata.creation_timestamp or now
        if error.reason == names.SUITE_NOT_FOUND and now < born + SUITE_GRACE:
            return Decision(status, look_again=born + SUITE_GRACE)
        return finish(seen, status, Judgment(Verdict.ERROR, error.reason, error.message))
    if plan.spec.target.selector is not None and seen.target is None:
        return Decision(status, questions=frozenset({AskTarget()}))
    status = condition(seen, status, names.ACCEPTED, "True", names.ACCEPTED, _understood(plan))
    if seen.target is not None and not seen.target:
        message = "spec.target.selector matches no Deployment, StatefulSet or DaemonSet"
        return finish(seen, status, Judgment(Verdict.ERROR, names.TARGET_NOT_FOUND, message))
    stored_as = jobs.child_name(run, "plan")
    if seen.plan is None and (refusal := seen.refusals.get(stored_as)):
        reason = names.QUOTA_EXCEEDED if refusal.quota else names.JOB_REFUSED
        status = condition(seen, status, names.PLANNED, "False", reason, refusal.message)
        return finish(seen, status, Judgment(Verdict.ERROR, reason, f"ConfigMap {stored_as}: {refusal.message}"))
    status = condition(seen, status, names.PLANNED, "True", names.PLANNED, f"plan in ConfigMap {stored_as}")
    status = condition(seen, status, names.SUCCEEDED, "Unknown", "Running", "the run is not finished")
    status = condition(
        seen, status, names.EVIDENCE_STORED, "False", "NoLedger", "attempts are in the pods' logs; there is no ledger"
    )
    status = status.model_copy(
        update={
            "suite": plan.suite,
            "started_at": now,
            "resolved": Resolved(seed=plan.seed, mode=plan.mode, plan=stored_as, suite_digest=plan.digest),
            "target": [
                TargetStatus(kind=w.kind, name=w.name, images=list(w.images), template=w.template)
                for w in seen.target or ()
            ],
            "steps": [StepStatus(name=step.name, state=StepState.WAITING) for step in plan.spec.steps],
            "progress": Progress(steps=len(plan.spec.steps), shards=sum(step.shards for step in plan.spec.steps)),
        }
    )
    store = () if seen.plan is not None else (CreatePlan(jobs.plan_config_map(run, plan)),)
    planned = replace(seen, run=run.model_copy(update={"status": status}), plan=plan)
    first = _advance(planned, status, plan, runner_image)
    # Jobs come first, because every request before them makes their pods later; a Job names the plan it was made from.
    return replace(
        first, actions=(*first.actions, *store), events=(Event(names.PLANNED, _understood(plan)), *first.events)
    )


def _advance(seen: ObservedRun, status: TestRunStatus, plan: Plan, runner_image: str) -> RunDecision:
    """Look at every step, start those whose turn it is, and judge the run when all have ended."""
    now = seen.now
    views: dict[str, steps.StepView] = {}
    actions: list[Action] = []
    questions: set[Question] = set()
    commits = list(status.resolved.commits) if status.resolved else []
    held = list(seen.held)
    times: list[datetime] = []
    for step in plan.spec.steps:
        old = next(s for s in status.steps if s.name == step.name)
        if old.state in ENDED:
            views[step.name] = steps.StepView(old)
            continue
        if old.job is not None or seen.job(jobs.child_name(seen.run, step.name)) is not None:
            views[step.name] = steps.observe(step, old, seen, plan.spec)
            questions |= views[step.name].questions
            faults, next_fault = inrun.due(step, views[step.name].status, seen, plan)
            actions += faults
            times += [next_fault] if next_fault else []
            continue
        begun = start(step, old, seen, plan, views, held, commits, runner_image)
        views[step.name] = begun.view
        if begun.commit is not None:
            commits.append(PinnedCommit(step=step.name, commit=begun.commit))
        if begun.job is not None:
            actions.append(CreateJob(begun.job))
            held.append(claim(seen, plan, step))
    if questions:
        return Decision(status, questions=frozenset(questions))
    status = fold(seen, status, views, commits).model_copy(update={"chaos": inrun.told(seen)})
    if all(view.status.state in ENDED for view in views.values()) and not inrun.unfinished(seen):
        return judge(seen, status, plan)
    actions += _leftovers(seen, status)
    times += [view.look_again for view in views.values() if view.look_again is not None]
    return Decision(
        status,
        actions=tuple(actions),
        events=events(seen, status),
        look_again=min(times, default=now + RECHECK),
    )


def _leftovers(seen: ObservedRun, status: TestRunStatus | None = None) -> list[Action]:
    """Jobs that can still run pods though their step, or the whole run, has ended; faults of a run that has ended."""
    ended = {s.name for s in (status or seen.run.status).steps if s.verdict is not None}
    whole = seen.run.status.verdict is not None
    left: list[Action] = [
        DeleteJob(job.name, job.uid)
        for job in seen.jobs
        if job.live and (whole or job.step in ended) and not _done(job, seen)
    ]
    return [*left, *(inrun.aborts(seen) if whole else ())]


def _done(job: Job, seen: ObservedRun) -> bool:
    """Whether all pods of a Job have ended, so that only its own status lags."""
    pods = [pod for pod in seen.pods if pod.step == job.step and pod.role == job.role]
    return len({pod.index for pod in pods}) == job.shards and all(pod.ended for pod in pods)


def _understood(plan: Plan) -> str:
    shards = sum(step.shards for step in plan.spec.steps)
    parts = [_count(len(plan.spec.steps), "step"), _count(shards, "shard")]
    if faults := sum(len(step.chaos) for step in plan.spec.steps):
        parts.append(_count(faults, "fault"))
    if plan.spec.quarantine:
        parts.append(_count(len(plan.spec.quarantine), "quarantined test"))
    return ", ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
