"""Small builders of what decisions are made from, so that a case shows only what differs from the ordinary.

Instants are offsets in seconds from T0; uids are readable. Nothing here decides anything.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from proctor.api import names
from proctor.api.base import Metadata
from proctor.api.testrun import TestRun, TestRunSpec, TestRunStatus
from proctor.api.testsuite import TestSuite, TestSuiteSpec, TestSuiteStatus
from proctor.core import jobs
from proctor.core.observed import Ended, Job, Pod, Workload
from proctor.core.results import Failure, Summary, digest_of, encode

T0 = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
RUN_UID = "11111111-2222-3333-4444-555555555555"
RUNNER_IMAGE = "proctor/runner:1"
COMMIT = "c0ffee" * 6 + "c0ff"


def at(seconds: float) -> datetime:
    """Return the instant so many seconds after T0."""
    return T0 + timedelta(seconds=seconds)


def a_step(name: str = "one", **fields: Any) -> dict[str, Any]:
    """Return a step as a user writes it."""
    return {"name": name, **fields}


def a_spec(*steps: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a suite's spec as a user writes it."""
    return {"target": {"name": "shop"}, "steps": [dict(step) for step in steps] or [a_step()], **fields}


def a_suite(
    spec: Mapping[str, Any] | None = None, *, name: str = "nightly", status: TestSuiteStatus | None = None, **meta: Any
) -> TestSuite:
    """Return a TestSuite made at T0."""
    return TestSuite(
        api_version=names.API_VERSION,
        kind=names.TEST_SUITE,
        metadata=_metadata(name, {"uid": f"suite-{name}", **meta}),
        spec=TestSuiteSpec.model_validate(spec or a_spec()),
        status=status or TestSuiteStatus(),
    )


def a_run(
    spec: Mapping[str, Any] | None = None,
    *,
    name: str = "run",
    status: TestRunStatus | None = None,
    **meta: Any,
) -> TestRun:
    """Return a TestRun made at T0; its spec is one inline suite with one step unless given."""
    return TestRun(
        api_version=names.API_VERSION,
        kind=names.TEST_RUN,
        metadata=_metadata(name, {"uid": RUN_UID, **meta}),
        spec=TestRunSpec.model_validate(spec or {"suite": a_spec()}),
        status=status or TestRunStatus(),
    )


def _metadata(name: str, fields: Mapping[str, Any]) -> Metadata:
    return Metadata(**{"name": name, "creation_timestamp": T0, "generation": 1, "resource_version": "1", **fields})


def a_job(run: TestRun | None = None, step: str = "one", **fields: Any) -> Job:
    """Return the live Job of a step."""
    run = run or a_run()
    values: dict[str, Any] = {
        "name": jobs.child_name(run, step),
        "uid": f"job-{step}",
        "namespace": run.metadata.namespace,
        "run_uid": run.metadata.uid,
        "step": step,
        "role": names.ROLE_STEP,
        "created": T0,
    }
    return Job(**{**values, **fields})


@dataclass(frozen=True)
class APod:
    """A pod under construction: each method returns the pod a little later in its life."""

    pod: Pod

    def running(self) -> Pod:
        """Its runner is working."""
        return replace(self.pod, phase="Running", started=True)

    def pulling(self, reason: str = "ErrImagePull", message: str = "no such image") -> Pod:
        """Its image does not come."""
        return replace(self.pod, waiting=(reason, message))

    def unschedulable(self, message: str = "0/1 nodes are available") -> Pod:
        """No node takes it."""
        return replace(self.pod, unschedulable=message)

    def said(self, message: str, *, exit_code: int = 0, reason: str = "") -> Pod:
        """Its runner ended and left a termination message."""
        return replace(
            self.pod,
            phase="Succeeded" if exit_code == 0 else "Failed",
            started=True,
            runner=Ended(exit_code, reason or ("Completed" if exit_code == 0 else "Error"), message),
        )

    def reported(self, summary: Summary, *, exit_code: int = 0, reason: str = "") -> Pod:
        """Its runner ended and left that summary."""
        return self.said(encode(summary), exit_code=exit_code, reason=reason)

    def passed(self, *tests: str, of: Iterable[str] | None = None) -> Pod:
        """It ran `tests`, its part of the collection `of`, and all passed."""
        return self.reported(self.summary(tests, of=of))

    def lost(self, reason: str = "EvictionByEvictionAPI", summary: Summary | None = None) -> Pod:
        """It was disrupted; what it had seen is in `summary`."""
        ended = Ended(143, "Error", encode(summary)) if summary else None
        return replace(
            self.pod, phase="Failed", disrupted=reason, message="Eviction API: evicting", started=True, runner=ended
        )

    def failed(self, reason: str, message: str = "") -> Pod:
        """The kubelet gave up on it."""
        return replace(self.pod, phase="Failed", reason=reason, message=message)

    def summary(self, tests: Iterable[str] = (), *, of: Iterable[str] | None = None, **fields: Any) -> Summary:
        """Return a whole summary of this pod: `tests` passed unless `counts` or `failures` say otherwise."""
        return a_summary(self.pod, tests, of=of, **fields)


def a_pod(step: str = "one", index: int = 0, *, n: int = 0, created: float = 1, **fields: Any) -> APod:
    """Return the n-th pod of a shard, pending."""
    values: dict[str, Any] = {
        "name": f"{step}-{index}-{n}",
        "uid": f"pod-{step}-{index}-{n}",
        "run_uid": RUN_UID,
        "step": step,
        "role": names.ROLE_STEP,
        "index": index,
        "phase": "Pending",
        "created": at(created),
    }
    return APod(Pod(**{**values, **fields}))


def a_summary(
    pod: Pod,
    tests: Iterable[str] = (),
    *,
    of: Iterable[str] | None = None,
    failed: Iterable[str] = (),
    flaky: Iterable[str] = (),
    error: Iterable[str] = (),
    **fields: Any,
) -> Summary:
    """Return what `pod` reports: `tests` is its part of the collection `of` (default: its part is everything)."""
    part = list(tests)
    special = {"failed": list(failed), "flaky": list(flaky), "error": list(error)}
    counts = {name: len(found) for name, found in special.items()}
    counts["passed"] = len(part) - sum(counts.values())
    values: dict[str, Any] = {
        "run": pod.run_uid,
        "step": pod.step,
        "index": pod.index,
        "pod": pod.uid,
        "complete": True,
        "counts": counts,
        "collection": digest_of(part if of is None else of),
        "part": digest_of(part),
        "failures": tuple(Failure(test, name, f"{name} here") for name, found in special.items() for test in found),
    }
    return Summary(**{**values, **fields})


def a_workload(
    name: str = "gateway", *, image: str = "sha256:a", template: str = "t1", settled: bool = True
) -> Workload:
    """Return a Deployment of the target."""
    return Workload("Deployment", name, (image,), template, settled)


def termination_message(pod: Pod, *tests: str) -> str:
    """Return a valid message in which `pod` passed `tests`, the whole collection."""
    return encode(a_summary(pod, tests))
