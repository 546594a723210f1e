"""Every reason for which a fault is refused before anything happens."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from core.faultworld import FaultWorld, a_target, an_experiment
from proctor.api import names
from proctor.api.scalars import Driver, Fault
from proctor.core.actions import AddAgent, CreateMeshFault, CreatePod, KillPod
from proctor.core.chaos import inject, preflight
from proctor.core.chaos.observed import Surroundings, Workload

CUT, KILL, POD, OUTAGE, PAUSE = Fault.NETWORK_CUT, Fault.PROCESS_KILL, Fault.POD_KILL, Fault.OUTAGE, Fault.PAUSE
LAST_APPLIED = {names.ANNOTATION_LAST_APPLIED: json.dumps({"spec": {"fault": "PodKill", "duratoin": "1h"}})}


def target(**fields: Any) -> Callable[[FaultWorld], None]:
    def change(world: FaultWorld) -> None:
        world.pods = {uid: replace(pod, **fields) for uid, pod in world.pods.items()}

    return change


def worldly(**fields: Any) -> Callable[[FaultWorld], None]:
    def change(world: FaultWorld) -> None:
        for name, value in fields.items():
            setattr(world, name, value)

    return change


def annotated(world: FaultWorld) -> None:
    meta = world.experiment.metadata.model_copy(update={"annotations": LAST_APPLIED})
    world.experiment = world.experiment.model_copy(update={"metadata": meta})


MESH = {"driver": Driver.CHAOS_MESH}
REFUSALS = [
    pytest.param(POD, {}, annotated, names.UNKNOWN_FIELD, "spec.duratoin", id="a field that was dropped"),
    pytest.param(POD, {}, worldly(surroundings=None), names.NO_RIGHTS, "chaos.namespaces", id="no rights"),
    pytest.param(
        POD,
        {},
        worldly(surroundings=Surroundings(allowed=False)),
        names.NAMESPACE_NOT_ALLOWED,
        "proctor.dev/chaos=allowed",
        id="no consent",
    ),
    pytest.param(OUTAGE, MESH, worldly(), names.NOT_SUPPORTED, "Builtin", id="Chaos Mesh has no Outage"),
    pytest.param(PAUSE, MESH, worldly(), names.NOT_SUPPORTED, "Builtin", id="Chaos Mesh has no Pause"),
    pytest.param(POD, MESH, worldly(), names.NOT_SUPPORTED, "respectPDB", id="Chaos Mesh asks no budget"),
    pytest.param(
        CUT,
        {},
        worldly(surroundings=Surroundings(allowed=True, enforces="baseline")),
        names.POD_SECURITY_FORBIDS,
        "NET_ADMIN",
        id="baseline",
    ),
    pytest.param(
        CUT,
        {},
        worldly(surroundings=Surroundings(allowed=True, enforces="restricted")),
        names.POD_SECURITY_FORBIDS,
        "NET_ADMIN",
        id="restricted",
    ),
    pytest.param(
        OUTAGE,
        {"targetRef": None, "selector": {"matchLabels": {"a": "b"}}},
        worldly(),
        names.NOT_SUPPORTED,
        "targetRef",
        id="an outage of a selector",
    ),
    pytest.param(
        OUTAGE,
        {"targetRef": {"kind": "DaemonSet", "name": "shop"}},
        worldly(),
        names.NOT_SUPPORTED,
        "Deployment",
        id="an outage of a DaemonSet",
    ),
    pytest.param(OUTAGE, {"mode": "One"}, worldly(), names.NOT_SUPPORTED, "All", id="an outage of one"),
    pytest.param(OUTAGE, {}, worldly(workload=None), names.TARGET_NOT_FOUND, "shop", id="no workload"),
    pytest.param(
        OUTAGE,
        {},
        worldly(workload=Workload("Deployment", "shop", 1, autoscaler="elastic")),
        names.AUTOSCALED,
        "elastic",
        id="an autoscaler",
    ),
    pytest.param(POD, {}, worldly(pods={}), names.TARGET_NOT_FOUND, "no pod matches", id="no pod"),
    pytest.param(POD, {}, target(ready_since=None), names.TARGET_NOT_FOUND, "none is Ready", id="none is Ready"),
    pytest.param(POD, {}, target(deleting=True), names.TARGET_NOT_FOUND, "none is Ready", id="all are going"),
    pytest.param(
        POD, {"limits": {"maxPercent": 50}}, worldly(), names.LIMITS_EXCEEDED, "maxPercent", id="one of one is too much"
    ),
    pytest.param(
        POD,
        {"mode": "All", "limits": {"maxPercent": 100, "maxCount": 1}},
        worldly(pods={name: a_target(name) for name in ("a", "b")}),
        names.LIMITS_EXCEEDED,
        "maxCount",
        id="two are too many",
    ),
    pytest.param(POD, {"mode": "Fixed", "value": 2}, worldly(), names.TARGET_NOT_FOUND, "2 pods", id="not so many"),
    pytest.param(POD, {}, target(static=True), names.STATIC_POD, "static", id="a static pod"),
    pytest.param(CUT, {}, target(host_network=True), names.HOST_NETWORK, "node", id="the node's network"),
    pytest.param(KILL, {}, target(host_pid=True), names.HOST_PID, "node", id="the node's processes, killed"),
    pytest.param(PAUSE, {}, target(host_pid=True), names.HOST_PID, "node", id="the node's processes, paused"),
    pytest.param(POD, {}, target(door=None), names.NOTHING_TO_OBSERVE, "port", id="nothing to see"),
    pytest.param(PAUSE, {}, target(door=(1, "")), names.NOTHING_TO_OBSERVE, "steadyState", id="a pause nobody sees"),
    pytest.param(KILL, {}, target(user=None), names.UNKNOWN_UID, "runAsUser", id="an unknown uid, killed"),
    pytest.param(PAUSE, {}, target(user=None), names.UNKNOWN_UID, "runAsUser", id="an unknown uid, paused"),
    pytest.param(KILL, {}, target(command=("/app/shop",)), names.PID_ONE_TARGET, "/app/shop", id="PID 1, killed"),
    pytest.param(PAUSE, {}, target(command=("sh", "-c")), names.PID_ONE_TARGET, "tini", id="PID 1, paused"),
    pytest.param(
        CUT, {}, worldly(refusal='violates PodSecurity "x"'), names.POD_SECURITY_FORBIDS, "violates", id="dry run: PSA"
    ),
    pytest.param(
        POD,
        {},
        worldly(refusal="Cannot evict pod as it would violate the pod's disruption budget."),
        names.DISRUPTION_BUDGET,
        "budget",
        id="dry run: a PodDisruptionBudget",
    ),
    pytest.param(
        POD, {}, worldly(refusal="exceeded quota: pods"), names.INJECTION_REFUSED, "quota", id="dry run: a quota"
    ),
    pytest.param(
        CUT, {}, worldly(refusal='ValidatingAdmissionPolicy "x" denied'), names.INJECTION_REFUSED, "x", id="a policy"
    ),
    pytest.param(
        CUT, MESH, worldly(refusal="404 page not found\n"), names.CHAOS_MESH_ABSENT, "404", id="no Chaos Mesh"
    ),
    pytest.param(
        KILL,
        MESH,
        worldly(refusal="the server could not find the requested resource"),
        names.CHAOS_MESH_ABSENT,
        "find",
        id="no Chaos Mesh, said by the API server",
    ),
]


@pytest.mark.parametrize(("fault", "spec", "change", "reason", "says"), REFUSALS)
def test_invariant_7_a_refusal_comes_before_any_side_effect(
    fault: Fault, spec: dict[str, Any], change: Callable[[FaultWorld], None], reason: str, says: str
) -> None:
    """The twin of every refused experiment is one that differs in what is refused only, and gets its turn."""
    world = FaultWorld(an_experiment(fault, **spec))
    change(world)
    world.finish(within=2)
    assert world.outcome == ("Error", reason), world
    assert says in world.status.message
    assert world.truth(names.ACCEPTED) == ("False", reason)
    assert world.truth(names.INJECTED) is None
    assert not world.asked, "nothing was done"
    assert not world.status.targets
    sane = FaultWorld(an_experiment(fault))
    sane.until(lambda w: w.truth(names.INJECTED) is not None, within=2)


@pytest.mark.parametrize(
    ("fault", "change"),
    [
        pytest.param(POD, target(host_network=True, host_pid=True, user=None, command=("shop",)), id="a pod is a pod"),
        pytest.param(KILL, target(command=()), id="the image says what runs"),
        pytest.param(KILL, target(command=("/usr/bin/tini", "--", "x")), id="an init by its path"),
        pytest.param(KILL, target(user=0), id="root"),
        pytest.param(CUT, target(door=None), id="a cut has its own port"),
        pytest.param(KILL, worldly(surroundings=Surroundings(allowed=True, enforces="restricted")), id="no NET_ADMIN"),
        pytest.param(CUT, worldly(surroundings=Surroundings(allowed=True, enforces="privileged")), id="privileged"),
    ],
)
def test_what_cannot_do_harm_is_accepted(fault: Fault, change: Callable[[FaultWorld], None]) -> None:
    world = FaultWorld(an_experiment(fault))
    change(world)
    world.until(lambda w: w.truth(names.INJECTED) is not None, within=2)
    assert world.truth(names.ACCEPTED) == ("True", names.ACCEPTED)


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("driver", list(Driver))
def test_a_dry_run_asks_for_all_that_the_fault_needs(fault: Fault, driver: Driver) -> None:
    world = FaultWorld(an_experiment(fault, driver=driver, mode="All"), pods={n: a_target(n) for n in ("a", "b")})
    seen = world.observe()
    if driver is Driver.CHAOS_MESH and fault not in preflight.BY_MESH:
        return
    watch, *rest = inject.trial(seen, preflight.choose(seen), 2, "image")
    assert isinstance(watch, CreatePod)
    if driver is Driver.CHAOS_MESH:
        assert [type(action) for action in rest] == [CreateMeshFault]
    elif fault is OUTAGE:
        assert [type(action) for action in rest] == [CreatePod]
    else:
        kind = KillPod if fault is POD else AddAgent
        assert [type(action) for action in rest] == [kind, kind]
