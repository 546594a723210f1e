"""The end of a fault: at its deadline or earlier, and the proof of it.

Every built-in fault ends by itself: in the kernel, by its agent, by the pod that made the outage. What is done here is
to end it early when it is aborted, and to make sure.
"""

from datetime import datetime, timedelta

from proctor.api import names
from proctor.api.chaos import ChaosExperimentStatus, ChaosTarget
from proctor.api.scalars import Driver, Fault, Verdict, seconds
from proctor.core import conditions
from proctor.core.actions import AddAgent, ChaosAction, CreatePod, DeleteMeshFault, DeletePod
from proctor.core.chaos import manifests
from proctor.core.chaos.inject import GRACE, Progress, deed
from proctor.core.chaos.judge import moment
from proctor.core.chaos.observed import Agent, ObservedExperiment, TargetPod
from proctor.core.envelope import IncompleteReport
from proctor.core.verdict import Judgment

TIMEOUT = timedelta(seconds=60)
"""How long after its end a fault may go on before that is an Error."""
SETTLED = timedelta(milliseconds=200)


def advance(seen: ObservedExperiment, status: ChaosExperimentStatus, image: str, *, early: bool) -> Progress:
    """Return the next step of the heal. With `early` the fault must end now instead of at its deadline."""
    spec = seen.experiment.spec
    injected = [target.injected_at for target in status.targets if target.injected_at is not None]
    deadline = max(injected, default=seen.now) + timedelta(seconds=seconds(spec.duration))
    if spec.driver is Driver.CHAOS_MESH:
        progress = _by_mesh(seen, status, deadline, early=early)
    elif spec.fault is Fault.OUTAGE:
        progress = _outage(seen, status, deadline, image, early=early)
    else:
        progress = _by_pod(seen, status, deadline, image, early=early)
    late = _since(seen, deadline, early=early) + TIMEOUT
    if progress.done or progress.trouble or seen.now < late:
        return progress
    message = progress.message or f"{spec.fault} did not end within {TIMEOUT.seconds} s after its time"
    return Progress(progress.targets, trouble=Judgment(Verdict.ERROR, names.NOT_HEALED, message))


def _since(seen: ObservedExperiment, deadline: datetime, *, early: bool) -> datetime:
    """Return since when the fault should be over, as far as that is written down."""
    deleted = seen.experiment.metadata.deletion_timestamp
    return min(deadline, deleted) if early and deleted else deadline


def _by_pod(
    seen: ObservedExperiment, status: ChaosExperimentStatus, deadline: datetime, image: str, *, early: bool
) -> Progress:
    targets: list[ChaosTarget] = []
    actions: list[ChaosAction] = []
    for target in status.targets:
        healed, action = _end_of(seen, target, deadline, image, early=early)
        targets.append(target.model_copy(update={"healed_at": healed}))
        actions += [action] if action else []
    done = all(target.healed_at is not None for target in targets)
    waiting = seen.experiment.spec.fault in manifests.HEALS and not early and seen.now < deadline
    again = deadline + SETTLED if waiting else None
    return Progress(tuple(targets), tuple(actions), done=done, message=_told(seen, done=done), look_again=again)


def _end_of(
    seen: ObservedExperiment, target: ChaosTarget, deadline: datetime, image: str, *, early: bool
) -> tuple[datetime | None, ChaosAction | None]:
    """Return when the fault of one target ended, or what to do about it."""
    fault, pod = seen.experiment.spec.fault, seen.pod(target.uid)
    if target.healed_at is not None:
        return target.healed_at, None
    if pod is None:
        # Whatever was in it went with it.
        return seen.now, None
    if fault is Fault.PROCESS_KILL:
        return target.injected_at or seen.now, None
    if fault is Fault.POD_KILL:
        return (None, None) if pod.deleting or target.injected_at else (seen.now, None)
    if target.injected_at is None:
        # Another target's injection failed. Until this one's agent has spoken or can act no more, all waits for it.
        if (at := _never(seen, pod)) or _may_still_act(seen, pod):
            return at, None
    elif fault is Fault.PAUSE and (ended := _own_end(seen, pod)):
        return ended, None
    if not early and seen.now < deadline + (SETTLED if fault is Fault.NETWORK_CUT else timedelta(seconds=3)):
        return None, None
    action = manifests.HEALS[fault]
    agent = pod.agents.get(manifests.child_name(seen.experiment, action))
    if agent is None:
        begun = target.injected_at or seen.now
        return None, AddAgent(pod.name, pod.uid, manifests.agent(seen.experiment, pod, action, begun, image))
    return _proof(seen, agent, deadline), None


def _never(seen: ObservedExperiment, pod: TargetPod) -> datetime | None:
    """Return the present if a target's fault has surely never been on."""
    agent = pod.agents.get(manifests.child_name(seen.experiment, _injecting(seen)))
    if agent is None or (agent.started_at is None and agent.ended is None and not _may_still_act(seen, pod)):
        return seen.now
    try:
        return seen.now if agent.ended and deed(seen, _injecting(seen), agent.ended).error else None
    except IncompleteReport:
        return None


def _may_still_act(seen: ObservedExperiment, pod: TargetPod) -> bool:
    agent = pod.agents.get(manifests.child_name(seen.experiment, _injecting(seen)))
    injected = conditions.get(seen.experiment.status.conditions, names.INJECTED)
    if agent is None or agent.ended is not None or injected is None:
        return False
    return seen.now < injected.last_transition_time + timedelta(seconds=manifests.ALLOWANCE) + GRACE


def _own_end(seen: ObservedExperiment, pod: TargetPod) -> datetime | None:
    """Return when a pausing agent resumed its target by itself."""
    agent = pod.agents.get(manifests.child_name(seen.experiment, manifests.PAUSE))
    if agent is None or agent.ended is None:
        return None
    try:
        report = deed(seen, manifests.PAUSE, agent.ended)
    except IncompleteReport:
        return None
    return moment(report.healed_at) if report.healed_at else None


def _proof(seen: ObservedExperiment, agent: Agent, deadline: datetime) -> datetime | None:
    """Return when the fault ended by the word of a healing agent; None while it has not spoken, or failed."""
    if agent.ended is None:
        return None
    try:
        report = deed(seen, manifests.HEALS[seen.experiment.spec.fault], agent.ended)
    except IncompleteReport:
        return None
    if report.error or report.healed_at is None:
        return None
    # With nothing left to undo the kernel's own timer came first.
    return min(deadline, moment(report.healed_at)) if report.left == 0 else moment(report.healed_at)


def _outage(
    seen: ObservedExperiment, status: ChaosExperimentStatus, deadline: datetime, image: str, *, early: bool
) -> Progress:
    helper, restore = seen.helpers.get(manifests.OUTAGE), seen.helpers.get(manifests.RESTORE)
    up = seen.workload is not None and seen.workload.replicas > 0
    at = None
    for action, pod in ((manifests.RESTORE, restore), (manifests.OUTAGE, helper)):
        if pod is not None and pod.ended is not None:
            try:
                report = deed(seen, action, pod.ended)
            except IncompleteReport:
                continue
            at = moment(report.healed_at) if report.healed_at else at
    targets = tuple(status.targets)
    if (up or seen.workload is None) and (at or helper is None or helper.ended or helper.phase == "Failed"):
        gone = "" if seen.workload else f"; {_reference(seen)} is gone"
        targets = tuple(target.model_copy(update={"healed_at": at or seen.now}) for target in targets)
        return Progress(targets, done=True, message=f"scaled back to {status.replicas}{gone}")
    working = helper is not None and helper.ended is None and helper.phase != "Failed" and not helper.deleting
    if working and helper is not None:
        # Ending it makes it scale back at once.
        stop = (DeletePod(helper.name, helper.uid),) if early else ()
        again = None if early or seen.now >= deadline else deadline + SETTLED
        return Progress(targets, stop, message=f"pod {helper.name} has not scaled back", look_again=again)
    if helper is not None and helper.deleting:
        return Progress(targets, message=f"pod {helper.name} is scaling back")
    make = () if restore else (CreatePod(manifests.restore(seen.experiment, status.replicas, image)),)
    return Progress(targets, make, message=f"{_reference(seen)} is still scaled to zero")


def _by_mesh(seen: ObservedExperiment, status: ChaosExperimentStatus, deadline: datetime, *, early: bool) -> Progress:
    lasting = seen.experiment.spec.fault is Fault.NETWORK_CUT
    over = seen.mesh is None or (seen.mesh.recovered and lasting) or not lasting
    if over:
        at = min(seen.now, deadline) if lasting and not early else seen.now
        targets = tuple(t.model_copy(update={"healed_at": t.healed_at or at}) for t in status.targets)
        return Progress(targets, done=True, message="Chaos Mesh says AllRecovered")
    assert seen.mesh is not None, "a fault that is not over"
    kind = str(manifests.mesh_fault(seen.experiment, ())["kind"])
    stop = (DeleteMeshFault(kind, seen.mesh.name),) if early else ()
    return Progress(tuple(status.targets), stop, message=f"{seen.mesh.name}: {seen.mesh.message or 'not recovered'}")


def _told(seen: ObservedExperiment, *, done: bool) -> str:
    fault = seen.experiment.spec.fault
    return (
        {
            Fault.NETWORK_CUT: "the rules' timers ran out and the rules are removed",
            Fault.PAUSE: "the processes run again",
            Fault.PROCESS_KILL: "nothing is left to undo",
            Fault.POD_KILL: "the pods are gone",
            Fault.OUTAGE: "scaled back",
        }[fault]
        if done
        else f"{fault} has not ended"
    )


def _injecting(seen: ObservedExperiment) -> str:
    return manifests.INJECTS[seen.experiment.spec.fault]


def _reference(seen: ObservedExperiment) -> str:
    reference = seen.experiment.spec.target_ref
    return f"{reference.kind} {reference.name}" if reference else "the workload"
