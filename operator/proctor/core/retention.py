"""How many finished runs of a suite are kept, and how long: only those that the operator itself made may go."""

from datetime import datetime, timedelta

from proctor.api import names
from proctor.api.scalars import Verdict, seconds
from proctor.api.testrun import TestRun
from proctor.core.actions import DeleteRun
from proctor.core.observed import ObservedSuite


def _own_finished(seen: ObservedSuite) -> tuple[list[TestRun], list[TestRun]]:
    """Return finished runs that the operator made, newest first: passed, and the rest."""
    own = [
        run
        for run in seen.runs
        if names.ANNOTATION_TRIGGER_KEY in run.metadata.annotations
        and run.status.verdict is not None
        and run.metadata.deletion_timestamp is None
    ]
    own.sort(key=ended_at, reverse=True)
    passed = [run for run in own if run.status.verdict is Verdict.PASSED]
    return passed, [run for run in own if run.status.verdict is not Verdict.PASSED]


def expired(seen: ObservedSuite) -> list[DeleteRun]:
    """Return the deletions of finished runs that are too many or too old."""
    policy = seen.suite.spec.run
    passed, failed = _own_finished(seen)
    gone = passed[policy.keep.passed :] + failed[policy.keep.failed :]
    for runs, ttl in ((passed, policy.ttl.passed), (failed, policy.ttl.failed)):
        if ttl is not None:
            gone += [r for r in runs if r not in gone and seen.now >= ended_at(r) + timedelta(seconds=seconds(ttl))]
    return [DeleteRun(run.metadata.name, run.metadata.uid) for run in gone]


def next_expiry(seen: ObservedSuite) -> datetime | None:
    """Return when the next run will be too old."""
    policy = seen.suite.spec.run
    passed, failed = _own_finished(seen)
    times = [
        ended_at(run) + timedelta(seconds=seconds(ttl))
        for runs, ttl in ((passed, policy.ttl.passed), (failed, policy.ttl.failed))
        if ttl is not None
        for run in runs
    ]
    return min((time for time in times if time > seen.now), default=None)


def ended_at(run: TestRun) -> datetime:
    """Return when a finished run ended."""
    assert run.status.finished_at is not None, "a run with a verdict has an end"
    return run.status.finished_at
