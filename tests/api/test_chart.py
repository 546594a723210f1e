"""What the chart makes: rendered by the helm that comes with the cluster."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
IMAGES = ["--set", "images.operator=localhost/operator:1,images.runner=localhost/runner:1"]

pytestmark = pytest.mark.e2e


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("helm")
    assert program is not None, "helm comes with the cluster: PATH=$(python -m cluster bin):$PATH"
    argv = [program, "template", "proctor", str(ROOT / "helm/proctor"), "--namespace", "proctor-system", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def render(*arguments: str) -> list[dict[str, Any]]:
    done = helm(*IMAGES, *arguments)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def kinds(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [document for document in documents if document["kind"] == kind]


def container(documents: list[dict[str, Any]]) -> dict[str, Any]:
    (deployment,) = kinds(documents, "Deployment")
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


def test_crds_are_in_the_release_unless_switched_off() -> None:
    crds = kinds(render(), "CustomResourceDefinition")
    assert len(crds) == 4
    assert all(crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for crd in crds)
    assert kinds(render("--set", "crds.install=false"), "CustomResourceDefinition") == []


def test_rights_are_the_least() -> None:
    rules = [
        (group, resource, set(rule["verbs"]))
        for role in kinds(render(), "ClusterRole") + kinds(render(), "Role")
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    ]
    assert not [rule for rule in rules if "*" in (rule[0], rule[1]) or "*" in rule[2]]
    resources = {resource for _, resource, _ in rules}
    never = {"secrets", "roles", "clusterroles", "rolebindings", "pods/exec", "serviceaccounts/token", "nodes"}
    assert not resources & (never | {"namespaces", "customresourcedefinitions"})
    verbs = {resource: set[str]().union(*(v for _, r, v in rules if r == resource)) for resource in resources}
    assert verbs["configmaps"] == {"get", "create"}
    assert verbs["pods"] == {"get", "list", "watch", "create"}
    assert verbs["jobs"] == {"get", "list", "watch", "create", "delete"}


def test_status_is_the_operators_alone() -> None:
    for role in kinds(render(), "ClusterRole"):
        if "rbac.authorization.k8s.io/aggregate-to-edit" in role["metadata"]["labels"]:
            assert not [resource for rule in role["rules"] for resource in rule["resources"] if "/" in resource]


def test_watched_namespaces_bound_rights_and_watches() -> None:
    everywhere = render()
    assert [binding["metadata"]["name"] for binding in kinds(everywhere, "ClusterRoleBinding")] == ["proctor"]
    assert "--all-namespaces" in container(everywhere)["command"]
    some = render("--set", "watchNamespaces={team-a,team-b}")
    assert kinds(some, "ClusterRoleBinding") == []
    bound = [binding["metadata"]["namespace"] for binding in kinds(some, "RoleBinding")]
    assert sorted(bound) == ["proctor-system", "team-a", "team-b"]
    command = container(some)["command"]
    assert {"--namespace=team-a", "--namespace=team-b"} <= set(command)
    assert "--all-namespaces" not in command
    environment = {item["name"]: item.get("value") for item in container(some)["env"]}
    assert environment["PROCTOR_NAMESPACES"] == "team-a,team-b"
    assert environment["PROCTOR_MAX_PODS"] == "50"
    assert environment["PROCTOR_RUNNER_IMAGE"] == "localhost/runner:1"


def test_wrong_values_are_refused_by_name() -> None:
    assert "images.operator is empty" in helm().stderr
    for wrong, word in (("maxPods=0", "/maxPods"), ("logLevel=Loud", "/logLevel"), ("maxPod=3", "maxPod")):
        done = helm(*IMAGES, "--set", wrong)
        assert done.returncode != 0
        assert word in done.stderr


def test_monitoring_is_off_until_asked_for() -> None:
    assert kinds(render(), "ServiceMonitor") == kinds(render(), "NetworkPolicy") == []
    asked = render("--set", "metrics.serviceMonitor.enabled=true,networkPolicy.enabled=true")
    assert len(kinds(asked, "ServiceMonitor")) == len(kinds(asked, "NetworkPolicy")) == 1
