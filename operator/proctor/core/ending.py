"""How a run ends: the verdict over its steps and its target, or an early end by refusal or abort."""

from proctor.api import names
from proctor.api.scalars import StepState, Verdict
from proctor.api.testrun import StepStatus, TestRunStatus
from proctor.core import step as steps
from proctor.core.actions import Decision, Event
from proctor.core.chaos import inrun
from proctor.core.jobs import child_name
from proctor.core.observed import AskTarget, ObservedRun
from proctor.core.plan import Plan
from proctor.core.progress import ENDED, condition, fold
from proctor.core.results import Trouble
from proctor.core.verdict import Judgment, worst

RunDecision = Decision[TestRunStatus]


def judge(seen: ObservedRun, status: TestRunStatus, plan: Plan) -> RunDecision:
    """Give the verdict of a run whose steps have all ended."""
    if plan.spec.target.selector is not None and seen.target is None:
        return Decision(seen.run.status, questions=frozenset({AskTarget()}))
    judgments = [*_of_steps(status), *inrun.judgments(seen, plan)]
    if seen.target is not None:
        after = {(w.kind, w.name): w for w in seen.target}
        before = {(t.kind, t.name): t for t in status.target}
        changed = sorted(
            f"{kind}/{name}"
            for kind, name in before.keys() | after.keys()
            if (kind, name) not in before
            or (kind, name) not in after
            or list(after[kind, name].images) != before[kind, name].images
            or after[kind, name].template != before[kind, name].template
        )
        update = [
            t.model_copy(
                update={"images_at_end": list(after[t.kind, t.name].images) if (t.kind, t.name) in after else []}
            )
            for t in status.target
        ]
        status = status.model_copy(update={"target": update})
        if changed:
            message = f"the target changed while it was examined: {', '.join(changed)}"
            judgments.append(Judgment(Verdict.INCONCLUSIVE, names.TARGET_CHANGED, message))
    judgment = worst(judgments)
    assert judgment is not None, "a suite has at least one step"
    flaky = next((j for j in judgments if j.reason == names.PASSED_WITH_FLAKES), None)
    if judgment.verdict is Verdict.PASSED:
        executed = status.counts.passed + status.counts.flaky
        judgment = flaky or Judgment(Verdict.PASSED, names.PASSED, f"{executed} tests passed")
    return finish(seen, status, judgment)


def abort(seen: ObservedRun, status: TestRunStatus) -> RunDecision:
    """End an aborted run: Error, unless a failure was seen."""
    if seen.plan is not None and status.resolved is not None:
        views = {old.name: _stopped(old, seen, seen.plan) for old in status.steps}
        status = fold(seen, status, views, list(status.resolved.commits))
    return interrupt(seen, status, Judgment(Verdict.ERROR, names.ABORTED, "the run was aborted (spec.abort)"))


def interrupt(seen: ObservedRun, status: TestRunStatus, why: Judgment) -> RunDecision:
    """End a run whose steps have not all ended. A failure that was seen is not masked."""
    failed = worst(judgment for judgment in _of_steps(status) if judgment.verdict is Verdict.FAILED)
    if failed is not None:
        why = Judgment(failed.verdict, failed.reason, f"{failed.message}; also {why.reason}: {why.message}")
    return finish(seen, status, why)


def _stopped(old: StepStatus, seen: ObservedRun, plan: Plan) -> steps.StepView:
    begun = old.job is not None or seen.job(child_name(seen.run, old.name)) is not None
    if old.state in ENDED or not begun:
        return steps.StepView(old)
    return steps.stop(plan.step(old.name), old, seen, plan.spec, Trouble(names.ABORTED, "the run was aborted"))


def _of_steps(status: TestRunStatus) -> list[Judgment]:
    """Return the judgments of steps, and the failures in steps that have none yet."""
    found = []
    for s in status.steps:
        where = "" if len(status.steps) == 1 else f"step {s.name}: "
        if s.verdict is not None:
            found.append(Judgment(s.verdict, s.reason, where + s.message))
        elif s.counts.failed:
            found.append(Judgment(Verdict.FAILED, names.TESTS_FAILED, f"{where}{s.counts.failed} tests failed"))
    found += [
        Judgment(Verdict.INCONCLUSIVE, names.STEP_SKIPPED, f"step {s.name}: {s.message}")
        for s in status.steps
        if s.state is StepState.SKIPPED
    ]
    return found


def finish(seen: ObservedRun, status: TestRunStatus, judgment: Judgment) -> RunDecision:
    """Write the verdict. What is left running is deleted in the next pass, after the verdict is safe."""
    now = seen.now
    passed = judgment.verdict is Verdict.PASSED
    suite_ref = seen.run.spec.suite_ref
    status = status.model_copy(
        update={
            "verdict": judgment.verdict,
            "reason": judgment.reason,
            "message": judgment.message[:1000],
            "finished_at": now,
            "duration": steps.duration(status.started_at or now, now),
            "suite": status.suite or (suite_ref.name if suite_ref else "(inline)"),
        }
    )
    status = condition(seen, status, names.FINISHED, "True", names.FINISHED, judgment.message)
    status = condition(seen, status, names.SUCCEEDED, "True" if passed else "False", judgment.reason, judgment.message)
    event = Event(judgment.verdict.value, f"{judgment.reason}: {judgment.message}"[:1000], warning=not passed)
    return Decision(status, events=(event,), look_again=now)
