"""Readiness: what Kubernetes sends requests to is what says that it can serve, and says so after asking its servers."""

import httpx
import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform
from _helpers.kube import Cluster, Object, matches, name_of
from _helpers.properties import Property, check
from _helpers.readiness import probe

DEPENDENT = ["gateway", "orchestrator", "tools", "dlq"]
"""Roles that cannot serve without the database."""


@pytest.fixture
def serving(workloads: list[Object], pods: list[Object]) -> dict[str, list[tuple[Object, str]]]:
    """Pods of each dependent role, with the URL of their readiness probe."""
    found = {}
    for workload in workloads:
        if name_of(workload) in DEPENDENT:
            ours = [pod for pod in pods if matches(pod["metadata"]["labels"], workload["spec"]["selector"])]
            found[name_of(workload)] = [(pod, _readiness_url(pod)) for pod in ours]
    return found


def _readiness_url(pod: Object) -> str:
    (container,) = pod["spec"]["containers"]
    ask = container["readinessProbe"]["httpGet"]
    ports = {port.get("name"): port["containerPort"] for port in container.get("ports", [])}
    return f"http://{pod['status']['podIP']}:{ports.get(ask['port'], ask['port'])}{ask.get('path', '/')}"


def test_readiness_is_not_liveness(workloads: list[Object], evidence: Evidence) -> None:
    """A role that needs other servers is asked another question for `ready` than for `alive`.

    One question for both either sends requests to a pod that lost its database, or kills the pod for it.
    """
    looked = 0
    for workload in workloads:
        if name_of(workload) not in DEPENDENT:
            continue
        (container,) = workload["spec"]["template"]["spec"]["containers"]
        ready, alive = (container[kind].get("httpGet", {}).get("path") for kind in ("readinessProbe", "livenessProbe"))
        check(ready != alive, Property.READINESS, f"{name_of(workload)} is ready when {ready} answers, as it is alive")
        looked += 1
    check(looked == len(DEPENDENT), Property.READINESS, f"{looked} of the roles {DEPENDENT} are there")
    evidence("workloads", looked)


@pytest.mark.parametrize("role", DEPENDENT)
def test_readiness_asks_the_database(
    platform: Platform, serving: dict[str, list[tuple[Object, str]]], evidence: Evidence, role: str
) -> None:
    """What a pod answers to its readiness probe cost the database a scan: it cannot be told without asking."""
    for pod, url in serving[role]:
        with httpx.Client(timeout=10) as http:
            sent, good, scans = probe(platform.database, http, url)
        check(good == sent, Property.READINESS, f"{name_of(pod)}: {good} of {sent} probes were answered 200")
        told = f"{name_of(pod)} was asked {sent} times, the database {scans} times meanwhile"
        check(2 * scans >= sent, Property.READINESS, told)
        evidence("probes", sent)


def test_endpoints_are_ready_as_their_pods_are(cluster: Cluster, pods: list[Object], evidence: Evidence) -> None:
    """An address of a Service is ready exactly when its pod is, and a headless Service names those that are not too."""
    ready = {
        pod["status"]["podIP"]: any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"])
        for pod in pods
    }
    looked = 0
    for piece in cluster.list("endpointslices"):
        service = piece["metadata"]["labels"]["kubernetes.io/service-name"]
        for endpoint in [] if service.endswith("-pods") else piece.get("endpoints") or []:
            for address in endpoint["addresses"]:
                told, seen = endpoint["conditions"].get("ready"), ready.get(address)
                check(told == seen, Property.READINESS, f"{service}: {address} is ready {told}, its pod {seen}")
                looked += 1
    check(looked > 0, Property.READINESS, "no Service of the target has an address")
    evidence("endpoints", looked)
