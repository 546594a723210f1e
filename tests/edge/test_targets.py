"""The API server's JSON of pods, namespaces and objects of Chaos Mesh, in all the shapes that it has."""

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from proctor.core.chaos.observed import Agent, Surroundings
from proctor.core.observed import Ended
from proctor.edge import parse, targets

TIME = "2026-03-02T09:00:00Z"
WHEN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
RAW: dict[str, Any] = {
    "metadata": {
        "name": "nats-0",
        "namespace": "shop",
        "uid": "u-1",
        "creationTimestamp": TIME,
        "labels": {"app": "nats"},
        "ownerReferences": [{"kind": "StatefulSet", "name": "nats", "uid": "u-2", "controller": True}],
    },
    "spec": {
        "containers": [
            {
                "name": "nats",
                "command": ["tini", "--", "nats-server"],
                "ports": [{"name": "client", "containerPort": 4222, "protocol": "TCP"}, {"containerPort": 8222}],
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8222, "scheme": "HTTP"}},
                "securityContext": {"runAsUser": 1000},
            },
            {"name": "sidecar", "ports": [{"containerPort": 9}]},
        ],
        "securityContext": {"runAsUser": 2000},
        "ephemeralContainers": [{"name": "proctor-cut-1"}, {"name": "proctor-uncut-1"}, {"name": "debugger"}],
    },
    "status": {
        "phase": "Running",
        "podIP": "10.0.0.7",
        "conditions": [
            {"type": "Initialized", "status": "True", "lastTransitionTime": None},
            {"type": "Ready", "status": "True", "lastTransitionTime": TIME},
        ],
        "ephemeralContainerStatuses": [
            {
                "name": "proctor-cut-1",
                "state": {"terminated": {"exitCode": 0, "reason": "Completed", "message": "{}", "startedAt": TIME}},
            },
            {"name": "proctor-uncut-1", "state": {"waiting": {"reason": "ErrImagePull", "message": "no"}}},
        ],
    },
}


def a_pod(path: str = "", value: Any = None) -> dict[str, Any]:
    """Return the pod with the value at a dotted path changed; None takes it out."""
    raw = copy.deepcopy(RAW)
    if path:
        *way, last = path.split(".")
        at: Any = raw
        for step in way:
            at = at[int(step)] if step.isdigit() else at[step]
        if value is None:
            del at[last]
        else:
            at[last] = value
    return raw


def test_a_pod_as_the_api_server_shows_it() -> None:
    pod = targets.target_pod(a_pod())
    assert (pod.name, pod.uid, pod.ip, pod.container, pod.user) == ("nats-0", "u-1", "10.0.0.7", "nats", 1000)
    assert pod.command == ("tini", "--", "nats-server")
    assert pod.door == (8222, "/healthz")
    assert pod.ready_since == WHEN
    assert (pod.deleting, pod.host_network, pod.host_pid, pod.static) == (False,) * 4
    assert pod.agents == {
        "proctor-cut-1": Agent(WHEN, Ended(0, "Completed", "{}")),
        "proctor-uncut-1": Agent(waiting=("ErrImagePull", "no")),
        "debugger": Agent(),
    }


@pytest.mark.parametrize(
    ("path", "value", "field", "seen"),
    [
        ("status", None, "ready_since", None),
        ("status", None, "ip", ""),
        ("status.conditions", None, "ready_since", None),
        ("status.conditions.1.status", "False", "ready_since", None),
        ("status.conditions.1.lastTransitionTime", None, "ready_since", datetime.fromtimestamp(0, UTC)),
        ("spec.ephemeralContainers", None, "agents", {}),
        ("metadata.deletionTimestamp", TIME, "deleting", True),
        ("metadata.annotations", {"kubernetes.io/config.mirror": "x"}, "static", True),
        ("metadata.annotations", {"kubectl.kubernetes.io/default-container": "sidecar"}, "container", "sidecar"),
        ("metadata.annotations", {"kubectl.kubernetes.io/default-container": "none"}, "container", "nats"),
        ("spec.hostNetwork", True, "host_network", True),
        ("spec.hostPID", True, "host_pid", True),
        ("spec.containers.0.command", None, "command", ()),
        ("spec.containers.0.securityContext", None, "user", 2000),
        ("spec.containers.0.securityContext", {}, "user", 2000),
        ("spec.containers.0.securityContext", {"runAsUser": 0}, "user", 0),
        ("spec.securityContext", None, "user", 1000),
    ],
)
def test_odd_shapes_of_a_pod(path: str, value: Any, field: str, seen: Any) -> None:
    assert getattr(targets.target_pod(a_pod(path, value)), field) == seen


def test_a_pod_without_any_security_context_has_an_unknown_user() -> None:
    raw = a_pod("spec.containers.0.securityContext")
    del raw["spec"]["securityContext"]
    assert targets.target_pod(raw).user is None


HTTP: dict[str, Any] = {"path": "/ok", "port": 8222}


@pytest.mark.parametrize(
    ("container", "door"),
    [
        pytest.param({"readinessProbe": {"httpGet": {"port": 80}}}, (80, "/"), id="no path"),
        pytest.param({"readinessProbe": {"httpGet": {**HTTP, "scheme": "HTTPS"}}}, (8222, ""), id="HTTPS is TCP"),
        pytest.param({"readinessProbe": {"tcpSocket": {"port": 5}}}, (5, ""), id="TCP"),
        pytest.param({"readinessProbe": {"grpc": {"port": 6}}}, (6, ""), id="gRPC"),
        pytest.param({"livenessProbe": {"httpGet": HTTP}}, (8222, "/ok"), id="liveness"),
        pytest.param(
            {"readinessProbe": {"exec": {"command": ["x"]}}, "livenessProbe": {"tcpSocket": {"port": 5}}},
            (5, ""),
            id="a command is no door",
        ),
        pytest.param(
            {"readinessProbe": {"httpGet": {"port": "web"}}, "ports": [{"name": "web", "containerPort": 7}]},
            (7, "/"),
            id="a named port",
        ),
        pytest.param({"readinessProbe": {"httpGet": {"port": "web"}}}, None, id="a name that no port has"),
        pytest.param(
            {"readinessProbe": {"httpGet": {**HTTP, "host": "1.2.3.4"}}, "ports": [{"containerPort": 9}]},
            (9, ""),
            id="another host",
        ),
        pytest.param(
            {"ports": [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 9}]}, (9, ""), id="not UDP"
        ),
        pytest.param({"ports": [{"containerPort": 53, "protocol": "UDP"}]}, None, id="UDP only"),
        pytest.param({}, None, id="nothing"),
    ],
)
def test_where_a_pod_can_be_watched(container: dict[str, Any], door: tuple[int, str] | None) -> None:
    raw = a_pod("spec.containers", [{"name": "nats", **container}])
    assert targets.target_pod(raw).door == door


@pytest.mark.parametrize(
    ("status", "seen"),
    [
        ({}, {"phase": "Pending", "ended": None, "trouble": "", "ready_since": None, "over": False}),
        ({"phase": "Failed", "reason": "Evicted"}, {"phase": "Failed", "over": True}),
        (
            {
                "phase": "Pending",
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1"}
                ],
            },
            {"trouble": "0/1"},
        ),
        (
            {"containerStatuses": [{"name": "x", "state": {"waiting": {"reason": "ContainerCreating"}}}]},
            {"trouble": "", "over": False},
        ),
        (
            {"containerStatuses": [{"name": "x", "state": {"waiting": {"reason": "ErrImagePull", "message": "no"}}}]},
            {"trouble": "ErrImagePull: no"},
        ),
        (
            {"containerStatuses": [{"name": "x", "state": {"terminated": {"exitCode": 0, "message": "word"}}}]},
            {"ended": Ended(0, "", "word"), "over": True},
        ),
        (
            {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": TIME}],
                "containerStatuses": [{"name": "x", "state": {"running": {"startedAt": TIME}}}],
            },
            {"ready_since": WHEN, "over": False},
        ),
    ],
)
def test_a_pod_of_ours(status: dict[str, Any], seen: dict[str, Any]) -> None:
    pod = targets.helper_pod({"metadata": RAW["metadata"], "status": status})
    assert pod.created == WHEN
    assert {name: getattr(pod, name) for name in seen} == seen


@pytest.mark.parametrize(
    ("metadata", "seen"),
    [
        ({}, Surroundings(allowed=False)),
        ({"labels": None}, Surroundings(allowed=False)),
        ({"labels": {"proctor.dev/chaos": "forbidden"}}, Surroundings(allowed=False)),
        (
            {"labels": {"proctor.dev/chaos": "allowed", "pod-security.kubernetes.io/enforce": "baseline"}},
            Surroundings(allowed=True, enforces="baseline"),
        ),
        ({"deletionTimestamp": TIME}, Surroundings(allowed=False, deleting=True)),
    ],
)
def test_a_namespace(metadata: dict[str, Any], seen: Surroundings) -> None:
    assert targets.surroundings({"metadata": metadata}) == seen


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ({}, ""),
        ({"matchLabels": None}, ""),
        ({"matchLabels": {"b": "2", "a": "1"}}, "a=1,b=2"),
        (
            {"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "t", "operator": "NotIn", "values": ["x", "y"]}]},
            "a=1,t notin (x,y)",
        ),
        ({"matchExpressions": [{"key": "t", "operator": "In", "values": ["x"]}]}, "t in (x)"),
        (
            {"matchExpressions": [{"key": "t", "operator": "Exists"}, {"key": "u", "operator": "DoesNotExist"}]},
            "t,!u",
        ),
    ],
)
def test_a_selector_is_whole(raw: dict[str, Any], text: str) -> None:
    assert parse.selector(raw) == text
