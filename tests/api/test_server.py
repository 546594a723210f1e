"""The same samples, and what only a server can judge, against a real API server that has the CRDs."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.conftest import Answer, Kubectl
from api.samples import BAD, GOOD, Sample, chaos, suite
from api.test_chart import kinds, render
from api.test_samples import title
from proctor.api.chaos import ChaosExperimentSpec
from proctor.api.names import API_VERSION, GROUP, PLURALS
from proctor.api.testrun import TestRunSpec

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]


def apply(kubectl: Kubectl, namespace: str, document: dict[str, Any]) -> Answer:
    return kubectl("apply", "--dry-run=server", "-n", namespace, document=document)


def test_the_server_takes_the_crds(kubectl: Kubectl) -> None:
    """Schemas are structural, rules compile, and their estimated cost is within the server's budget."""
    done = kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", str(ROOT / "crds"))
    assert done.returncode == 0, done.stderr


def test_the_installed_crds_are_these(kubectl: Kubectl) -> None:
    for plural in PLURALS.values():
        found = json.loads(kubectl("get", "crd", f"{plural}.{GROUP}", "-o", "json").stdout)
        wanted = yaml.safe_load((ROOT / "crds" / f"{plural}.yaml").read_text())
        version, ours = found["spec"]["versions"][0], wanted["spec"]["versions"][0]
        assert version["schema"] == ours["schema"], f"{plural}: the cluster has an older release: make install"
        assert found["spec"]["names"]["categories"] == ["proctor"]


@pytest.mark.parametrize("sample", GOOD, ids=title)
def test_good_samples_are_accepted(kubectl: Kubectl, namespace: str, sample: Sample) -> None:
    done = apply(kubectl, namespace, sample.document())
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("sample", [sample for sample in BAD if sample.server], ids=title)
def test_bad_samples_are_refused_at_the_field(kubectl: Kubectl, namespace: str, sample: Sample) -> None:
    done = apply(kubectl, namespace, sample.document())
    assert done.returncode != 0
    assert sample.path in done.stderr
    assert sample.word in done.stderr


@pytest.mark.parametrize("sample", [sample for sample in BAD if not sample.server], ids=title)
def test_what_only_the_operator_refuses_is_accepted(kubectl: Kubectl, namespace: str, sample: Sample) -> None:
    """If a server learns to refuse one of these, its sample says something wrong."""
    done = apply(kubectl, namespace, sample.document())
    assert done.returncode == 0, done.stderr


def test_the_example_is_accepted(kubectl: Kubectl, namespace: str) -> None:
    done = kubectl("apply", "--dry-run=server", "-n", namespace, "-f", str(ROOT / "docs/examples/hello.yaml"))
    assert done.returncode == 0, done.stderr


# Two values of each field of a spec, on top of a base that a field may not go with.
RUN_VALUES: dict[str, tuple[Any, Any]] = {
    "suiteRef": ({"name": "a"}, {"name": "b"}),
    "suite": (suite(), suite(parallelism=9)),
    "steps": (["one"], ["one", "two"]),
    "mode": ("MOCK", "GOLDEN"),
    "seed": (0, 1),
    "trigger": ("a", "b"),
}
FAULT_VALUES: dict[str, tuple[Any, Any]] = {
    "selector": ({"matchLabels": {"a": "b"}}, {"matchLabels": {"a": "c"}}),
    "targetRef": ({"kind": "Pod", "name": "a"}, {"kind": "Pod", "name": "b"}),
    "fault": ("PodKill", "Outage"),
    "port": (1, 2),
    "driver": ("ChaosMesh", "Builtin"),
    "mode": ("All", "One"),
    "value": (1, 2),
    "seed": (0, 1),
    "duration": ("20s", "21s"),
    "limits": ({"maxCount": 2}, {"maxCount": 3}),
    "steadyState": (
        {"probes": [{"name": "a", "argv": ["true"]}]},
        {"probes": [{"name": "a", "argv": ["true", "-v"]}]},
    ),
    "recoveryTimeout": ("50s", "51s"),
}


def base(kind: str, field: str) -> dict[str, Any]:
    """Return a spec without `field`, to which it can be added."""
    match kind, field:
        case "TestRun", "suite":
            return {}
        case "TestRun", _:
            return {"suspend": True} | ({} if field == "suiteRef" else {"suiteRef": {"name": "none"}})
        case _, "selector":
            return {"fault": "PodKill"}
        case _, "targetRef":
            return {"fault": "PodKill"}
        case _, "port":
            return chaos(fault="NetworkCut")
        case _, "value":
            return chaos(mode="Fixed")
        case _:
            return chaos()


CASES = [("TestRun", field, values) for field, values in RUN_VALUES.items()]
CASES += [("ChaosExperiment", field, values) for field, values in FAULT_VALUES.items()]


def test_every_field_is_tried() -> None:
    for model, values in ((TestRunSpec, RUN_VALUES), (ChaosExperimentSpec, FAULT_VALUES)):
        aliases = {str(info.alias): name for name, info in model.model_fields.items()}
        assert {alias for alias, name in aliases.items() if name not in model.mutable_fields} == set(values)


class Live:
    """An object in the cluster, and what the server says to a change of its spec (which is never stored)."""

    def __init__(self, kubectl: Kubectl, namespace: str, kind: str, spec: dict[str, Any]) -> None:
        self.kubectl = kubectl
        self.namespace = namespace
        document = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"generateName": "fixed-"}, "spec": spec}
        made = kubectl("create", "-n", namespace, "-o", "json", document=document)
        assert made.returncode == 0, made.stderr
        self.document = json.loads(made.stdout)
        self.document["metadata"] = {
            key: value for key, value in self.document["metadata"].items() if key in ("name", "namespace")
        }

    def change(self, **fields: Any) -> Answer:
        """Replace the object by one whose spec has these fields; None removes a field."""
        document = deepcopy(self.document)
        document["spec"] = {key: value for key, value in (document["spec"] | fields).items() if value is not None}
        for _ in range(10):
            answer = self.kubectl("replace", "--dry-run=server", "-n", self.namespace, document=document)
            # The operator may write the status between kubectl's read and its write: that says nothing of the spec.
            if "the object has been modified" not in answer.stderr:
                break
        return answer


@pytest.mark.parametrize(("kind", "field", "values"), CASES, ids=[f"{kind}.{field}" for kind, field, _ in CASES])
def test_a_field_cannot_be_added_changed_or_removed(
    kubectl: Kubectl, namespace: str, kind: str, field: str, values: tuple[Any, Any]
) -> None:
    without = base(kind, field)
    present = Live(kubectl, namespace, kind, without | {field: values[0]})
    assert present.change().returncode == 0, "replacing an object by itself"
    answers = {"change": present.change(**{field: values[1]})}
    if not (kind == "ChaosExperiment" and field == "fault"):  # the one field that is required
        answers["remove"] = present.change(**{field: None})
    alternative = {"suite": "suiteRef", "suiteRef": "suite", "selector": "targetRef", "targetRef": "selector"}
    if field in alternative:
        # The two exclude each other, so that "added" means "one for the other".
        other = alternative[field]
        values_of = RUN_VALUES if kind == "TestRun" else FAULT_VALUES
        absent = Live(kubectl, namespace, kind, without | {other: values_of[other][0]})
        answers["add"] = absent.change(**{field: values[0], other: None})
    elif field not in ("fault", "port", "value"):  # port and value cannot be absent where they are allowed
        answers["add"] = Live(kubectl, namespace, kind, without).change(**{field: values[0]})
    for action, answer in answers.items():
        assert answer.returncode != 0, f"{action}: accepted"
        assert "immutable" in answer.stderr, f"{action}: {answer.stderr}"


def test_parts_that_kubernetes_validates_are_immutable_too(kubectl: Kubectl, namespace: str) -> None:
    """CEL compares typed objects with unknown fields by the keys that both have: then this change would pass."""
    limits, requests = ({key: {"cpu": "1"}} for key in ("limits", "requests"))
    run = Live(kubectl, namespace, "TestRun", {"suspend": True, "suite": suite(runner={"resources": limits})})
    assert "immutable" in run.change(suite=suite(runner={"resources": requests})).stderr


def test_a_run_can_be_suspended_and_resumed_but_not_unaborted(kubectl: Kubectl, namespace: str) -> None:
    run = Live(kubectl, namespace, "TestRun", {"suiteRef": {"name": "none"}, "suspend": True})
    assert run.change(suspend=False).returncode == 0
    assert run.change(suspend=None).returncode == 0
    assert run.change(abort=True).returncode == 0
    aborted = Live(kubectl, namespace, "TestRun", {"suiteRef": {"name": "none"}, "abort": True})
    for value in (False, None):
        assert "abort cannot be taken back" in aborted.change(abort=value).stderr


def test_runs_can_be_selected_by_trigger(kubectl: Kubectl, namespace: str) -> None:
    for trigger in ("Here", "There"):
        Live(kubectl, namespace, "TestRun", {"suiteRef": {"name": "none"}, "suspend": True, "trigger": trigger})
    found = kubectl("get", f"testruns.{GROUP}", "-n", namespace, "--field-selector=spec.trigger=Here", "-o", "json")
    assert [item["spec"]["trigger"] for item in json.loads(found.stdout)["items"]] == ["Here"]


def test_short_names_and_category(kubectl: Kubectl, namespace: str) -> None:
    for name in ("psuite", "prun", "pchaos", "pgate", "proctor"):
        done = kubectl("get", name, "-n", namespace)
        assert done.returncode == 0, done.stderr


def test_the_operators_pod_is_restricted(kubectl: Kubectl, namespace: str) -> None:
    """Pod Security judges the very template of the chart."""
    level = "pod-security.kubernetes.io/enforce=restricted"
    assert kubectl("label", "namespace", namespace, level).returncode == 0
    try:
        pod = deepcopy(operator_pod())
        done = kubectl("create", "--dry-run=server", "-n", namespace, document=pod)
        assert done.returncode == 0, done.stderr
        del pod["spec"]["containers"][0]["securityContext"]
        refused = kubectl("create", "--dry-run=server", "-n", namespace, document=pod)
        assert "restricted" in refused.stderr
    finally:
        kubectl("label", "namespace", namespace, level.partition("=")[0] + "-")


def operator_pod() -> dict[str, Any]:
    (deployment,) = kinds(render(), "Deployment")
    template = deployment["spec"]["template"]
    # The service account is in the release's namespace, and Pod Security does not look at it.
    del template["spec"]["serviceAccountName"]
    template["spec"]["automountServiceAccountToken"] = False
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator"}, "spec": template["spec"]}
