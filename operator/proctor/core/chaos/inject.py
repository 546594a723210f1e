"""Making a fault, once. Who makes it is found by name or uid, so a second pass finds it made instead of making it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from proctor.api import names
from proctor.api.chaos import ChaosExperimentStatus, ChaosTarget
from proctor.api.scalars import Driver, Fault
from proctor.core.actions import AddAgent, ChaosAction, CreateMeshFault, CreatePod, KillPod
from proctor.core.chaos import manifests, preflight
from proctor.core.chaos.ending import failed
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
        reason = preflight.refusal_reason(seen.failed, spec)
        return Progress(tuple(status.targets), trouble=failed(reason, seen.failed))
    last = begun + timedelta(seconds=manifests.ALLOWANCE)
    if spec.driver is Driver.CHAOS_MESH:
        progress = _by_mesh(seen, status, begun)
    elif spec.fault is Fault.OUTAGE:
        progress = _outage(seen, status, begun, image)
    else:
        progress = _by_pod(seen, status, begun, image)
    if progress.done or progress.trouble or seen.now <= last:
        return progress
    if seen.now <= last + GRACE:
        # Too late to make anything; what was made may still speak.
        return Progress(progress.targets, message=progress.message)
    message = progress.message or f"the fault was not on within {manifests.ALLOWANCE} s"
    return Progress(progress.targets, trouble=failed(names.INJECTION_FAILED, message))


def belied(seen: ObservedExperiment, status: ChaosExperimentStatus) -> Judgment | None:
    """Return what shows that a pause was none: its agent counts as pausing while it runs, and speaks at its end."""
    if seen.experiment.spec.fault is not Fault.PAUSE:
        return None
    for target in status.targets:
        pod = seen.pod(target.uid)
        agent = pod.agents.get(manifests.child_name(seen.experiment, manifests.PAUSE)) if pod else None
        if agent is not None and agent.ended is not None and (trouble := _injected(seen, target, agent)[1]):
            return trouble
    return None


def deed(seen: ObservedExperiment, action: str, ended: Ended) -> Deed:
    """Return what an agent that ended has done. Raises IncompleteReport, also when it was ended before it could say.

    When a target's first process ends, the kernel ends the agent among its processes: by a kill that worked, or by the
    kubelet's restart of what was paused. Then the trace that the agent left just before it acted is its word.
    """
    done = decode_deed(ended.message, experiment=seen.experiment.metadata.uid, action=action)
    traced = action in (manifests.KILL, manifests.PAUSE) and done.injected_at is not None
    if not done.complete and not traced:
        raise IncompleteReport("it was ended before its time")
    return done


def _by_pod(seen: ObservedExperiment, status: ChaosExperimentStatus, begun: datetime, image: str) -> Progress:
    targets: list[ChaosTarget] = []
    actions: list[ChaosAction] = []
    troubles: list[Judgment] = []
    waits = ""
    for target in status.targets:
        if target.injected_at is not None:
            targets.append(target)
            continue
        at, action, trouble, why = _one(seen, target, begun, image)
        waits = waits or why
        targets.append(target.model_copy(update={"injected_at": at}))
        actions += [action] if action else []
        troubles += [trouble] if trouble else []
    if troubles:
        return Progress(tuple(targets), trouble=troubles[0])
    done = all(target.injected_at is not None for target in targets)
    return Progress(tuple(targets), tuple(actions), done=done, message=waits)


def _one(
    seen: ObservedExperiment, target: ChaosTarget, begun: datetime, image: str
) -> tuple[datetime | None, ChaosAction | None, Judgment | None, str]:
    """Return when one target was hit, or what to do about it, or what went wrong, and what it waits for."""
    fault, pod = seen.experiment.spec.fault, seen.pod(target.uid)
    if fault is Fault.POD_KILL:
        # When exactly is not known to an operator that was away; it was not before the decision.
        if pod is None or pod.deleting:
            return begun, None, None, ""
        return None, _make(seen, pod, begun, image), None, ""
    if pod is None:
        return None, None, failed(names.INJECTION_FAILED, f"pod {target.pod} went before the fault was on"), ""
    agent = pod.agents.get(manifests.child_name(seen.experiment, manifests.INJECTS[fault]))
    if agent is None:
        return None, _make(seen, pod, begun, image), None, ""
    at, trouble = _injected(seen, target, agent)
    return at, None, trouble, f"pod {target.pod}: {': '.join(agent.waiting or ('its agent', 'has not reported'))}"


def _injected(seen: ObservedExperiment, target: ChaosTarget, agent: Agent) -> tuple[datetime | None, Judgment | None]:
    """Return when an agent injected, and its trouble; neither while it works."""
    fault = seen.experiment.spec.fault
    if agent.ended is None:
        return (agent.started_at if fault is Fault.PAUSE else None), None
    try:
        report = deed(seen, manifests.INJECTS[fault], agent.ended)
    except IncompleteReport as error:
        message = f"pod {target.pod}: its agent ended with code {agent.ended.exit_code}: {error}"
        return None, failed(names.INJECTION_FAILED, message)
    at = None if report.injected_at is None else moment(report.injected_at)
    if report.error or at is None:
        return at, failed(report.error or names.INJECTION_FAILED, f"pod {target.pod}: {report.message}")
    return at, None


def _make(seen: ObservedExperiment, pod: TargetPod, begun: datetime, image: str) -> ChaosAction:
    spec = seen.experiment.spec
    if spec.fault is Fault.POD_KILL:
        return KillPod(pod.name, pod.uid, evict=spec.limits.respect_pdb)
    action = manifests.INJECTS[spec.fault]
    return AddAgent(pod.name, pod.uid, manifests.agent(seen.experiment, pod, action, begun, image))


def _outage(seen: ObservedExperiment, status: ChaosExperimentStatus, begun: datetime, image: str) -> Progress:
    helper, at = seen.helpers.get(manifests.OUTAGE), None
    if helper is None:
        make = CreatePod(manifests.outage(seen.experiment, status.replicas, begun, image))
        return Progress(tuple(status.targets), (make,))
    if helper.ended is not None:
        try:
            report = deed(seen, manifests.OUTAGE, helper.ended)
        except IncompleteReport as error:
            message = f"pod {helper.name} ended with code {helper.ended.exit_code}: {error}"
            return Progress(tuple(status.targets), trouble=failed(names.INJECTION_FAILED, message))
        if report.error or report.injected_at is None:
            word, told = report.error or names.INJECTION_FAILED, report.message or "it was interrupted"
            return Progress(tuple(status.targets), trouble=failed(word, f"pod {helper.name}: {told}"))
        at = moment(report.injected_at)
    elif seen.workload is not None and seen.workload.replicas == 0:
        at = seen.now
    targets = tuple(target.model_copy(update={"injected_at": at}) for target in status.targets)
    return Progress(targets, done=at is not None, message=helper.trouble or f"pod {helper.name} has not scaled down")


def _by_mesh(seen: ObservedExperiment, status: ChaosExperimentStatus, begun: datetime) -> Progress:
    if seen.mesh is None:
        chosen = [pod for target in status.targets if (pod := seen.pod(target.uid))]
        if len(chosen) < len(status.targets):
            trouble = failed(names.INJECTION_FAILED, "a target went before the fault was on")
            return Progress(tuple(status.targets), trouble=trouble)
        return Progress(tuple(status.targets), (CreateMeshFault(manifests.mesh_fault(seen.experiment, chosen)),))
    if not seen.mesh.injected:
        return Progress(tuple(status.targets), message=f"{seen.mesh.name}: {seen.mesh.message or 'not injected'}")
    return Progress(tuple(t.model_copy(update={"injected_at": begun}) for t in status.targets), done=True)
