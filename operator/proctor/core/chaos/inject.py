"""Making a fault, once. Who makes it is found by name or uid, so a second pass finds it made instead of making it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from proctor.api import names
from proctor.api.chaos import ChaosExperimentStatus, ChaosTarget
from proctor.api.scalars import Driver, Fault, Verdict
from proctor.core.actions import AddAgent, ChaosAction, CreateMeshFault, CreatePod, KillPod
from proctor.core.chaos import manifests
from proctor.core.chaos.judge import moment
from proctor.core.chaos.observed import Agent, ObservedExperiment, TargetPod
from proctor.core.envelope import IncompleteReport
from proctor.core.observed import Ended
from proctor.core.timeline import Deed, decode_deed
from proctor.core.verdict import Judgment

GRACE = timedelta(seconds=15)
"""How much later than the last moment at which an agent may act its word may come."""


@dataclass(frozen=True)
class Progress:
    """How far an injection or a heal is: the targets as they now stand, what to do, whether all is done."""

    targets: tuple[ChaosTarget, ...]
    actions: tuple[ChaosAction, ...] = ()
    done: bool = False
    trouble: Judgment | None = None
    message: str = ""
    look_again: datetime | None = None


def trial(seen: ObservedExperiment, chosen: Sequence[TargetPod], replicas: int, image: str) -> tuple[ChaosAction, ...]:
    """Return all that the experiment would create or kill, for a dry run."""
    experiment, spec = seen.experiment, seen.experiment.spec
    watch = CreatePod(manifests.observer(experiment, chosen, image))
    if spec.driver is Driver.CHAOS_MESH:
        return (watch, CreateMeshFault(manifests.mesh_fault(experiment, chosen)))
    if spec.fault is Fault.OUTAGE:
        return (watch, CreatePod(manifests.outage(experiment, replicas, seen.now, image)))
    return (watch, *(_make(seen, pod, seen.now, image) for pod in chosen))


def advance(seen: ObservedExperiment, status: ChaosExperimentStatus, begun: datetime, image: str) -> Progress:
    """Return the next step of an injection that was decided at `begun`."""
    spec = seen.experiment.spec
    if seen.failed:
        return _failed(status.targets, seen.failed)
    late = seen.now > begun + timedelta(seconds=manifests.ALLOWANCE)
    if spec.driver is Driver.CHAOS_MESH:
        progress = _by_mesh(seen, status, late=late)
    elif spec.fault is Fault.OUTAGE:
        progress = _outage(seen, status, begun, image, late=late)
    else:
        progress = _by_pod(seen, status, begun, image, late=late)
    if progress.done or progress.trouble or seen.now <= begun + timedelta(seconds=manifests.ALLOWANCE) + GRACE:
        return progress
    return _failed(progress.targets, progress.message or "the fault was not on in time")


def deed(seen: ObservedExperiment, action: str, ended: Ended) -> Deed:
    """Return what an agent that ended has done. Raises IncompleteReport, also when it was ended before it could say."""
    done = decode_deed(ended.message, experiment=seen.experiment.metadata.uid, action=action)
    if not done.complete:
        raise IncompleteReport("it was ended before its time")
    return done


def _by_pod(
    seen: ObservedExperiment, status: ChaosExperimentStatus, begun: datetime, image: str, *, late: bool
) -> Progress:
    targets: list[ChaosTarget] = []
    actions: list[ChaosAction] = []
    waits = ""
    for target in status.targets:
        pod = seen.pod(target.uid)
        if target.injected_at is not None:
            targets.append(target)
        elif seen.experiment.spec.fault is Fault.POD_KILL:
            if pod is None or pod.deleting:
                targets.append(target.model_copy(update={"injected_at": seen.now}))
                continue
            targets.append(target)
            actions += [] if late else [_make(seen, pod, begun, image)]
        elif pod is None:
            return _failed(status.targets, f"pod {target.pod} went before the fault was on")
        else:
            agent = pod.agents.get(manifests.child_name(seen.experiment, manifests.INJECTS[seen.experiment.spec.fault]))
            if agent is None:
                targets.append(target)
                actions += [] if late else [_make(seen, pod, begun, image)]
                continue
            at, trouble = _injected(seen, target, agent)
            if trouble is not None:
                return Progress(tuple(status.targets), trouble=trouble)
            waits = waits or f"pod {target.pod}: {': '.join(agent.waiting or ('its agent', 'has not reported'))}"
            targets.append(target.model_copy(update={"injected_at": at}))
    done = all(target.injected_at is not None for target in targets)
    return Progress(tuple(targets), tuple(actions), done=done, message=waits)


def _injected(seen: ObservedExperiment, target: ChaosTarget, agent: Agent) -> tuple[datetime | None, Judgment | None]:
    """Return when an agent injected, or its trouble; neither while it works."""
    if agent.ended is None:
        paused = seen.experiment.spec.fault is Fault.PAUSE
        return (agent.started_at if paused else None), None
    try:
        report = deed(seen, manifests.INJECTS[seen.experiment.spec.fault], agent.ended)
    except IncompleteReport as error:
        message = f"pod {target.pod}: its agent ended with code {agent.ended.exit_code}: {error}"
        return None, Judgment(Verdict.ERROR, names.INJECTION_FAILED, message)
    if report.injected_at is None:
        reason = report.error or names.INJECTION_FAILED
        return None, Judgment(Verdict.ERROR, reason, f"pod {target.pod}: {report.message}")
    return moment(report.injected_at), None


def _make(seen: ObservedExperiment, pod: TargetPod, begun: datetime, image: str) -> ChaosAction:
    spec = seen.experiment.spec
    if spec.fault is Fault.POD_KILL:
        return KillPod(pod.name, pod.uid, evict=spec.limits.respect_pdb)
    action = manifests.INJECTS[spec.fault]
    return AddAgent(pod.name, pod.uid, manifests.agent(seen.experiment, pod, action, begun, image))


def _outage(
    seen: ObservedExperiment, status: ChaosExperimentStatus, begun: datetime, image: str, *, late: bool
) -> Progress:
    helper = seen.helpers.get(manifests.OUTAGE)
    if helper is None:
        make = CreatePod(manifests.outage(seen.experiment, status.replicas, begun, image))
        return Progress(tuple(status.targets), () if late else (make,))
    at: datetime | None = None
    if helper.ended is not None:
        try:
            report = deed(seen, manifests.OUTAGE, helper.ended)
        except IncompleteReport as error:
            return _failed(status.targets, f"pod {helper.name} ended with code {helper.ended.exit_code}: {error}")
        if report.error or report.injected_at is None:
            return _failed(status.targets, f"pod {helper.name}: {report.error}: {report.message}")
        at = moment(report.injected_at)
    elif seen.workload is not None and seen.workload.replicas == 0:
        at = seen.now
    targets = tuple(target.model_copy(update={"injected_at": at}) for target in status.targets)
    return Progress(targets, done=at is not None, message=helper.trouble or f"pod {helper.name} has not scaled down")


def _by_mesh(seen: ObservedExperiment, status: ChaosExperimentStatus, *, late: bool) -> Progress:
    if seen.mesh is None:
        chosen = [pod for target in status.targets if (pod := seen.pod(target.uid))]
        if len(chosen) < len(status.targets):
            return _failed(status.targets, "a target went before the fault was on")
        make = CreateMeshFault(manifests.mesh_fault(seen.experiment, chosen))
        return Progress(tuple(status.targets), () if late else (make,))
    if not seen.mesh.injected:
        return Progress(tuple(status.targets), message=f"{seen.mesh.name}: {seen.mesh.message or 'not injected'}")
    return Progress(tuple(t.model_copy(update={"injected_at": seen.now}) for t in status.targets), done=True)


def _failed(targets: Sequence[ChaosTarget], message: str) -> Progress:
    return Progress(tuple(targets), trouble=Judgment(Verdict.ERROR, names.INJECTION_FAILED, message))
