"""What was declared is what runs, and every pod of it is found."""

from collections import defaultdict

from _fixtures.evidence import Evidence
from _helpers.kube import Cluster, Object, matches, name_of
from _helpers.properties import Property, check

ROLES = {"gateway", "router", "orchestrator", "tools", "dlq", "cassette", "model"}
REVISIONS = ("pod-template-hash", "controller-revision-hash")


def _of(workload: Object, pods: list[Object]) -> list[Object]:
    return [pod for pod in pods if matches(pod["metadata"]["labels"], workload["spec"]["selector"])]


def test_rollouts_are_complete(workloads: list[Object], pods: list[Object], evidence: Evidence) -> None:
    """The controller has seen the latest spec; as many pods as declared are updated, ready and there, and no more."""
    known = {name_of(workload) for workload in workloads}
    check(known >= ROLES, Property.ROLLOUT, f"the roles {sorted(ROLES - known)} have no Deployment")
    for workload in workloads:
        name, status, declared = name_of(workload), workload["status"], workload["spec"]["replicas"]
        generation, seen = workload["metadata"]["generation"], status.get("observedGeneration")
        check(seen == generation, Property.ROLLOUT, f"{name}: generation {seen} is observed, {generation} declared")
        counts = {
            key: status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        }
        same = set(counts.values()) == {declared}
        check(same, Property.ROLLOUT, f"{name}: {counts}, expected {declared} of each")
        check(declared > 0, Property.ROLLOUT, f"{name} is declared with no pod")
        running = len(_of(workload, pods))
        check(running == declared, Property.ROLLOUT, f"{name}: {running} pods, expected {declared}")
        evidence("workloads")


def test_progress_did_not_fail(workloads: list[Object], evidence: Evidence) -> None:
    """Every Deployment is Available and its last rollout came to an end."""
    deployments = [workload for workload in workloads if "strategy" in workload["spec"]]
    for deployment in deployments:
        conditions = {c["type"]: (c["status"], c.get("reason")) for c in deployment["status"].get("conditions", [])}
        available, progress = conditions.get("Available"), conditions.get("Progressing")
        good = available == ("True", "MinimumReplicasAvailable") and progress == ("True", "NewReplicaSetAvailable")
        check(good, Property.ROLLOUT, f"{name_of(deployment)}: Available {available}, Progressing {progress}")
        evidence("workloads")
    check(len(deployments) > 0, Property.ROLLOUT, "the target has no Deployment")


def test_pods_of_a_role_run_one_image(workloads: list[Object], pods: list[Object], evidence: Evidence) -> None:
    """All pods of a workload have one revision, the declared image and one digest, so none is left of the last one."""
    for workload in workloads:
        ours = _of(workload, pods)
        revisions = {pod["metadata"]["labels"].get(key) for pod in ours for key in REVISIONS} - {None}
        check(
            len(revisions) == 1,
            Property.ROLLOUT,
            f"{name_of(workload)}: pods of {len(revisions)} revisions, expected 1",
        )
        declared = {c["name"]: c["image"] for c in workload["spec"]["template"]["spec"]["containers"]}
        images = {c["name"]: c["image"] for pod in ours for c in pod["spec"]["containers"]}
        check(images == declared, Property.ROLLOUT, f"{name_of(workload)} runs {images}, declared {declared}")
        digests = defaultdict(set)
        for pod in ours:
            for status in pod["status"]["containerStatuses"]:
                digests[status["name"]].add(status["imageID"])
        several = {name: sorted(ids) for name, ids in digests.items() if len(ids) != 1 or "" in ids}
        check(not several, Property.ROLLOUT, f"{name_of(workload)} runs several digests: {several}")
        evidence("pods", len(ours))


def test_services_find_every_pod(
    cluster: Cluster, workloads: list[Object], pods: list[Object], evidence: Evidence
) -> None:
    """The Service of a workload and its headless twin have exactly the addresses of its pods."""
    services = {name_of(service): service for service in cluster.list("services")}
    slices: dict[str, list[Object]] = defaultdict(list)
    for piece in cluster.list("endpointslices"):
        slices[piece["metadata"]["labels"]["kubernetes.io/service-name"]] += piece.get("endpoints") or []
    for workload in workloads:
        expected = sorted(pod["status"]["podIP"] for pod in _of(workload, pods))
        for name in (name_of(workload), f"{name_of(workload)}-pods"):
            check(name in services, Property.ROLLOUT, f"there is no Service {name}")
            headless = services[name]["spec"].get("clusterIP") == "None"
            check(headless == name.endswith("-pods"), Property.ROLLOUT, f"Service {name}: headless is {headless}")
            found = sorted(address for endpoint in slices[name] for address in endpoint["addresses"])
            check(found == expected, Property.ROLLOUT, f"Service {name} has {found}, the pods are {expected}")
            evidence("endpoints", len(found))


def test_disruption_budgets_can_be_kept(cluster: Cluster, pods: list[Object], evidence: Evidence) -> None:
    """A PodDisruptionBudget, where there is one, chooses pods and is kept now; a node can be drained in spite of it."""
    for budget in cluster.list("poddisruptionbudgets"):
        chosen = [pod for pod in pods if matches(pod["metadata"]["labels"], budget["spec"].get("selector") or {})]
        check(len(chosen) > 0, Property.ROLLOUT, f"the budget {name_of(budget)} chooses no pod")
        status = budget["status"]
        kept = status["currentHealthy"] >= status["desiredHealthy"]
        check(kept, Property.ROLLOUT, f"the budget {name_of(budget)} is not kept: {status}")
        allowed = status["disruptionsAllowed"]
        check(allowed > 0, Property.ROLLOUT, f"the budget {name_of(budget)} lets no pod go, so no node can be drained")
        evidence("budgets")
    two = [name for name in ("gateway", "orchestrator") if sum(_is(pod, name) for pod in pods) < 2]
    check(not two, Property.ROLLOUT, f"{two} have fewer than two pods, so a drained node stops them")
    evidence("pods", len(pods))


def _is(pod: Object, name: str) -> bool:
    found: bool = pod["metadata"]["labels"].get("app.kubernetes.io/name") == name
    return found
