"""Manifests of what an experiment makes: its observer, its agents in the target pods, the pod that makes an outage.

Names derive from the experiment's uid, so that nothing is ever made twice. All but one satisfy Pod Security
`restricted`; the exception is the agent that cuts a network, which needs NET_ADMIN and is alone in having it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from proctor.api import names
from proctor.api.chaos import ChaosExperiment
from proctor.api.scalars import Fault, seconds
from proctor.core.actions import Manifest
from proctor.core.chaos.observed import TargetPod
from proctor.core.jobs import CONTAINER_SECURITY, POD_SECURITY, TMP, USER_ENV

ALLOWANCE = 30
"""Seconds from the decision to inject within which the fault must be on; agents refuse to act later."""
HEAD_START = 10
"""Seconds from the observer being ready within which that decision must come."""
MARGIN = 5
"""Seconds that the observer looks out longer than all of this."""
OUTAGE_ACCOUNT = "proctor-outage"
"""The service account of the pod that makes an outage: it may scale, and nothing else. The chart makes it."""
OBSERVER = "observer"
OUTAGE = "outage"
RESTORE = "restore"
CUT = "cut"
UNCUT = "uncut"
KILL = "kill"
PAUSE = "pause"
RESUME = "resume"
INJECTS = {Fault.NETWORK_CUT: CUT, Fault.PROCESS_KILL: KILL, Fault.PAUSE: PAUSE}
"""The agent that injects a fault."""
HEALS = {Fault.NETWORK_CUT: UNCUT, Fault.PAUSE: RESUME}
"""The agent that ends a fault before its time, or makes sure that it has ended."""

_RESOURCES = {"requests": {"cpu": "20m", "memory": "48Mi"}, "limits": {"memory": "128Mi"}}
_RUN = ["python3", "-m", "proctor.runner.chaos"]


def child_name(experiment: ChaosExperiment, part: str) -> str:
    """Return the name of a pod, agent or object that the experiment makes."""
    return f"proctor-{part}-{hashlib.sha256(experiment.metadata.uid.encode()).hexdigest()[:10]}"


def observer(experiment: ChaosExperiment, targets: Sequence[TargetPod], image: str) -> Manifest:
    """Return the pod that watches the targets from outside, with no API token."""
    spec = experiment.spec
    duration, recovery = seconds(spec.duration), seconds(spec.recovery_timeout)
    plan = {
        "version": 1,
        "experiment": experiment.metadata.uid,
        "gone": spec.fault in (Fault.POD_KILL, Fault.OUTAGE),
        "targets": [_watched(spec.port, pod) for pod in targets],
        "probes": [
            probe.model_dump(mode="json", by_alias=True, exclude_none=True)
            for probe in (spec.steady_state.probes if spec.steady_state else ())
        ],
        "allowance": ALLOWANCE + HEAD_START + MARGIN,
        "duration": duration,
        "recovery": recovery,
    }
    container = {
        "name": OBSERVER,
        "image": image,
        "command": [*_RUN, "observe"],
        "env": [
            *USER_ENV,
            {"name": names.ENV_OBSERVE, "value": json.dumps(plan, sort_keys=True)},
            {"name": names.ENV_POD_UID, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        ],
        "readinessProbe": {"exec": {"command": ["cat", names.GOOD_FILE]}, "periodSeconds": 1, "failureThreshold": 1},
        "resources": _RESOURCES,
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [{"name": "tmp", "mountPath": TMP}],
    }
    # Far beyond what it gives itself; its own last word must come first.
    life = 2 * (ALLOWANCE + duration + recovery) + 120
    return _pod(experiment, OBSERVER, container, {"activeDeadlineSeconds": life, "restartPolicy": "Never"})


def outage(experiment: ChaosExperiment, replicas: int, begun: datetime, image: str) -> Manifest:
    """Return the pod that scales the workload to zero, waits, and scales it back."""
    span = ["--seconds", str(seconds(experiment.spec.duration)), *_not_after(begun)]
    return _scaler(experiment, OUTAGE, replicas, span, image)


def restore(experiment: ChaosExperiment, replicas: int, image: str) -> Manifest:
    """Return the pod that scales the workload back."""
    return _scaler(experiment, RESTORE, replicas, [], image)


def agent(experiment: ChaosExperiment, pod: TargetPod, action: str, begun: datetime, image: str) -> Manifest:
    """Return the ephemeral container that does `action` in a target pod."""
    arguments: list[str] = ["--experiment", experiment.metadata.uid]
    security: dict[str, Any] = dict(CONTAINER_SECURITY)
    if action in (CUT, UNCUT):
        security |= {
            "runAsUser": 0,
            "runAsNonRoot": False,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
        }
    else:
        root = pod.user == 0
        security |= {"runAsUser": pod.user, "runAsNonRoot": not root, "seccompProfile": {"type": "RuntimeDefault"}}
    if action in INJECTS.values():
        arguments += _not_after(begun)
    if action == CUT:
        arguments += ["--port", str(experiment.spec.port)]
    if action in (CUT, PAUSE):
        arguments += ["--seconds", str(seconds(experiment.spec.duration))]
    return {
        "name": child_name(experiment, action),
        "image": image,
        "command": [*_RUN, action, *arguments],
        "targetContainerName": pod.container,
        "securityContext": security,
    }


def mesh_kind(experiment: ChaosExperiment) -> str:
    """Return the kind of Chaos Mesh's object for the fault."""
    return "NetworkChaos" if experiment.spec.fault is Fault.NETWORK_CUT else "PodChaos"


def mesh_fault(experiment: ChaosExperiment, targets: Sequence[TargetPod]) -> Manifest:
    """Return the object of Chaos Mesh for the fault."""
    spec, namespace = experiment.spec, experiment.metadata.namespace
    body: dict[str, Any]
    match spec.fault:
        case Fault.NETWORK_CUT:
            # It cuts no single ports. Without a `target` it drops all that the pods send and get; with one it would set
            # rules in each pod on the other side too, and would never be done if one of these does not run any more.
            body = {"action": "partition", "direction": "both", "duration": spec.duration}
        case Fault.PROCESS_KILL:
            body = {"action": "container-kill", "containerNames": sorted({pod.container for pod in targets})}
        case _:
            body = {"action": "pod-kill", "gracePeriod": 1}
    return {
        "apiVersion": "chaos-mesh.org/v1alpha1",
        "kind": mesh_kind(experiment),
        "metadata": _metadata(experiment, "fault"),
        "spec": {"mode": "all", "selector": {"pods": {namespace: [pod.name for pod in targets]}}} | body,
    }


def _watched(port: int | None, pod: TargetPod) -> dict[str, Any]:
    """Return how the observer reaches a target: the port to be cut, or else the pod's door."""
    door = pod.door if port is None else (port, pod.door[1] if pod.door and pod.door[0] == port else "")
    assert door, "preflight refuses pods without a door"
    return {"pod": pod.name, "host": pod.ip, "port": door[0], "path": door[1] or None}


def _scaler(experiment: ChaosExperiment, action: str, replicas: int, arguments: Sequence[str], image: str) -> Manifest:
    reference = experiment.spec.target_ref
    assert reference, "preflight refuses an Outage without targetRef"
    command = [*_RUN, action, "--experiment", experiment.metadata.uid]
    command += ["--kind", reference.kind, "--name", reference.name, "--replicas", str(replicas), *arguments]
    container = {
        "name": action,
        "image": image,
        "command": command,
        "env": USER_ENV,
        "resources": _RESOURCES,
        "securityContext": CONTAINER_SECURITY,
        # Here it notes that it has begun, for the container that may have to follow it.
        "volumeMounts": [{"name": "tmp", "mountPath": TMP}],
    }
    # It starts again if it dies, and then gives the replicas back at once.
    extra = {"restartPolicy": "OnFailure", "serviceAccountName": OUTAGE_ACCOUNT, "automountServiceAccountToken": True}
    return _pod(experiment, action, container, extra)


def _not_after(begun: datetime) -> list[str]:
    return ["--not-after", str(int((begun + timedelta(seconds=ALLOWANCE)).timestamp()))]


def _pod(experiment: ChaosExperiment, part: str, container: Mapping[str, Any], extra: Mapping[str, Any]) -> Manifest:
    spec = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": POD_SECURITY,
        "volumes": [{"name": "tmp", "emptyDir": {}}],
        "containers": [container],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": _metadata(experiment, part), "spec": spec | dict(extra)}


def _metadata(experiment: ChaosExperiment, part: str) -> dict[str, Any]:
    return {
        "name": child_name(experiment, part),
        "namespace": experiment.metadata.namespace,
        "labels": {
            "app.kubernetes.io/managed-by": "proctor",
            names.LABEL_EXPERIMENT_UID: experiment.metadata.uid,
            names.LABEL_ROLE: part,
        },
        "ownerReferences": [experiment.as_owner()],
    }
