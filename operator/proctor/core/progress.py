"""A run's status from its steps: counts, failures, progress, conditions, and the Events that tell of the change."""

import hashlib
from collections.abc import Mapping, Sequence

from proctor.api import names
from proctor.api.scalars import StepState, Verdict
from proctor.api.testrun import Counts, Failure, PinnedCommit, TestRunStatus
from proctor.core import conditions
from proctor.core.actions import Event
from proctor.core.observed import ObservedRun
from proctor.core.step import StepView

MAX_FAILURES = 50
ENDED = (StepState.FINISHED, StepState.SKIPPED)
_QUIET = {names.WAITING_FOR_PODS, names.WAITING_FOR_STEP, names.RESOLVING_SOURCE}


def fold(
    seen: ObservedRun, status: TestRunStatus, views: Mapping[str, StepView], commits: Sequence[PinnedCommit]
) -> TestRunStatus:
    """Return the run's status with its steps as they now stand."""
    all_steps = [views[s.name].status for s in status.steps]
    failures = list(status.failures)
    for name, view in views.items():
        failures += [Failure(test=f.test, step=name, outcome=f.outcome, line=f.line) for f in view.failures]
    messages = [text for view in views.values() for text in view.messages]
    omitted = (
        status.failures_omitted + sum(view.omitted for view in views.values()) + max(0, len(failures) - MAX_FAILURES)
    )
    done = [s for s in all_steps if s.state in ENDED]
    started = any(shard.state in ("Running", "Reported") for s in all_steps for shard in s.shards)
    status = status.model_copy(
        update={
            "steps": all_steps,
            "counts": _total([s.counts for s in all_steps]),
            "failures": failures[:MAX_FAILURES],
            "failures_omitted": omitted,
            "evidence_digest": _chain(status.evidence_digest, messages),
            "resolved": status.resolved.model_copy(update={"commits": list(commits)}) if status.resolved else None,
            "progress": status.progress.model_copy(
                update={
                    "steps_done": len(done),
                    "shards_done": sum(1 for s in all_steps for x in s.shards if x.state not in ("Waiting", "Running")),
                }
            ),
        }
    )
    if started:
        return condition(seen, status, names.STARTED, "True", names.STARTED, "tests are running")
    waiting = next((s for s in all_steps if s.verdict is None and s.reason), None)
    was = conditions.get(status.conditions, names.STARTED)
    if waiting is None or (was is not None and was.status == "True"):
        return status
    return condition(seen, status, names.STARTED, "False", waiting.reason, f"step {waiting.name}: {waiting.message}")


def events(seen: ObservedRun, status: TestRunStatus) -> tuple[Event, ...]:
    """Tell of steps that began or ended since the last status."""
    old = {s.name: s for s in seen.run.status.steps}
    told = []
    for s in status.steps:
        was = old.get(s.name)
        if s.verdict is not None and (was is None or was.verdict is None):
            told.append(
                Event(
                    "StepFinished",
                    f"{s.name}: {s.verdict} ({s.reason}): {s.message}"[:1000],
                    s.verdict is not Verdict.PASSED,
                )
            )
        elif s.job is not None and (was is None or was.job is None):
            told.append(Event("StepStarted", f"{s.name}: Job {s.job.name}"))
        elif s.reason and was is not None and s.reason != was.reason and s.reason not in _QUIET:
            told.append(Event(s.reason, f"{s.name}: {s.message}"[:1000], warning=True))
    return tuple(told)


def condition(
    seen: ObservedRun, status: TestRunStatus, kind: str, truth: conditions.Truth, reason: str, message: str
) -> TestRunStatus:
    """Return the status with one condition set."""
    new = conditions.put(
        status.conditions, kind, truth, reason, message, now=seen.now, generation=seen.run.metadata.generation
    )
    return status.model_copy(update={"conditions": new})


def _total(parts: list[Counts]) -> Counts:
    return Counts(**{name: sum(getattr(part, name) for part in parts) for name in Counts.model_fields})


def _chain(before: str, messages: list[str]) -> str:
    """Return a digest over all summaries so far, in the order in which they were judged."""
    for text in messages:
        before = hashlib.sha256(f"{before}\n{text}".encode()).hexdigest()
    return before
