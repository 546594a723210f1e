"""The five faults against a real target: what each verdict says, and that nothing stays behind."""

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from e2e.faultworld import FaultWorld, agents, conditions
from e2e.world import named
from proctor.api import names
from proctor.edge.client import ApiError, Json

pytestmark = pytest.mark.e2e

WELL = {
    names.ACCEPTED: "True",
    names.INJECTED: "True",
    names.EFFECTIVE: "True",
    names.HEALED: "True",
    names.RECOVERED: "True",
}
FAULTS: dict[str, dict[str, Any]] = {
    "PodKill": {"fault": "PodKill"},
    "ProcessKill": {"fault": "ProcessKill"},
    "NetworkCut": {"fault": "NetworkCut", "port": 8080, "duration": "6s"},
    "Pause": {"fault": "Pause", "duration": "5s"},
    "Outage": {
        "fault": "Outage",
        "duration": "5s",
        "mode": "All",
        "targetRef": {"kind": "Deployment", "name": "web"},
    },
}


@pytest.mark.parametrize("spec", FAULTS.values(), ids=FAULTS)
async def test_fault_is_seen_healed_and_recovered(faults: FaultWorld, spec: dict[str, Any]) -> None:
    await faults.web(replicas=2)
    await faults.fault("fault", **spec)
    status = await faults.judged("fault")
    assert (status["verdict"], status["reason"]) == ("Passed", "Passed"), status
    assert {kind: truth for kind, truth in conditions(status).items() if kind in WELL} == WELL
    hit = 2 if spec["fault"] == "Outage" else 1
    assert len(status["targets"]) == hit
    for target in status["targets"]:
        begin, end, back = (datetime.fromisoformat(target[key]) for key in ("injectedAt", "healedAt", "recoveredAt"))
        assert begin <= end <= back
        if "duration" in spec:
            assert abs((end - begin).total_seconds() - int(spec["duration"][:-1])) < 3
    await faults.ready(2)
    assert "finalizers" not in (await faults.client.get("chaosexperiments", faults.namespace, "fault"))["metadata"]
    for pod in (await faults.helpers()).values():
        assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0


async def test_steady_state_is_told_apart_from_the_effect(faults: FaultWorld) -> None:
    """One of two pods is cut: the probe of the other one holds, the probe of the cut one does not."""
    await faults.web(replicas=2)
    cut, other = await faults.ready(2)
    probes = [_tcp("cut", cut), _tcp("other", other)]
    reference = {"targetRef": {"kind": "Pod", "name": cut["metadata"]["name"]}}
    await faults.fault(
        "fault", fault="NetworkCut", port=8080, duration="6s", steadyState={"probes": probes}, **reference
    )
    status = await faults.judged("fault")
    assert status["verdict"] == "Passed", status
    (held,) = [one for one in status["conditions"] if one["type"] == names.STEADY_STATE_HELD]
    assert held["status"] == "False"
    assert "cut" in held["message"]
    assert "other" not in held["message"]


async def test_cut_of_a_port_where_nothing_listens_is_inconclusive(faults: FaultWorld) -> None:
    await faults.web()
    await faults.fault("fault", fault="NetworkCut", port=9999, duration="3s")
    status = await faults.judged("fault")
    assert (status["verdict"], status["reason"]) == ("Inconclusive", names.STEADY_STATE_NOT_HELD), status
    (pod,) = await faults.ready(1)
    assert agents(pod) == []


async def test_cut_that_a_rule_makes_pointless_is_inconclusive(faults: FaultWorld) -> None:
    """A NetworkPolicy that already denies the port: here the same as an nftables rule of the pod's own."""
    await faults.web(container={"readinessProbe": {"exec": {"command": ["true"]}}})
    (pod,) = await faults.ready(1)
    rules = "add table inet deny; add chain inet deny in { type filter hook input priority 0; }; "
    rules += "add rule inet deny in tcp dport 8080 drop"
    await _as_net_admin(faults, pod, ["nft", rules])
    await faults.fault("fault", fault="NetworkCut", port=8080, duration="3s")
    status = await faults.judged("fault")
    assert (status["verdict"], status["reason"]) == ("Inconclusive", names.STEADY_STATE_NOT_HELD), status


async def test_target_that_never_comes_back_is_failed(faults: FaultWorld) -> None:
    body = named("v1", "Pod", "lonely")
    body["metadata"]["labels"] = {"app": "web"}
    container = {
        "name": "web",
        "image": faults.image,
        "command": ["catatonit", "--", "python3", "-m", "http.server", "8080", "--directory", "/suites"],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    await faults.client.create("pods", faults.namespace, body | {"spec": spec})
    await faults.ready(1)
    await faults.fault("fault", fault="PodKill", recoveryTimeout="8s")
    status = await faults.judged("fault")
    assert (status["verdict"], status["reason"]) == ("Failed", names.NOT_RECOVERED), status
    assert conditions(status)[names.RECOVERED] == "False"


REFUSED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "limits": (names.LIMITS_EXCEEDED, {}, {"fault": "PodKill", "mode": "All", "limits": {"maxPercent": 50}}),
    "unknown-uid": (names.UNKNOWN_UID, {"securityContext": {}}, {"fault": "ProcessKill"}),
    "pid-one": (
        names.PID_ONE_TARGET,
        {"container": {"command": ["python3", "-m", "http.server", "8080", "--directory", "/suites"]}},
        {"fault": "ProcessKill"},
    ),
    "nothing-to-observe": (
        names.NOTHING_TO_OBSERVE,
        {"container": {"ports": [], "readinessProbe": None}},
        {"fault": "PodKill"},
    ),
    "host-network": (names.HOST_NETWORK, {"hostNetwork": True}, {"fault": "NetworkCut", "port": 8080}),
    "host-pid": (names.HOST_PID, {"hostPID": True}, {"fault": "Pause"}),
    "no-such-target": (
        names.TARGET_NOT_FOUND,
        {},
        {"fault": "PodKill", "targetRef": {"kind": "Deployment", "name": "nobody"}},
    ),
}


@pytest.mark.parametrize(("reason", "pod", "spec"), REFUSED.values(), ids=REFUSED)
async def test_refusal_leaves_no_trace(
    faults: FaultWorld, reason: str, pod: dict[str, Any], spec: dict[str, Any]
) -> None:
    if pod.get("hostNetwork"):
        # The node's port 8080 may be somebody else's.
        pod |= {"container": {"readinessProbe": None, "command": ["catatonit", "--", "sleep", "600"], "ports": []}}
    await faults.web(**pod)
    await _refused(faults, reason, spec)


async def test_outage_of_what_an_autoscaler_scales_is_refused(faults: FaultWorld) -> None:
    await faults.web()
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    scaler = named("autoscaling/v2", "HorizontalPodAutoscaler", "web") | {
        "spec": {"scaleTargetRef": target, "maxReplicas": 3}
    }
    await faults.client.create("horizontalpodautoscalers", faults.namespace, scaler)
    await _refused(faults, names.AUTOSCALED, FAULTS["Outage"])


async def test_eviction_against_a_disruption_budget_is_refused(faults: FaultWorld) -> None:
    await faults.web()
    budget = named("policy/v1", "PodDisruptionBudget", "web") | {
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    }
    await _apply(faults, budget)
    for _ in range(50):  # The budget protects nothing before its controller has counted.
        shown = await faults.kubectl("get", "pdb", "web", "--output", "jsonpath={.status.expectedPods}")
        if shown == "1":
            break
        await asyncio.sleep(0.2)
    await _refused(faults, names.DISRUPTION_BUDGET, {"fault": "PodKill"})


async def test_cut_is_refused_where_pod_security_is_enforced(faults: FaultWorld) -> None:
    await faults.kubectl("label", "namespace", faults.namespace, "pod-security.kubernetes.io/enforce=restricted")
    secure = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    context = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    await faults.web(securityContext=context, container={"securityContext": secure})
    await _refused(faults, names.POD_SECURITY_FORBIDS, {"fault": "NetworkCut", "port": 8080})
    # What needs no privilege is as good there as anywhere.
    await faults.fault("kill", fault="ProcessKill")
    assert (await faults.judged("kill"))["verdict"] == "Passed"


async def test_chaos_mesh_that_is_not_there_is_refused(faults: FaultWorld) -> None:
    if await _has_chaos_mesh(faults):
        pytest.skip("Chaos Mesh is installed")
    await faults.web()
    await _refused(faults, names.CHAOS_MESH_ABSENT, {"fault": "ProcessKill", "driver": "ChaosMesh"})


async def test_namespace_without_rights_is_refused(faults: FaultWorld) -> None:
    await faults.kubectl("delete", "rolebinding", "proctor-faults")
    await faults.web()
    await _refused(faults, names.NO_RIGHTS, {"fault": "PodKill"})


async def test_namespace_that_has_not_opted_in_is_refused_at_the_door(faults: FaultWorld) -> None:
    await faults.kubectl("label", "namespace", faults.namespace, f"{names.LABEL_CHAOS}-")
    await asyncio.sleep(1)  # The admission plugin's own watch of namespaces.
    with pytest.raises(ApiError, match="has not opted in"):
        await faults.fault("fault", fault="PodKill")


async def test_one_fault_at_a_time_in_a_namespace(faults: FaultWorld) -> None:
    await faults.web(replicas=2)
    await faults.fault("first", fault="Pause", duration="4s")
    await faults.fault("second", fault="Pause", duration="4s")
    first, second = await asyncio.gather(faults.judged("first"), faults.judged("second"))
    assert (first["verdict"], second["verdict"]) == ("Passed", "Passed"), (first, second)
    windows = sorted(
        (target["injectedAt"], target["recoveredAt"]) for status in (first, second) for target in status["targets"]
    )
    assert windows[0][1] <= windows[1][0]


async def test_same_seed_same_choice(faults: FaultWorld) -> None:
    await faults.web(replicas=3)
    chosen = []
    for name in ("one", "two"):
        await faults.fault(name, fault="Pause", duration="3s", seed=7)
        status = await faults.judged(name)
        assert status["verdict"] == "Passed", status
        chosen.append([target["pod"] for target in status["targets"]])
    assert chosen[0] == chosen[1]


async def _refused(faults: FaultWorld, reason: str, spec: Mapping[str, Any]) -> None:
    await faults.fault("refused", **spec)
    status = await faults.judged("refused")
    assert (status["verdict"], status["reason"]) == ("Error", reason), status
    assert conditions(status)[names.ACCEPTED] == "False"
    assert await faults.helpers() == {}
    assert "finalizers" not in (await faults.client.get("chaosexperiments", faults.namespace, "refused"))["metadata"]
    pods, _ = await faults.client.list("pods", faults.namespace)
    assert [pod["metadata"]["name"] for pod in pods if agents(pod)] == []


async def _has_chaos_mesh(faults: FaultWorld) -> bool:
    return "networkchaos" in await faults.kubectl("api-resources", "--api-group", "chaos-mesh.org", "--output", "name")


async def _as_net_admin(faults: FaultWorld, pod: Json, command: list[str]) -> None:
    container = {
        "name": "rules",
        "image": faults.image,
        "command": command,
        "securityContext": {
            "runAsUser": 0,
            "runAsNonRoot": False,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
        },
    }
    body = {"metadata": {"uid": pod["metadata"]["uid"]}, "spec": {"ephemeralContainers": [container]}}
    name = pod["metadata"]["name"]
    await faults.client.add("pods", faults.namespace, name, body, part="ephemeralcontainers")
    for _ in range(100):
        status = (await faults.client.get("pods", faults.namespace, name))["status"]
        state = (status.get("ephemeralContainerStatuses") or [{}])[0].get("state") or {}
        if ended := state.get("terminated"):
            assert ended["exitCode"] == 0, ended
            return
        await asyncio.sleep(0.2)
    raise AssertionError("the container with the rules did not end")


async def _apply(faults: FaultWorld, manifest: Json) -> None:
    await faults.kubectl("apply", "--filename", "-", stdin=json.dumps(manifest).encode())


def _tcp(name: str, pod: Json) -> dict[str, Any]:
    return {"name": name, "tcp": {"address": f"{pod['status']['podIP']}:8080"}}
