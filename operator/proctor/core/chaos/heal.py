"""The end of a fault: at its deadline or earlier, and the proof of it.

Every built-in fault ends by itself: in the kernel, by its agent, by the pod that made the outage. What is done here is
to end it early when it is aborted, and to make sure.
"""

from datetime import datetime, timedelta

from proctor.api.chaos import ChaosExperimentStatus, ChaosTarget
from proctor.api.scalars import Driver, Fault, seconds
from proctor.core.actions import AddAgent, ChaosAction, CreatePod, DeleteMeshFault, DeletePod
from proctor.core.chaos import manifests
from proctor.core.chaos.inject import GRACE, Progress, deed
from proctor.core.chaos.judge import moment
from proctor.core.chaos.observed import Agent, HelperPod, ObservedExperiment
from proctor.core.envelope import IncompleteReport
from proctor.core.timeline import Deed

SETTLED = timedelta(milliseconds=200)
OWN_END = timedelta(seconds=3)
"""How much after its deadline an agent may tell of the end that it made."""
OVERDUE = timedelta(seconds=10)
"""How much after its deadline an outage is ended by another pod: the one that made it may be on a node that is lost."""
TOLD = {
    Fault.NETWORK_CUT: "the rules' timers ran out and the rules are removed",
    Fault.PAUSE: "the processes run again",
    Fault.PROCESS_KILL: "nothing is left to undo",
    Fault.POD_KILL: "the pods are gone",
}


def advance(
    seen: ObservedExperiment, status: ChaosExperimentStatus, begun: datetime, image: str, *, early: bool
) -> Progress:
    """Return the next step of the heal of a fault that was decided at `begun`.

    With `early` it must end now instead of at its deadline. A target without injectedAt may still be hit: its agent
    has not spoken.
    """
    spec = seen.experiment.spec
    if spec.driver is Driver.CHAOS_MESH:
        return _by_mesh(seen, status, early=early)
    if spec.fault is Fault.OUTAGE:
        return _outage(seen, status, deadline(seen, status, begun), image, early=early)
    return _by_pod(seen, status, begun, image, early=early)


def deadline(seen: ObservedExperiment, status: ChaosExperimentStatus, begun: datetime) -> datetime:
    """Return when the fault ends by itself at the latest."""
    return max(_deadline(seen, target, begun) for target in status.targets)


def _deadline(seen: ObservedExperiment, target: ChaosTarget, begun: datetime) -> datetime:
    at = target.injected_at or begun + timedelta(seconds=manifests.ALLOWANCE)
    return at + timedelta(seconds=seconds(seen.experiment.spec.duration))


def _by_pod(
    seen: ObservedExperiment, status: ChaosExperimentStatus, begun: datetime, image: str, *, early: bool
) -> Progress:
    fault = seen.experiment.spec.fault
    targets: list[ChaosTarget] = []
    actions: list[ChaosAction] = []
    for target in status.targets:
        healed, action = _end_of(seen, target, begun, image, early=early)
        targets.append(target.model_copy(update={"healed_at": healed}))
        actions += [action] if action else []
    done = all(target.healed_at is not None for target in targets)
    message = TOLD[fault] if done else f"{fault} has not ended"
    ends = [_deadline(seen, target, begun) for target in targets if target.healed_at is None]
    waits = fault in manifests.HEALS and not early and seen.now < min(ends, default=seen.now)
    again = min(ends) + SETTLED if waits else None
    return Progress(tuple(targets), tuple(actions), done=done, message=message, look_again=again)


def _end_of(
    seen: ObservedExperiment, target: ChaosTarget, begun: datetime, image: str, *, early: bool
) -> tuple[datetime | None, ChaosAction | None]:
    """Return when the fault of one target ended, or what to do about it."""
    fault, pod = seen.experiment.spec.fault, seen.pod(target.uid)
    if target.healed_at is not None:
        return target.healed_at, None
    if fault is Fault.PROCESS_KILL and target.injected_at is not None:
        return target.injected_at, None
    if pod is None:
        # Whatever was in it went with it.
        return seen.now, None
    if fault is Fault.POD_KILL:
        return (None if pod.deleting or target.injected_at else seen.now), None
    agent = pod.agents.get(manifests.child_name(seen.experiment, manifests.INJECTS[fault]))
    if target.injected_at is None:
        # Until this one's agent has spoken, or can act no more, all waits for it.
        if agent is not None and agent.ended is None and seen.now < begun + _LATEST:
            return None, None
        if agent is None or _never(seen, agent) or fault is Fault.PROCESS_KILL:
            return seen.now, None
    elif fault is Fault.PAUSE and (ended := _healed_at(_word(seen, agent, manifests.PAUSE))):
        return ended, None
    end = _deadline(seen, target, begun)
    if not early and seen.now < end + (SETTLED if fault is Fault.NETWORK_CUT else OWN_END):
        return None, None
    action = manifests.HEALS[fault]
    healer = pod.agents.get(manifests.child_name(seen.experiment, action))
    if healer is None:
        return None, AddAgent(pod.name, pod.uid, manifests.agent(seen.experiment, pod, action, begun, image))
    return _proof(_word(seen, healer, action), end), None


_LATEST = timedelta(seconds=manifests.ALLOWANCE) + GRACE


def _never(seen: ObservedExperiment, agent: Agent) -> bool:
    """Whether an agent that can act no more has surely not acted."""
    if agent.ended is None:
        return agent.started_at is None
    word = _word(seen, agent, manifests.INJECTS[seen.experiment.spec.fault])
    return word is not None and word.complete and word.injected_at is None


def _word(seen: ObservedExperiment, made: Agent | HelperPod | None, action: str) -> Deed | None:
    """Return what an agent or a pod said; None while it has not spoken, and when it was ended before it could."""
    if made is None or made.ended is None:
        return None
    try:
        return deed(seen, action, made.ended)
    except IncompleteReport:
        return None


def _healed_at(word: Deed | None) -> datetime | None:
    return None if word is None or word.healed_at is None else moment(word.healed_at)


def _proof(word: Deed | None, end: datetime) -> datetime | None:
    """Return when the fault ended by the word of a healing agent; None while it has not spoken, or failed."""
    healed = _healed_at(word)
    if word is None or word.error or healed is None:
        return None
    # With nothing left to undo the kernel's own timer came first.
    return min(end, healed) if word.left == 0 else healed


def _outage(
    seen: ObservedExperiment, status: ChaosExperimentStatus, end: datetime, image: str, *, early: bool
) -> Progress:
    helper, restore = seen.helpers.get(manifests.OUTAGE), seen.helpers.get(manifests.RESTORE)
    word = _word(seen, helper, manifests.OUTAGE)
    healed = _healed_at(word) or _healed_at(_word(seen, restore, manifests.RESTORE))
    targets = tuple(status.targets)
    if word is not None and word.injected_at is not None:
        # More exact than when the operator saw it.
        targets = tuple(t.model_copy(update={"injected_at": moment(word.injected_at)}) for t in targets)
    reference = seen.experiment.spec.target_ref
    name = f"{reference.kind} {reference.name}" if reference else ""
    up = seen.workload is None or seen.workload.replicas > 0
    if up and (healed or helper is None or helper.over):
        gone = "" if seen.workload else f"; {name} is gone"
        targets = tuple(target.model_copy(update={"healed_at": healed or seen.now}) for target in targets)
        return Progress(targets, done=True, message=f"scaled back to {status.replicas}{gone}")
    if helper is not None and not helper.over and seen.now < end + OVERDUE:
        # Ending it makes it scale back at once.
        stop = (DeletePod(helper.name, helper.uid),) if early and not helper.deleting else ()
        again = None if early or seen.now >= end else end + SETTLED
        return Progress(targets, stop, message=f"pod {helper.name} has not scaled back", look_again=again)
    actions: tuple[ChaosAction, ...] = ()
    if restore is None:
        actions = (CreatePod(manifests.restore(seen.experiment, status.replicas, image)),)
    elif restore.phase == "Failed":
        actions = (DeletePod(restore.name, restore.uid),)
    return Progress(targets, actions, message=f"{name} is still scaled to zero")


def _by_mesh(seen: ObservedExperiment, status: ChaosExperimentStatus, *, early: bool) -> Progress:
    lasting, mesh = seen.experiment.spec.fault is Fault.NETWORK_CUT, seen.mesh
    # A finalizer of its own keeps a deleted object until it has healed. One that stays keeps its namespace from ending
    # once Chaos Mesh is gone.
    delete = (DeleteMeshFault(manifests.mesh_kind(seen.experiment), mesh.name),) if mesh else ()
    if mesh is None or (mesh.recovered if lasting else not early):
        targets = tuple(t.model_copy(update={"healed_at": t.healed_at or seen.now}) for t in status.targets)
        return Progress(targets, delete, done=True, message="Chaos Mesh has ended it")
    message = f"{mesh.name}: {mesh.message or 'not recovered'}"
    return Progress(tuple(status.targets), delete if early else (), message=message)
