"""A run's plan: the suite as it was when the run was planned, narrowed to the run's steps, mode and seed.

The plan is stored once in an immutable ConfigMap. The operator reads it back instead of the suite, and the runner
reads the same document in its pod, so neither can see an edit of the suite made while the run goes on.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import ValidationError

from proctor.api import names
from proctor.api.base import explain
from proctor.api.chaos import ChaosExperimentSpec
from proctor.api.scalars import Impact, Mode, StepKind, seconds
from proctor.api.step import Source, Step
from proctor.api.testrun import TestRun
from proctor.api.testsuite import TestSuite, TestSuiteSpec
from proctor.core.errors import InvalidSpec

VERSION = 1
VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
"""The kinds of volumes that Pod Security `restricted` allows."""


@dataclass(frozen=True)
class Plan:
    """What a run will do. `spec.steps` holds only the steps of this run."""

    suite: str
    spec: TestSuiteSpec
    mode: Mode
    seed: int
    digest: str

    def step(self, name: str) -> Step:
        """Return the step called `name`; KeyError when there is none."""
        for step in self.spec.steps:
            if step.name == name:
                return step
        raise KeyError(name)


def make(run: TestRun, suite: TestSuite | None, today: date) -> Plan:
    """Return the plan of `run`. Quarantines that expired before `today` are left out.

    Raises InvalidSpec when the run names steps that the suite lacks, or asks for what this version cannot do.
    """
    spec = run.spec.suite if run.spec.suite is not None else (suite.spec if suite is not None else None)
    if spec is None:
        wanted = run.spec.suite_ref.name if run.spec.suite_ref else ""
        raise InvalidSpec(names.SUITE_NOT_FOUND, f"spec.suiteRef: there is no TestSuite {wanted!r} in this namespace")
    known = {step.name for step in spec.steps}
    chosen = set(run.spec.steps) or known
    if unknown := sorted(chosen - known):
        raise InvalidSpec(names.INVALID_SPEC, f"spec.steps: the suite has no step {', '.join(unknown)}")
    steps = [step for step in spec.steps if step.name in chosen]
    for step in steps:
        if missing := sorted(set(step.after) - chosen):
            raise InvalidSpec(
                names.INVALID_SPEC,
                f"spec.steps: {step.name} waits for {', '.join(missing)} (after), so name {', '.join(missing)} too",
            )
    check_supported(spec)
    quarantine = [entry for entry in spec.quarantine if date.fromisoformat(entry.expires) >= today]
    spec = spec.model_copy(update={"steps": steps, "quarantine": quarantine})
    text = json.dumps(spec.model_dump(mode="json", by_alias=True), sort_keys=True)
    return Plan(
        suite="(inline)" if run.spec.suite is not None else (run.spec.suite_ref.name if run.spec.suite_ref else ""),
        spec=spec,
        mode=run.spec.mode or spec.mode,
        seed=run.spec.seed if run.spec.seed is not None else _seed_of(run.metadata.uid),
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )


def check_supported(spec: TestSuiteSpec) -> None:
    """Raise InvalidSpec for promised parts that this version does not carry out: refusing beats ignoring."""
    for index, step in enumerate(spec.steps):
        where = f"spec.steps[{index}]"
        if step.kind is not StepKind.PYTEST:
            raise InvalidSpec(names.NOT_SUPPORTED, f"{where}.kind: {step.kind} is not available in this version")
        for number, chaos in enumerate(step.chaos):
            _check_fault(f"{where}.chaos[{number}].template", chaos.template)
        if step.gates:
            raise InvalidSpec(names.NOT_SUPPORTED, f"{where}.gates: gates are not available in this version")
    if spec.impact is not Impact.DISABLED:
        raise InvalidSpec(names.NOT_SUPPORTED, f"spec.impact: {spec.impact} is not available in this version")
    for index, volume in enumerate(spec.runner.pod_template.volumes if spec.runner.pod_template else ()):
        _check_volume(f"spec.runner.podTemplate.volumes[{index}]", volume)


def _check_fault(where: str, template: dict[str, Any]) -> None:
    """Refuse the spec of a ChaosExperiment that the API server would refuse when its time has come."""
    try:
        ChaosExperimentSpec.model_validate(template)
    except ValidationError as error:
        raise InvalidSpec(names.INVALID_SPEC, f"{where}: {explain(error)}") from None


def _check_volume(where: str, volume: dict[str, Any]) -> None:
    """Refuse what would lift the pod out of Pod Security `restricted`, whatever its namespace enforces."""
    kinds = set(volume) - {"name"}
    if not kinds or kinds - VOLUMES:
        found = ", ".join(sorted(kinds - VOLUMES)) or "no kind"
        raise InvalidSpec(names.INVALID_SPEC, f"{where}: {found}; allowed are {', '.join(sorted(VOLUMES))}")
    sources = (volume.get("projected") or {}).get("sources") or []
    if any("serviceAccountToken" in source for source in sources):
        raise InvalidSpec(names.INVALID_SPEC, f"{where}: serviceAccountToken; runner pods hold no API token")


def document(run: TestRun, plan: Plan) -> dict[str, Any]:
    """Return the plan as the JSON document that the runner reads (docs/runner.md) and `load` reads back."""
    spec = plan.spec
    return {
        "version": VERSION,
        "run": {
            "uid": run.metadata.uid,
            "name": run.metadata.name,
            "namespace": run.metadata.namespace,
            "suite": plan.suite,
        },
        "seed": plan.seed,
        "mode": plan.mode.value,
        "digest": plan.digest,
        "target": {
            "name": spec.target.name,
            "endpoints": [endpoint.model_dump(mode="json") for endpoint in spec.target.endpoints],
        },
        "steps": [_step_document(step, [entry.test for entry in spec.quarantine]) for step in spec.steps],
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True),
    }


def load(value: dict[str, Any]) -> Plan:
    """Return the plan in a document. Raises ValueError for a version or shape that is not ours."""
    if value.get("version") != VERSION:
        raise ValueError(f"plan version {value.get('version')!r} is unknown, this operator reads version {VERSION}")
    return Plan(
        suite=value["run"]["suite"],
        spec=TestSuiteSpec.model_validate(value["spec"]),
        mode=Mode(value["mode"]),
        seed=value["seed"],
        digest=value["digest"],
    )


def _step_document(step: Step, quarantine: list[str]) -> dict[str, Any]:
    return {
        "name": step.name,
        "path": step.path,
        "args": list(step.args),
        "shards": step.shards,
        "timeoutSeconds": seconds(step.timeout),
        "retry": {
            "attempts": step.retry.attempts,
            "backoffSeconds": seconds(step.retry.backoff),
            "factor": step.retry.factor,
            "maxBackoffSeconds": seconds(step.retry.max_backoff),
        },
        "source": _source_document(step.source),
        "evidence": sorted(step.evidence),
        "quarantine": quarantine,
    }


def _source_document(source: Source) -> dict[str, str]:
    if source.git is not None:
        return {"kind": "Git", "url": source.git.url, "ref": source.git.ref, "path": source.git.path}
    return {"kind": "Image" if source.config_map_ref is None else "ConfigMap"}


def _seed_of(uid: str) -> int:
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4], "big") % 2**31
