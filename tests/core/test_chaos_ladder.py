"""Whole experiments, folded through the little world of faults until their verdict."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from builders import at
from core.faultworld import FaultWorld, Sick, a_mesh_world, a_target, an_experiment
from proctor.api import names
from proctor.api.scalars import Fault
from proctor.core.actions import AddAgent, CreateMeshFault, CreatePod, KillPod
from proctor.core.chaos import manifests
from proctor.core.chaos.observed import MeshFault, Surroundings, Workload
from proctor.core.observed import Ended
from proctor.core.timeline import STOPPED, Deed, encode_deed

ALL = list(Fault)
BY_AGENT = [Fault.NETWORK_CUT, Fault.PROCESS_KILL, Fault.PAUSE]
fast = settings(max_examples=40, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
PROBES: dict[str, Any] = {"steadyState": {"probes": [{"name": "home", "http": {"url": "http://shop/"}}]}}


def a_world(fault: Fault = Fault.NETWORK_CUT, pods: int = 1, sick: Sick | None = None, **spec: Any) -> FaultWorld:
    """Return a world with that many pods, all of which are hit."""
    targets = [a_target(f"shop-{number}") for number in range(pods)]
    return FaultWorld(
        an_experiment(fault, **({"mode": "All"} | spec)),
        pods={pod.uid: pod for pod in targets},
        workload=Workload("Deployment", "shop", pods),
        sick=sick or Sick(),
    )


def rung(reason: str, truth: str = "") -> Callable[[FaultWorld], bool]:
    """Return whether a world's experiment has this reason in one of its conditions."""
    return lambda world: any(c.reason == reason and truth in ("", c.status) for c in world.status.conditions)


def injections(world: FaultWorld) -> list[object]:
    """Return what was asked for that makes a fault."""
    made = set(manifests.INJECTS.values()) | {manifests.OUTAGE}
    return [
        action
        for action in world.asked
        if isinstance(action, KillPod | CreateMeshFault)
        or (isinstance(action, AddAgent) and action.container["name"].split("-")[1] in made)
        or (isinstance(action, CreatePod) and action.manifest["metadata"]["name"].split("-")[1] in made)
    ]


# --- verdicts ---------------------------------------------------


@pytest.mark.parametrize("pods", [1, 2])
@pytest.mark.parametrize("fault", ALL)
def test_a_fault_that_is_seen_and_gone_passes(fault: Fault, pods: int) -> None:
    world = a_world(fault, pods, **PROBES)
    status = world.finish()
    assert world.outcome == ("Passed", names.PASSED), world
    for kind in (names.INJECTED, names.EFFECTIVE, names.HEALED, names.RECOVERED):
        assert world.truth(kind) == ("True", kind)
    assert world.truth(names.STEADY_STATE_HELD) == ("False", "Probes"), "the probe failed while the fault was on"
    assert dict(world.hits) == {f"shop-{number}": 1 for number in range(pods)}
    for target in status.targets:
        assert target.injected_at is not None
        assert target.healed_at is not None
        assert target.recovered_at is not None
        assert target.injected_at <= target.healed_at <= target.recovered_at
    assert status.recovery_seconds is not None
    assert status.recovery_seconds <= 4


@pytest.mark.parametrize("fault", ALL)
def test_a_fault_that_nobody_saw_is_inconclusive(fault: Fault) -> None:
    world = a_world(fault, sick=Sick(immune=True))
    world.finish()
    assert world.outcome == ("Inconclusive", names.NOT_EFFECTIVE)
    assert world.truth(names.EFFECTIVE) == ("False", names.NOT_EFFECTIVE)
    assert world.truth(names.HEALED) == ("True", names.HEALED)


@pytest.mark.parametrize("fault", ALL)
def test_a_target_that_does_not_come_back_is_failed(fault: Fault) -> None:
    world = a_world(fault, sick=Sick(never_well=True))
    world.finish()
    assert world.outcome == ("Failed", names.NOT_RECOVERED)
    assert world.truth(names.RECOVERED) == ("False", names.NOT_RECOVERED)


@pytest.mark.parametrize("fault", [Fault.POD_KILL, Fault.OUTAGE])
def test_a_target_that_does_not_come_back_is_failed_though_the_effect_is_unproven(fault: Fault) -> None:
    world = a_world(fault, sick=Sick(never_well=True, immune=True))
    world.finish()
    assert world.outcome == ("Failed", names.NOT_RECOVERED)


@pytest.mark.parametrize("fault", ALL)
def test_a_target_that_comes_back_too_late_is_failed(fault: Fault) -> None:
    world = a_world(fault, sick=Sick(comes_back=18), recoveryTimeout="10s")
    world.finish()
    assert world.outcome == ("Failed", names.NOT_RECOVERED), world


@pytest.mark.parametrize(
    ("observer", "outcome"),
    [
        ("bad", ("Inconclusive", names.STEADY_STATE_NOT_HELD)),
        ("silent", ("Error", names.OBSERVER_FAILED)),
        ("garbled", ("Error", names.OBSERVER_FAILED)),
    ],
)
def test_without_an_observer_nothing_is_effective(observer: str, outcome: tuple[str, str]) -> None:
    world = a_world(sick=Sick(observer=observer))
    world.finish()
    assert world.outcome == outcome
    assert world.truth(names.EFFECTIVE) is None
    if observer != "garbled":
        assert not injections(world), "nothing is injected without an observer that is good"


@pytest.mark.parametrize("fault", ALL)
def test_an_observer_that_is_deleted_while_the_fault_is_on_proves_nothing(fault: Fault) -> None:
    world = a_world(fault)
    world.until(rung(names.INJECTED, "True"))
    world._end_helper(manifests.OBSERVER)
    world.finish()
    assert world.outcome == ("Error", names.OBSERVER_FAILED), world


@pytest.mark.parametrize("fault", ALL)
def test_nothing_is_made_when_the_observer_has_gone(fault: Fault) -> None:
    world = a_world(fault)
    world.until(rung(names.SELECTED))
    world.until(lambda w: w.helpers.get("observer") is not None and w.helpers["observer"].ready_since is not None)
    world.kill_at, world.kill_for = 2 * (world.writes + 1) + 1, 3.0  # after "Injecting" is written
    world.until(rung(names.INJECTING))
    del world.helpers[manifests.OBSERVER]
    world.finish()
    assert world.outcome == ("Error", names.OBSERVER_FAILED)
    assert not world.hits


def test_an_observer_that_is_deleted_before_the_fault_is_replaced() -> None:
    world = a_world()
    world.until(lambda w: "observer" in w.helpers and w.helpers["observer"].ready_since is None)
    world._end_helper(manifests.OBSERVER)
    world.finish()
    assert world.outcome == ("Passed", names.PASSED)


@pytest.mark.parametrize("fault", BY_AGENT)
@pytest.mark.parametrize(
    ("fate", "reason"),
    [
        ("silent", names.INJECTION_FAILED),
        ("dies first", names.INJECTION_FAILED),
        ("garbled", names.INJECTION_FAILED),
        ("TooLate", "TooLate"),
        (names.PID_ONE_TARGET, names.PID_ONE_TARGET),
    ],
)
@pytest.mark.parametrize("pods", [1, 2])
def test_an_agent_that_fails_is_an_error_and_what_the_other_did_is_healed(
    fault: Fault, fate: str, reason: str, pods: int
) -> None:
    world = a_world(fault, pods, sick=Sick(agents={(manifests.INJECTS[fault], "shop-0"): fate}))
    world.finish()
    assert world.outcome == ("Error", reason), world
    assert world.truth(names.INJECTED) == ("False", reason)
    assert world.truth(names.HEALED) == ("True", names.HEALED)
    assert "shop-0" not in world.hits
    for uid, (_, end) in world.on.items():
        assert end <= world.now, f"{uid} is still hit"


@pytest.mark.parametrize("fault", [Fault.PROCESS_KILL, Fault.PAUSE])
def test_an_agent_that_dies_by_its_own_deed_has_left_a_trace(fault: Fault) -> None:
    """A kill ends the agent with its target, and the kubelet may restart what is paused."""
    world = a_world(fault, sick=Sick(agents={(manifests.INJECTS[fault], ""): "dies"}))
    world.finish()
    assert world.outcome == ("Passed", names.PASSED), world


def test_a_cut_whose_agent_died_before_its_word_is_an_error_and_is_undone() -> None:
    world = a_world(sick=Sick(agents={(manifests.CUT, ""): "dies"}))
    world.finish()
    assert world.outcome == ("Error", names.INJECTION_FAILED)
    assert world.truth(names.HEALED) == ("True", names.HEALED)
    start, end = world.on["uid-shop-0"]
    assert (end - start).total_seconds() < 9, "it was undone before its time"


def test_a_pause_whose_agent_refuses_after_its_start_is_an_error() -> None:
    """A pausing agent is taken for begun when it runs; what it says at its end counts more."""
    world = a_world(Fault.PAUSE, sick=Sick(immune=True))
    world.until(rung(names.INJECTED, "True"))
    pod = world.pods["uid-shop-0"]
    name = manifests.child_name(world.experiment, manifests.PAUSE)
    deed = Deed(world.experiment.metadata.uid, "pause", complete=True, error="NotStopped", message="one would not stop")
    ended = Ended(1, "Error", encode_deed(deed))
    world.pods[pod.uid] = replace(pod, agents={name: replace(pod.agents[name], ended=ended)})
    world.finish()
    assert world.outcome == ("Error", "NotStopped")


@pytest.mark.parametrize("fault", [Fault.NETWORK_CUT, Fault.PAUSE])
@pytest.mark.parametrize("fate", ["silent", "dies", "garbled", "NotPermitted"])
def test_a_heal_that_cannot_be_proven_is_an_error_within_its_time(fault: Fault, fate: str) -> None:
    agents = {(manifests.HEALS[fault], ""): fate}
    if fault is Fault.PAUSE:
        agents[manifests.PAUSE, ""] = "dies"  # or else it tells of its own end
    world = a_world(fault, sick=Sick(agents=agents))
    world.finish(within=150)
    assert world.outcome == ("Error", names.NOT_HEALED), world
    assert world.truth(names.HEALED) == ("False", names.NOT_HEALED)


def test_a_heal_that_the_api_server_refuses_is_an_error_within_its_time() -> None:
    world = a_world(sick=Sick(refuses_heals=True))
    world.finish(within=150)
    assert world.outcome == ("Error", names.NOT_HEALED)


def test_a_killed_pod_that_does_not_go_is_an_error_within_its_time() -> None:
    world = a_world(Fault.POD_KILL, sick=Sick(stuck=True))
    world.finish(within=150)
    assert world.outcome == ("Error", names.NOT_HEALED)


@pytest.mark.parametrize("fault", ALL)
@pytest.mark.parametrize("skew", [-1.0, 1.0])
def test_clocks_of_nodes_may_be_a_second_apart(fault: Fault, skew: float) -> None:
    world = a_world(fault, sick=Sick(skew=skew))
    world.finish()
    assert world.outcome == ("Passed", names.PASSED), world


# --- targets that change ----------------------------------------


@pytest.mark.parametrize("fault", ALL)
@pytest.mark.parametrize("deleting", [True, False])
def test_a_pod_that_goes_before_the_fault_is_inconclusive(fault: Fault, deleting: bool) -> None:
    world = a_world(fault, pods=2)
    world.until(rung(names.SELECTED))
    gone = world.pods.pop("uid-shop-1")
    if deleting:
        world.pods[gone.uid] = replace(gone, deleting=True)
    world.finish()
    assert world.outcome == ("Inconclusive", names.TARGET_LOST)
    assert not injections(world)


@pytest.mark.parametrize("fault", BY_AGENT)
def test_a_pod_that_goes_before_its_agent_spoke_is_an_error(fault: Fault) -> None:
    world = a_world(fault, sick=Sick(agent_delay=5))
    world.until(rung(names.INJECTING))
    world.wait(1)
    del world.pods["uid-shop-0"]
    world.finish()
    assert world.outcome == ("Error", names.INJECTION_FAILED)


@pytest.mark.parametrize("fault", [Fault.NETWORK_CUT, Fault.PAUSE])
def test_a_pod_that_is_replaced_under_the_fault_is_inconclusive_and_one_that_is_missing_failed(fault: Fault) -> None:
    for replaced, outcome in ((True, ("Inconclusive", names.TARGET_LOST)), (False, ("Failed", names.NOT_RECOVERED))):
        world = a_world(fault)
        world.until(rung(names.INJECTED, "True"))
        world.wait(3)
        del world.pods["uid-shop-0"]
        if replaced:
            world.pods["uid-new"] = a_target("shop-0", uid="uid-new", ready_since=world.now)
        world.finish()
        assert world.outcome == outcome, world


@pytest.mark.parametrize("refused", ["Cannot evict pod as it would violate the pod's disruption budget."])
def test_a_budget_that_changed_since_the_dry_run_is_an_error(refused: str) -> None:
    world = a_world(Fault.POD_KILL, pods=2, sick=Sick(refused=refused))
    world.finish()
    assert world.outcome == ("Error", names.DISRUPTION_BUDGET)
    assert not world.hits


def test_one_of_two_kills_that_is_refused_is_an_error() -> None:
    world = a_world(Fault.POD_KILL, pods=2)
    act = world._act

    def one_only(action: Any) -> None:
        if isinstance(action, KillPod) and action.name == "shop-1":
            world.sick.refused = "Cannot evict pod as it would violate the pod's disruption budget."
        act(action)

    world._act = one_only  # type: ignore[method-assign]
    world.finish()
    assert world.outcome == ("Error", names.DISRUPTION_BUDGET)
    assert dict(world.hits) == {"shop-0": 1}


def test_a_namespace_that_takes_back_its_consent_before_the_fault_is_left_alone() -> None:
    world = a_world()
    world.until(rung(names.SELECTED))
    world.surroundings = Surroundings(allowed=False)
    world.finish()
    assert world.outcome == ("Error", names.NAMESPACE_NOT_ALLOWED)
    assert not injections(world)


@pytest.mark.parametrize("reason", [names.SELECTED, names.INJECTING, names.INJECTED, names.HEALED])
def test_rights_that_are_taken_away_end_the_experiment(reason: str) -> None:
    world = a_world()
    world.until(rung(reason))
    world.surroundings = None
    world.finish()
    assert world.outcome == ("Error", names.NO_RIGHTS)


# --- outages ----------------------------------------------------


def test_an_outage_whose_pod_is_evicted_is_scaled_back_and_inconclusive_or_passed() -> None:
    world = a_world(Fault.OUTAGE, duration="60s")
    world.until(rung(names.INJECTED, "True"))
    world.wait(3)
    world._end_helper(manifests.OUTAGE)
    world.finish()
    assert world.workload is not None
    assert world.workload.replicas == 1
    assert world.truth(names.HEALED) == ("True", names.HEALED)
    assert world.outcome == ("Passed", names.PASSED), world


def test_an_outage_whose_pod_is_lost_with_its_node_is_ended_by_another() -> None:
    world = a_world(Fault.OUTAGE, sick=Sick(agents={(manifests.OUTAGE, ""): "dies"}))
    world.until(lambda w: w.workload is not None and w.workload.replicas == 0)
    world.helpers[manifests.OUTAGE] = replace(world.helpers[manifests.OUTAGE], phase="Running")
    world.sick.agents = {(manifests.OUTAGE, ""): "silent"}
    world.finish()
    assert world.workload is not None
    assert world.workload.replicas == 1
    assert world.outcome == ("Passed", names.PASSED), world


@pytest.mark.parametrize("fate", ["dies first", "ScaleChanged"])
def test_an_outage_that_is_not_made_is_an_error(fate: str) -> None:
    world = a_world(Fault.OUTAGE, sick=Sick(agents={(manifests.OUTAGE, ""): fate}))
    world.finish()
    assert world.outcome == ("Error", names.INJECTION_FAILED if fate == "dies first" else fate)
    assert not world.hits


# --- Chaos Mesh -------------------------------------------------


def test_chaos_mesh_makes_and_ends_a_cut() -> None:
    world = a_mesh_world()
    world.finish()
    assert world.outcome == ("Passed", names.PASSED), world
    assert dict(world.hits) == {"shop-0": 1}


def test_chaos_mesh_that_does_nothing_is_an_error() -> None:
    world = a_mesh_world()
    world.sick = Sick(agents={("mesh", ""): "silent"})
    world.finish()
    assert world.outcome == ("Error", names.INJECTION_FAILED)
    assert world.mesh is None, "its object is deleted, so it does nothing later"


@pytest.mark.parametrize("fault", [Fault.POD_KILL, Fault.PROCESS_KILL])
def test_what_chaos_mesh_has_not_killed_yet_it_never_does_after_an_abort(fault: Fault) -> None:
    world = a_mesh_world(fault)
    world.sick = Sick(agents={("mesh", ""): "silent"})
    world.until(lambda w: isinstance(w.mesh, MeshFault))
    world.edit(abort=True)
    world.finish()
    assert world.outcome == ("Error", names.ABORTED)
    assert world.mesh is None


# --- turns ------------------------------------------------------


def test_what_waits_for_its_turn_has_its_whole_time_afterwards() -> None:
    world = a_world()
    world.rival = "ChaosExperiment other is on in this namespace"
    world.pods = {}  # the other fault has killed them
    world.wait(200)
    assert world.truth(names.ACCEPTED) == ("True", names.WAITING_FOR_TARGET)
    assert not world.asked
    world.rival, world.pods = "", {"uid-shop-0": a_target()}
    world.finish()
    assert world.outcome == ("Passed", names.PASSED), world


# --- abort and deletion -----------------------------------------

MOMENTS = [names.SELECTED, names.INJECTING, names.INJECTED, names.HEALED]


def test_an_abort_before_anything_does_nothing() -> None:
    world = a_world()
    world.edit(abort=True)
    world.finish()
    assert world.outcome == ("Error", names.ABORTED)
    assert not world.asked


@pytest.mark.parametrize("fault", ALL)
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("later", [0.0, 0.75, 2.0])
def test_an_abort_heals_and_injects_nothing_more(fault: Fault, moment: str, later: float) -> None:
    world = a_world(fault, pods=2, duration="60s")
    world.until(rung(moment))
    world.wait(later)
    before = len(injections(world))
    world.edit(abort=True)
    world.finish(within=100)
    if world.status.verdict is not None and world.outcome != ("Passed", names.PASSED):
        assert world.outcome == ("Error", names.ABORTED), world
    assert len(injections(world)) == before
    for _, end in world.on.values():
        assert end <= world.now, "the fault is over"
    assert world.workload is not None
    assert world.workload.replicas == 2


@pytest.mark.parametrize("fault", ALL)
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("how", ["healthy", "no agent ends", "heals are refused", "namespace goes", "no rights"])
def test_a_deletion_always_ends_and_injects_nothing_more(fault: Fault, moment: str, how: str) -> None:
    world = a_world(fault, duration="60s")
    world.until(rung(moment))
    before = len(injections(world))
    if how == "no agent ends":
        world.sick.agents = dict.fromkeys([("uncut", ""), ("resume", ""), ("restore", ""), ("outage", "")], "silent")
        world.sick.stuck = True
    world.sick.refuses_heals = how == "heals are refused"
    if how == "namespace goes":
        world.surroundings = Surroundings(allowed=True, deleting=True)
    if how == "no rights":
        world.surroundings = None
    world.delete()
    world.until(lambda w: w.gone, within=70)
    assert len(injections(world)) == before
    assert names.FINALIZER not in world.experiment.metadata.finalizers


# --- an operator that is away or killed -------------------------


@pytest.mark.parametrize("fault", ALL)
@pytest.mark.parametrize("moment", [names.ACCEPTED, names.SELECTED, names.INJECTED, names.HEALING, names.HEALED])
@pytest.mark.parametrize("away", [20, 60, 300])
def test_an_operator_that_was_away_gives_the_same_verdict(fault: Fault, moment: str, away: float) -> None:
    world = a_world(fault)
    try:
        world.until(rung(moment), within=60)
    except AssertionError:
        assert moment == names.HEALING, "what heals by itself needs no time for it"
        return
    world.away = at((world.now - at(0)).total_seconds() + away)
    world.finish(within=away + 200)
    assert world.outcome == ("Passed", names.PASSED), world
    assert dict(world.hits) == {"shop-0": 1}


@pytest.mark.parametrize("fault", ALL)
@pytest.mark.parametrize("away", [2, 20])
def test_a_long_recovery_is_not_forgiven_because_the_operator_was_away(fault: Fault, away: float) -> None:
    world = a_world(fault, sick=Sick(comes_back=18), recoveryTimeout="10s")
    world.until(rung(names.INJECTED, "True"))
    world.away = at((world.now - at(0)).total_seconds() + away)
    world.finish()
    assert world.outcome == ("Failed", names.NOT_RECOVERED), world


@fast
@given(
    fault=st.sampled_from(ALL),
    pods=st.integers(1, 3),
    kill_at=st.integers(0, 30),
    away=st.sampled_from([0.0, 5.0, 16.0, 25.0]),
)
def test_invariant_4_a_killed_operator_comes_to_the_same_verdict(
    fault: Fault, pods: int, kill_at: int, away: float
) -> None:
    world = a_world(fault, pods)
    world.kill_at, world.kill_for = kill_at, away
    world.finish()
    assert max(world.hits.values(), default=1) == 1, "no target is hit twice"
    if world.outcome == ("Error", names.OBSERVER_FAILED):
        # Away too long between two of several targets: the observer has seen the end of the first one's fault.
        assert pods > 1
        assert away > 5
        return
    assert world.outcome == ("Passed", names.PASSED), world
    assert dict(world.hits) == {f"shop-{number}": 1 for number in range(pods)}, "each target is hit once"


FATES = ["", "silent", "dies", "dies first", "garbled", "TooLate"]


@st.composite
def worlds(draw: st.DrawFn) -> FaultWorld:
    fault, pods = draw(st.sampled_from(ALL)), draw(st.integers(1, 3))
    actions = ["cut", "uncut", "kill", "pause", "resume", "outage", "restore"]
    agents = {(draw(st.sampled_from(actions)), draw(st.sampled_from(["", "shop-0"]))): draw(st.sampled_from(FATES))}
    sick = Sick(
        agents=agents,
        immune=draw(st.booleans()),
        never_well=draw(st.booleans()),
        comes_back=draw(st.integers(0, 40)),
        observer=draw(st.sampled_from(["", "", "", "bad", "silent", "garbled"])),
        refused=draw(st.sampled_from(["", "", "no"])),
        refuses_heals=draw(st.booleans()),
        stuck=draw(st.booleans()),
        skew=draw(st.sampled_from([-1.0, 0.0, 1.0])),
        agent_delay=draw(st.sampled_from([0.5, 1.0, 6.0, 29.0])),
    )
    return a_world(fault, pods, sick, duration=draw(st.sampled_from(["1s", "5s", "20s"])))


INTERVENTIONS: dict[str, Callable[[FaultWorld], None]] = {
    "nothing": lambda world: None,
    "abort": lambda world: world.edit(abort=True),
    "delete": FaultWorld.delete,
    "pods vanish": lambda world: world.pods.clear(),
    "helpers vanish": lambda world: world.helpers.clear(),
    "rights vanish": lambda world: setattr(world, "surroundings", None),
    "namespace goes": lambda world: setattr(world, "surroundings", Surroundings(allowed=True, deleting=True)),
}


@settings(fast, max_examples=150)
@given(
    world=worlds(),
    what=st.sampled_from(sorted(INTERVENTIONS)),
    moment=st.integers(0, 40),
    kill_at=st.none() | st.integers(0, 20),
    away=st.sampled_from([0.0, 16.0, 70.0]),
)
def test_every_world_ends(world: FaultWorld, what: str, moment: int, kill_at: int | None, away: float) -> None:
    """Within a bound, with the finalizer gone, no target hit twice, and a pass only for what was seen."""
    world.kill_at, world.kill_for = kill_at, away
    world.wait(moment)
    INTERVENTIONS[what](world)
    world.finish(within=420)
    assert world.gone or not world.experiment.metadata.finalizers
    assert all(times == 1 for times in world.hits.values()), "a target is hit at most once"
    if not world.gone:
        assert world.status.reason
        assert world.status.message
    if world.outcome[0] == "Passed":
        assert not world.sick.immune
        assert world.truth(names.EFFECTIVE) == ("True", names.EFFECTIVE)
        assert world.truth(names.HEALED) == ("True", names.HEALED)
        assert len(world.hits) == len(world.status.targets)


def test_an_outage_that_was_never_begun_is_not_healed_on_deletion() -> None:
    """Killed between its finalizer and its status: a scale of zero is somebody else's, and stays."""
    world = a_world(Fault.OUTAGE)
    world.until(rung(names.SELECTED))
    world.experiment = world.experiment.model_copy(
        update={"metadata": world.experiment.metadata.model_copy(update={"finalizers": [names.FINALIZER]})}
    )
    world.workload = Workload("Deployment", "shop", 0)
    world.delete()
    world.until(lambda w: w.gone, within=5)
    assert world.workload.replicas == 0
    assert "restore" not in world.helpers


def test_a_report_that_was_stopped_is_not_whole() -> None:
    world = a_world()
    world.until(rung(names.INJECTED, "True"))
    world.wait(2)
    world._report(world.helpers[manifests.OBSERVER], STOPPED)
    world.finish()
    assert world.outcome == ("Error", names.OBSERVER_FAILED), world


def test_a_kill_whose_operator_was_away_is_not_dated_later_than_it_was() -> None:
    world = a_world(Fault.POD_KILL)
    world.until(rung(names.INJECTING))
    world.kill_at, world.kill_for = 2 * world.writes + 1, 12.0  # after the kill
    world.finish()
    assert dict(world.hits) == {"shop-0": 1}
    assert world.outcome == ("Passed", names.PASSED), world
