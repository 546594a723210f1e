"""The API server's JSON for what an experiment concerns -> the few facts that its decisions need."""

from typing import Any

from proctor.api import names
from proctor.core.chaos.observed import Agent, HelperPod, MeshFault, Surroundings, TargetPod
from proctor.edge import parse
from proctor.edge.parse import time_of

Json = dict[str, Any]
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
STATIC = "kubernetes.io/config.mirror"
ENFORCES = "pod-security.kubernetes.io/enforce"


def surroundings(raw: Json) -> Surroundings:
    """Return what matters of a namespace."""
    labels = raw["metadata"].get("labels") or {}
    return Surroundings(
        allowed=labels.get(names.LABEL_CHAOS) == names.CHAOS_ALLOWED,
        enforces=labels.get(ENFORCES, ""),
        deleting="deletionTimestamp" in raw["metadata"],
    )


def target_pod(raw: Json) -> TargetPod:
    """Return a pod that a fault could hit."""
    meta, spec, status = raw["metadata"], raw["spec"], raw.get("status") or {}
    annotations = meta.get("annotations") or {}
    wanted = annotations.get(DEFAULT_CONTAINER)
    main = next((c for c in spec["containers"] if c["name"] == wanted), spec["containers"][0])
    user = (main.get("securityContext") or {}).get("runAsUser")
    if user is None:
        user = (spec.get("securityContext") or {}).get("runAsUser")
    return TargetPod(
        name=meta["name"],
        uid=meta["uid"],
        ip=status.get("podIP", ""),
        container=main["name"],
        command=tuple(main.get("command") or ()),
        user=user,
        door=_door(main),
        ready_since=_ready_since(status),
        deleting="deletionTimestamp" in meta,
        host_network=bool(spec.get("hostNetwork")),
        host_pid=bool(spec.get("hostPID")),
        static=STATIC in annotations,
        agents=_agents(spec, status),
    )


def helper_pod(raw: Json) -> HelperPod:
    """Return a pod that an experiment made."""
    meta, status = raw["metadata"], raw.get("status") or {}
    container: Json = next(iter(status.get("containerStatuses") or []), {})
    conditions: dict[str, Json] = {c["type"]: c for c in status.get("conditions") or []}
    scheduled = conditions.get("PodScheduled") or {}
    trouble = scheduled.get("message", "") if scheduled.get("reason") == "Unschedulable" else ""
    if waiting := parse.waiting([container]):
        trouble = ": ".join(waiting)
    return HelperPod(
        name=meta["name"],
        uid=meta["uid"],
        created=time_of(meta["creationTimestamp"]),
        ready_since=_ready_since(status),
        ended=parse.ended(container),
        phase=status.get("phase") or "Pending",
        trouble=trouble,
        deleting="deletionTimestamp" in meta,
    )


def mesh_fault(raw: Json) -> MeshFault:
    """Return an object of Chaos Mesh by its own word.

    Its condition AllInjected is True only while the fault is on, AllRecovered also before: what was is in the records.
    """
    status = raw.get("status") or {}
    true = {c["type"] for c in status.get("conditions") or [] if c.get("status") == "True"}
    records = (status.get("experiment") or {}).get("containerRecords") or []
    events = [event.get("message", "") for record in records for event in record.get("events") or []]
    injected = bool(records) and all(record["injectedCount"] > 0 for record in records)
    return MeshFault(
        name=raw["metadata"]["name"],
        injected=injected,
        recovered=injected and "AllRecovered" in true,
        message=next((text for text in reversed(events) if text), ""),
    )


def _ready_since(status: Json) -> Any:
    ready = next((c for c in status.get("conditions") or [] if c["type"] == "Ready" and c["status"] == "True"), None)
    return time_of(ready.get("lastTransitionTime")) if ready else None


def _door(container: Json) -> tuple[int, str] | None:
    """Return where a container can be watched: the address of its readiness or liveness probe, or its first port."""
    ports = [port for port in container.get("ports") or [] if port.get("protocol", "TCP") == "TCP"]
    numbers: dict[object, int] = {port.get("name", ""): port["containerPort"] for port in ports}
    for kind in ("readinessProbe", "livenessProbe"):
        probe = container.get(kind) or {}
        check = probe.get("httpGet") or probe.get("tcpSocket") or probe.get("grpc") or {}
        port = numbers.get(check.get("port"), check.get("port"))
        # An address of its own is not the pod's, and a name that no port has is nowhere.
        if not isinstance(port, int) or check.get("host"):
            continue
        plain = "httpGet" in probe and check.get("scheme", "HTTP") == "HTTP"
        return port, check.get("path") or "/" if plain else ""
    return (ports[0]["containerPort"], "") if ports else None


def _agents(spec: Json, status: Json) -> dict[str, Agent]:
    known = {c["name"]: c for c in status.get("ephemeralContainerStatuses") or []}
    return {c["name"]: _agent(known.get(c["name"], {})) for c in spec.get("ephemeralContainers") or []}


def _agent(container: Json) -> Agent:
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    running = state.get("running") or state.get("terminated") or {}
    reason = waiting.get("reason")
    return Agent(
        started_at=time_of(running["startedAt"]) if running.get("startedAt") else None,
        ended=parse.ended(container),
        waiting=(reason, waiting.get("message", "")) if reason else None,
    )
