"""The API server's JSON of our custom resources -> their models, or why one is not acted on."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from proctor.api import names
from proctor.api.base import Metadata, explain
from proctor.api.chaos import ChaosExperiment, ChaosExperimentStatus
from proctor.api.perfgate import PerfGateStatus
from proctor.api.testrun import TestRun, TestRunStatus
from proctor.api.testsuite import TestSuite, TestSuiteStatus

Json = dict[str, Any]
AnyStatus = TestRunStatus | TestSuiteStatus | ChaosExperimentStatus | PerfGateStatus
STATUSES: dict[str, type[AnyStatus]] = {
    names.TEST_RUN: TestRunStatus,
    names.TEST_SUITE: TestSuiteStatus,
    names.CHAOS_EXPERIMENT: ChaosExperimentStatus,
    names.PERF_GATE: PerfGateStatus,
}


@dataclass(frozen=True)
class Refused:
    """A custom resource that is not acted on: its frame, and why."""

    api_version: str
    kind: str
    metadata: Metadata
    status: AnyStatus
    reason: str
    message: str


Resource = TestRun | TestSuite | ChaosExperiment | Refused


def resource(kind: str, raw: Json) -> Resource:
    """Return a custom resource as its model, or as one that is not acted on, with the reason."""
    try:
        if kind == names.TEST_RUN:
            return TestRun.model_validate(raw)
        if kind == names.TEST_SUITE:
            return TestSuite.model_validate(raw)
        if kind == names.CHAOS_EXPERIMENT:
            return ChaosExperiment.model_validate(raw)
        reason, message = names.NOT_SUPPORTED, f"{kind} is not acted on by this version"
    except ValidationError as error:
        reason, message = names.INVALID_SPEC, explain(error)
    status = STATUSES[kind].model_validate(raw.get("status") or {})
    return Refused(raw["apiVersion"], kind, Metadata.model_validate(raw["metadata"]), status, reason, message)
