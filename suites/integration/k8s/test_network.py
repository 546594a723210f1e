"""Who may reach whom, by the NetworkPolicies: servers and internal roles are for those that need them."""

from typing import Any

import pytest
from _fixtures.evidence import Evidence
from _helpers.kube import Cluster, Object, matches, name_of
from _helpers.properties import Property, check

CLIENTS: dict[str, set[str]] = {
    "postgres": {"gateway", "orchestrator", "tools", "dlq", "preload"},
    "nats": {"gateway", "orchestrator", "dlq"},
    "redis": {"gateway"},
    "tools": {"gateway", "orchestrator", "prometheus"},
    "router": {"orchestrator", "prometheus"},
    "model": {"cassette", "prometheus"},
    "cassette": {"orchestrator", "prometheus"},
    "dlq": {"prometheus"},
}
"""Components of the target that may open connections to one. Pods of a run may too, by their label."""


def _peers(pod: Object, policies: list[Object]) -> list[dict[str, Any]] | None:
    """Peers that the policies of a pod let in; None if there is no policy, or one that lets everybody in."""
    labels = pod["metadata"]["labels"]
    ours = [
        policy["spec"]
        for policy in policies
        if matches(labels, policy["spec"]["podSelector"]) and "Ingress" in policy["spec"]["policyTypes"]
    ]
    rules = [rule for spec in ours for rule in spec.get("ingress") or []]
    if not ours or any(not rule.get("from") for rule in rules):
        return None
    return [peer for rule in rules for peer in rule["from"]]


def _lets_in(peers: list[dict[str, Any]], labels: dict[str, str]) -> bool:
    """Whether a pod of the target's own namespace with these labels may come in."""
    return any("ipBlock" not in peer and matches(labels, peer.get("podSelector") or {}) for peer in peers)


@pytest.mark.parametrize("server", CLIENTS)
def test_server_is_reached_by_its_clients_only(
    cluster: Cluster, pods: list[Object], evidence: Evidence, server: str
) -> None:
    """Of all components, those that need this one may come in, and no other; a stranger may not."""
    policies = cluster.list("networkpolicies", selector="")
    ours = [pod for pod in pods if pod["metadata"]["labels"].get("app.kubernetes.io/name") == server]
    check(len(ours) > 0, Property.ROLLOUT, f"there is no pod of {server}")
    components = {
        pod["metadata"]["labels"].get("app.kubernetes.io/component"): pod["metadata"]["labels"] for pod in pods
    }
    for pod in ours:
        peers = _peers(pod, policies)
        check(peers is not None, Property.NETWORK_CLOSED, f"any pod may reach {name_of(pod)}, expected a policy")
        for name, stranger in {"no labels": {}, "another's": {"app": "other"}}.items():
            check(not _lets_in(peers, stranger), Property.NETWORK_CLOSED, f"a pod with {name} may reach {server}")
        allowed = {name for name, labels in components.items() if _lets_in(peers, labels)}
        extra, missing = sorted(allowed - CLIENTS[server]), sorted((CLIENTS[server] & set(components)) - allowed)
        check(not extra, Property.NETWORK_CLOSED, f"{extra} may reach {server} and need not")
        check(not missing, Property.NETWORK_CLOSED, f"{missing} need {server} and may not reach it")
        evidence("policies")


def test_every_pod_is_closed_or_open_on_purpose(cluster: Cluster, pods: list[Object], evidence: Evidence) -> None:
    """Each pod of the target is chosen by a policy; only the gateway is open, and on its one port."""
    policies = cluster.list("networkpolicies", selector="")
    opened = set()
    for pod in pods:
        labels = pod["metadata"]["labels"]
        chosen = [policy for policy in policies if matches(labels, policy["spec"]["podSelector"])]
        check(len(chosen) > 0, Property.NETWORK_CLOSED, f"no policy is about {name_of(pod)}, so any pod may reach it")
        for policy in chosen:
            for rule in policy["spec"].get("ingress") or []:
                if not rule.get("from"):
                    opened.add((labels["app.kubernetes.io/component"], *(p["port"] for p in rule.get("ports", []))))
        evidence("policies", len(chosen))
    check(opened == {("gateway", "http")}, Property.NETWORK_CLOSED, f"open to everybody: {sorted(opened)}")
