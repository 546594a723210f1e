"""The Kubernetes objects of the target, by the API of its cluster; nothing is changed."""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

Object = dict[str, Any]
GROUPS = {
    "pods": "api/v1",
    "services": "api/v1",
    "deployments": "apis/apps/v1",
    "statefulsets": "apis/apps/v1",
    "endpointslices": "apis/discovery.k8s.io/v1",
    "networkpolicies": "apis/networking.k8s.io/v1",
    "poddisruptionbudgets": "apis/policy/v1",
}
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod has the token of its service account."""
PART_OF = "app.kubernetes.io/part-of=bazaar"


@dataclass(frozen=True)
class Cluster:
    """The API server, and the namespace of the target."""

    http: httpx.Client = field(repr=False)
    namespace: str

    def list(self, resource: str, selector: str = PART_OF) -> list[Object]:
        """The objects of a kind with the given labels. Raises RuntimeError if the server does not give them."""
        path = f"/{GROUPS[resource]}/namespaces/{self.namespace}/{resource}"
        try:
            answer = self.http.get(path, params={"labelSelector": selector})
        except httpx.TransportError as error:
            raise RuntimeError(f"the API server ({self.http.base_url}) does not answer: {error!r}") from error
        if answer.status_code != 200:
            raise RuntimeError(f"GET {path} gave {answer.status_code}, expected 200: is rbac.yaml applied?")
        items: list[Object] = answer.json()["items"]
        return items


def open_cluster() -> Cluster:
    """The cluster of this pod, by its service account, or the one that PROCTOR_KUBE_URL names (`kubectl proxy`).

    PROCTOR_KUBE_NAMESPACE is where the target is, by default the pod's own namespace. Raises RuntimeError that says
    what is missing.
    """
    namespace = os.environ.get("PROCTOR_KUBE_NAMESPACE", "")
    if url := os.environ.get("PROCTOR_KUBE_URL"):
        return Cluster(httpx.Client(base_url=url, timeout=15), namespace or "bazaar")
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    if host is None or not (ACCOUNT / "token").exists():
        message = "not set: PROCTOR_KUBE_URL (see suites/README.md); in a pod: its step has no serviceAccountName"
        raise RuntimeError(message)
    base = f"https://{host}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"}
    verify = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    http = httpx.Client(base_url=base, headers=headers, verify=verify, timeout=15)
    return Cluster(http, namespace or (ACCOUNT / "namespace").read_text())


def name_of(item: Mapping[str, Any]) -> str:
    """An object's own name."""
    name: str = item["metadata"]["name"]
    return name


def matches(labels: Mapping[str, str], selector: Mapping[str, Any]) -> bool:
    """Whether a selector's matchLabels and matchExpressions choose these labels."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_expression(labels, expression) for expression in selector.get("matchExpressions") or [])


def _expression(labels: Mapping[str, str], expression: Mapping[str, Any]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels
