"""One index of a step's Job, from all of its pods: waiting, running, or settled with what it reported.

Pods that were lost to a disruption are replaced by the Job; what they saw is merged, not forgotten: a test that failed
in a lost pod and passed in its successor is flaky.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from proctor.api import names
from proctor.core import trouble
from proctor.core.jobs import DISRUPTIONS
from proctor.core.observed import Pod
from proctor.core.results import OUTCOMES, Failure, Summary, TestSet, Trouble, add_up


@dataclass(frozen=True)
class Shard:
    """What is known of an index. `settled` means that nothing more will come; `obstacle` may still pass.

    `since` is when its latest pod began to start, or was lost; None for a shard without a pod and while one runs.
    `given_up` means that the Job would go on replacing its pods, but we do not. `message` is the termination message
    that all of this rests on.
    """

    index: int
    settled: bool = False
    running: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)
    evidence: Mapping[str, int] = field(default_factory=dict)
    collection: TestSet | None = None
    part: TestSet | None = None
    failures: tuple[Failure, ...] = ()
    omitted: int = 0
    trouble: Trouble | None = None
    obstacle: Trouble | None = None
    since: datetime | None = None
    given_up: bool = False
    message: str = ""


def observe(index: int, pods: Sequence[Pod]) -> Shard:
    """Return the shard `index` from its pods, in any order."""
    ordered = sorted(pods, key=lambda pod: (pod.created, pod.uid))
    lost = [pod for pod in ordered if trouble.disrupted(pod) is not None]
    last = next((pod for pod in reversed(ordered) if pod not in lost), None)
    if last is not None and last.ended:
        return _settle(index, last, lost, None)
    if len(lost) > DISRUPTIONS:
        return replace(_settle(index, lost[-1], lost[:-1], trouble.disrupted(lost[-1])), given_up=True)
    if last is not None:
        return Shard(
            index,
            running=last.started,
            obstacle=trouble.starting(last),
            since=None if last.started else last.created,
        )
    if lost:
        return Shard(index, obstacle=trouble.disrupted(lost[-1]), since=lost[-1].ended_at or lost[-1].created)
    return Shard(index)


def _settle(index: int, pod: Pod, lost: Sequence[Pod], why: Trouble | None) -> Shard:
    summary, found = trouble.ended(pod)
    problem = why or found
    container = pod.runner or pod.prepare
    shard = Shard(index, settled=True, trouble=problem, message=container.message if container else "")
    if summary is not None:
        shard = _with(shard, summary, problem)
    for earlier in lost:
        seen, _ = trouble.ended(earlier)
        if seen is not None:
            shard = _merge_lost(shard, seen)
    return shard


def _with(shard: Shard, summary: Summary, problem: Trouble | None) -> Shard:
    counts = {name: summary.counts.get(name, 0) for name in OUTCOMES}
    failures = summary.failures
    if not summary.complete and summary.in_flight and problem is not None:
        # Nobody was left to say how the test in flight ended: the pod's death is its outcome.
        counts["error"] += 1
        failures = (Failure(summary.in_flight, "error", problem.message), *failures)
    return replace(
        shard,
        counts=counts,
        evidence=summary.evidence,
        collection=summary.collection,
        part=summary.part,
        failures=failures,
        omitted=summary.omitted,
    )


def _merge_lost(shard: Shard, lost: Summary) -> Shard:
    """Fold in what a lost pod saw fail: flaky if it or its successor passed it, failed if its name did not fit."""
    counts = dict(shard.counts)
    failures = list(shard.failures)
    known = {failure.test for failure in failures}
    for failure in lost.failures:
        if failure.test in known or failure.outcome not in ("failed", "error", "flaky"):
            continue
        known.add(failure.test)
        if failure.outcome != "flaky" and (shard.omitted or counts.get("passed", 0) == 0):
            # It may be among the successor's omitted failures, or was never reached: it stays a failure.
            counts["failed"] = counts.get("failed", 0) + 1
            failures.append(failure)
        else:
            counts["passed"] = max(0, counts.get("passed", 0) - 1)
            counts["flaky"] = counts.get("flaky", 0) + 1
            failures.append(Failure(failure.test, "flaky", failure.line))
    if lost.omitted:
        counts["failed"] = counts.get("failed", 0) + lost.omitted
    return replace(shard, counts=counts, failures=tuple(failures), omitted=shard.omitted + lost.omitted)


def coverage(shards: Sequence[Shard]) -> Trouble | None:
    """Return what is wrong with how settled shards share one collection: all equal, disjoint, and complete."""
    collections = {shard.collection for shard in shards}
    if len(collections) > 1:
        counts = sorted({c.count for c in collections if c is not None})
        return Trouble(
            names.COLLECTION_DIFFERS,
            f"the shards collected different tests ({', '.join(map(str, counts))} by count): the collection depends on "
            "the pod, for instance on time, randomness or environment",
        )
    whole = next(iter(collections))
    if whole is None or add_up(shard.part for shard in shards if shard.part) != whole:
        return Trouble(names.COLLECTION_DIFFERS, "the shards' parts do not add up to the whole collection")
    return None
