"""What each pod may and may not: the Pod Security Standard `restricted`, no token, bounds and probes."""

from typing import Any

from _fixtures.evidence import Evidence
from _helpers.kube import Object, name_of
from _helpers.properties import Property, check

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
LIVELY = {"livenessProbe", "readinessProbe"}


def _containers(pod: Object) -> list[dict[str, Any]]:
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def _security(pod: Object, container: dict[str, Any], field: str) -> Any:
    """A field of a container's security context, or of its pod's where the container does not say."""
    own, shared = container.get("securityContext") or {}, pod["spec"].get("securityContext") or {}
    return own[field] if field in own else shared.get(field)


def test_containers_are_restricted(pods: list[Object], evidence: Evidence) -> None:
    """No privilege, no escalation, every capability dropped, not root, the runtime's seccomp profile, a read-only root.

    After https://kubernetes.io/docs/concepts/security/pod-security-standards/ (Restricted), and the read-only root.
    """
    for pod in pods:
        for container in _containers(pod):
            own = container.get("securityContext") or {}
            seen = {
                "privileged": own.get("privileged", False),
                "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation", True),
                "drop": (own.get("capabilities") or {}).get("drop", []),
                "add": [c for c in (own.get("capabilities") or {}).get("add", []) if c != "NET_BIND_SERVICE"],
                "runAsNonRoot": _security(pod, container, "runAsNonRoot"),
                "root": _security(pod, container, "runAsUser") == 0,
                "seccomp": (_security(pod, container, "seccompProfile") or {}).get("type")
                in ("RuntimeDefault", "Localhost"),
                "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem", False),
            }
            expected = {
                "privileged": False,
                "allowPrivilegeEscalation": False,
                "drop": ["ALL"],
                "add": [],
                "runAsNonRoot": True,
                "root": False,
                "seccomp": True,
                "readOnlyRootFilesystem": True,
            }
            wrong = {field: seen[field] for field in expected if seen[field] != expected[field]}
            where = f"{name_of(pod)}/{container['name']}"
            check(not wrong, Property.POD_SECURITY, f"{where} has {wrong}, expected {[expected[f] for f in wrong]}")
            evidence("containers")
    evidence("pods", len(pods))


def test_pods_share_nothing_with_their_node(pods: list[Object], evidence: Evidence) -> None:
    """No namespace of the host, no port of it, no volume from it."""
    for pod in pods:
        spec = pod["spec"]
        shared = [field for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
        check(not shared, Property.POD_SECURITY, f"{name_of(pod)} shares {shared} with its node")
        kinds = {kind for volume in spec.get("volumes", []) for kind in volume if kind != "name"} - VOLUMES
        check(not kinds, Property.POD_SECURITY, f"{name_of(pod)} has volumes of the kinds {sorted(kinds)}")
        ports = [p["hostPort"] for c in _containers(pod) for p in c.get("ports", []) if p.get("hostPort")]
        check(not ports, Property.POD_SECURITY, f"{name_of(pod)} takes the ports {ports} of its node")
    evidence("pods", len(pods))


def test_pods_have_no_token(pods: list[Object], evidence: Evidence) -> None:
    """No pod of the target has a token of the Kubernetes API, by itself or by name, nor is it told of all Services."""
    for pod in pods:
        spec = pod["spec"]
        mounted = spec.get("automountServiceAccountToken")
        check(mounted is False, Property.POD_SECURITY, f"{name_of(pod)}: automountServiceAccountToken is {mounted}")
        sources = [s for v in spec.get("volumes", []) for s in (v.get("projected") or {}).get("sources", [])]
        tokens = [source for source in sources if "serviceAccountToken" in source]
        check(not tokens, Property.POD_SECURITY, f"{name_of(pod)} has {len(tokens)} projected tokens, expected 0")
        links = spec.get("enableServiceLinks")
        check(links is False, Property.POD_SECURITY, f"{name_of(pod)}: enableServiceLinks is {links}")
    evidence("pods", len(pods))


def test_containers_are_bounded(pods: list[Object], evidence: Evidence) -> None:
    """Every container asks for CPU and memory, and has a bound for its memory that is no less."""
    for pod in pods:
        for container in _containers(pod):
            resources, where = container.get("resources") or {}, f"{name_of(pod)}/{container['name']}"
            asked, bound = set(resources.get("requests") or {}), set(resources.get("limits") or {})
            check({"cpu", "memory"} <= asked, Property.POD_SECURITY, f"{where} asks for {sorted(asked)}")
            check("memory" in bound, Property.POD_SECURITY, f"{where} has no bound for its memory")
            evidence("containers")
    evidence("pods", len(pods))


def test_containers_are_probed(pods: list[Object], evidence: Evidence) -> None:
    """Every serving container has a liveness and a readiness probe, and time to start before the first kills it."""
    for pod in pods:
        for container in pod["spec"]["containers"]:
            where, missing = f"{name_of(pod)}/{container['name']}", sorted(LIVELY - set(container))
            check(not missing, Property.READINESS, f"{where} has no {missing}")
            liveness, startup = container["livenessProbe"], container.get("startupProbe", {})
            start = startup.get("periodSeconds", 0) * startup.get("failureThreshold", 0)
            start += liveness.get("initialDelaySeconds", 0)
            check(start >= 30, Property.READINESS, f"{where} is killed if it needs more than {start} s to start")
            evidence("containers")
    evidence("pods", len(pods))


def test_pods_run_and_have_not_died(pods: list[Object], evidence: Evidence) -> None:
    """Each pod is Ready, and no container of it was ended for what it took or did."""
    for pod in pods:
        conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}
        check(conditions.get("Ready") == "True", Property.ROLLOUT, f"{name_of(pod)} is not Ready: {conditions}")
        for status in pod["status"]["containerStatuses"]:
            last = (status.get("lastState") or {}).get("terminated") or {}
            killed = last.get("reason") == "OOMKilled"
            check(not killed, Property.ROLLOUT, f"{name_of(pod)}/{status['name']} was killed for its memory")
            evidence("containers")
    evidence("pods", len(pods))
