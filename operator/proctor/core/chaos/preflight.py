"""What must be true before a fault: checks that need no side effect. Each refusal has its own reason."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from proctor.api import names
from proctor.api.chaos import ChaosExperimentSpec
from proctor.api.scalars import Driver, Fault, TargetMode
from proctor.core import fields
from proctor.core.chaos import selection
from proctor.core.chaos.observed import ObservedExperiment, TargetPod
from proctor.core.errors import InvalidSpec

INITS = frozenset({"catatonit", "docker-init", "dumb-init", "s6-svscan", "tini", "tini-static"})
"""Programs that run as PID 1 so that the application does not."""
IN_PROCESSES = (Fault.PROCESS_KILL, Fault.PAUSE)
"""Faults of a container's processes."""
BY_MESH = (Fault.POD_KILL, Fault.PROCESS_KILL, Fault.NETWORK_CUT)
"""Faults that Chaos Mesh can make."""


def check(seen: ObservedExperiment) -> None:
    """Raise InvalidSpec with the reason for which the experiment is refused, whatever its pods are."""
    experiment, spec = seen.experiment, seen.experiment.spec
    namespace = experiment.metadata.namespace
    if lost := fields.dropped(experiment.metadata.annotations, seen.raw_spec):
        raise InvalidSpec(names.UNKNOWN_FIELD, f"unknown field {', '.join(lost)}")
    if seen.surroundings is None:
        message = f"namespace {namespace} is not in the chart's chaos.namespaces: the operator has no rights to it"
        raise InvalidSpec(names.NO_RIGHTS, message)
    if not seen.surroundings.allowed:
        message = f"namespace {namespace} has no label {names.LABEL_CHAOS}={names.CHAOS_ALLOWED}"
        raise InvalidSpec(names.NAMESPACE_NOT_ALLOWED, message)
    _check_fault(spec, seen)


def choose(seen: ObservedExperiment) -> tuple[TargetPod, ...]:
    """Return the pods to hit. Raises InvalidSpec with the reason for which they cannot be."""
    spec = seen.experiment.spec
    chosen = selection.choose(spec, seen.pods, seen.experiment.metadata.uid)
    for pod in chosen:
        _check_pod(spec, pod)
    return chosen


def _check_fault(spec: ChaosExperimentSpec, seen: ObservedExperiment) -> None:
    if spec.driver is Driver.CHAOS_MESH and spec.fault not in BY_MESH:
        raise InvalidSpec(names.NOT_SUPPORTED, f"spec.driver: Chaos Mesh has no {spec.fault}; use Builtin")
    if spec.driver is Driver.CHAOS_MESH and spec.fault is Fault.POD_KILL and spec.limits.respect_pdb:
        message = "spec.limits.respectPDB: Chaos Mesh kills without asking PodDisruptionBudgets; use Builtin, or false"
        raise InvalidSpec(names.NOT_SUPPORTED, message)
    enforced = seen.surroundings.enforces if seen.surroundings else ""
    if spec.fault is Fault.NETWORK_CUT and spec.driver is Driver.BUILTIN and enforced in ("baseline", "restricted"):
        message = (
            f"the namespace enforces Pod Security {enforced}, which forbids the NET_ADMIN that a cut needs; "
            "warn and audit in its place, or use another fault"
        )
        raise InvalidSpec(names.POD_SECURITY_FORBIDS, message)
    if spec.fault is Fault.OUTAGE:
        _check_outage(spec, seen)


def _check_outage(spec: ChaosExperimentSpec, seen: ObservedExperiment) -> None:
    reference = spec.target_ref
    if reference is None or reference.kind not in ("Deployment", "StatefulSet"):
        raise InvalidSpec(names.NOT_SUPPORTED, "spec.targetRef: an Outage needs a Deployment or a StatefulSet")
    if spec.mode is not TargetMode.ALL:
        raise InvalidSpec(names.NOT_SUPPORTED, "spec.mode: an Outage takes All pods of its workload")
    if seen.workload is None:
        raise InvalidSpec(names.TARGET_NOT_FOUND, f"spec.targetRef: there is no {reference.kind} {reference.name}")
    if seen.workload.autoscaler:
        message = f"HorizontalPodAutoscaler {seen.workload.autoscaler} scales {reference.kind} {reference.name}"
        raise InvalidSpec(names.AUTOSCALED, message)


def _check_pod(spec: ChaosExperimentSpec, pod: TargetPod) -> None:
    if pod.static:
        raise InvalidSpec(names.STATIC_POD, f"pod {pod.name} is a static pod: the API server cannot change it")
    if pod.host_network and spec.fault is Fault.NETWORK_CUT:
        raise InvalidSpec(names.HOST_NETWORK, f"pod {pod.name} uses its node's network: the cut would hit the node")
    if pod.host_pid and spec.fault in IN_PROCESSES:
        raise InvalidSpec(names.HOST_PID, f"pod {pod.name} uses its node's process ids: the fault could hit the node")
    if pod.door is None and spec.fault is not Fault.NETWORK_CUT:
        message = f"pod {pod.name} has no readiness probe and no port by which a loss could be seen"
        raise InvalidSpec(names.NOTHING_TO_OBSERVE, message)
    if spec.fault is Fault.PAUSE and not (pod.door and pod.door[1]) and spec.steady_state is None:
        message = (
            f"pod {pod.name} has no readiness probe by HTTP, and a paused process still accepts connections; "
            "give spec.steadyState a probe that would see it"
        )
        raise InvalidSpec(names.NOTHING_TO_OBSERVE, message)
    if spec.driver is Driver.BUILTIN and spec.fault in IN_PROCESSES:
        _check_processes(pod)


def _check_processes(pod: TargetPod) -> None:
    if pod.user is None:
        message = (
            f"pod {pod.name}: container {pod.container} has no runAsUser, so the agent cannot run as the same user"
        )
        raise InvalidSpec(names.UNKNOWN_UID, message)
    if pod.command and PurePosixPath(pod.command[0]).name not in INITS:
        message = (
            f"pod {pod.name}: {pod.command[0]} is the first process of container {pod.container}, which no signal from "
            f"inside can end; run it under an init such as tini, or use PodKill"
        )
        raise InvalidSpec(names.PID_ONE_TARGET, message)


def refusal_reason(message: str, spec: ChaosExperimentSpec) -> str:
    """Return the reason for what the API server said against the injection, or against a dry run of it."""
    if "violates PodSecurity" in message:
        return names.POD_SECURITY_FORBIDS
    if spec.fault is Fault.POD_KILL and "disruption budget" in message:
        return names.DISRUPTION_BUDGET
    if spec.driver is Driver.CHAOS_MESH and ("404" in message or "could not find the requested resource" in message):
        return names.CHAOS_MESH_ABSENT
    return names.INJECTION_REFUSED


def names_of(pods: Sequence[TargetPod]) -> str:
    """Return the pods' names as a list for people."""
    return ", ".join(pod.name for pod in pods)
