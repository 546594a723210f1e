"""What to do next about one ChaosExperiment: a ladder of early returns over what was observed.

deleting -> judged -> accepted -> observed -> injected -> healed -> recovered -> verdict. The rung is the condition
Injected, then Healed: what is about to be done is written down first, so that a killed operator repeats it or finds it
done, and never injects twice.

Injected is Unknown from the decision to inject until the fault is known to be on, or to be over; its time is that of
the decision.
"""

from datetime import datetime, timedelta

from proctor.api import names
from proctor.api.chaos import ChaosExperimentStatus, ChaosTarget
from proctor.api.scalars import Fault, Verdict
from proctor.core import conditions
from proctor.core.actions import Action, CreatePod, Decision, DeletePod, Event, SetFinalizer
from proctor.core.chaos import heal, inject, manifests, preflight, recover
from proctor.core.chaos.ending import ExperimentDecision, end, event, failed, put, report
from proctor.core.chaos.observed import HelperPod, ObservedExperiment, TargetPod
from proctor.core.envelope import IncompleteReport
from proctor.core.errors import InvalidSpec
from proctor.core.observed import AskInjection
from proctor.core.timeline import NO_LOSS
from proctor.core.verdict import Judgment

START_TIMEOUT = timedelta(seconds=90)
"""How long an observer may take to start and to find the target well."""
OBSERVED = timedelta(minutes=10)
"""How long all observers of an experiment may take: one that an absent operator let grow old is replaced."""
HEAL_TIMEOUT = timedelta(seconds=60)
"""How long it may take to end a fault, or to prove its end, before that is an Error."""
GIVE_UP = timedelta(seconds=60)
"""How long the deletion of an experiment waits for its heal. Every fault ends by itself, so this leaves none behind."""
SOON = timedelta(seconds=0.5)
LATER = timedelta(seconds=2)


def decide(seen: ObservedExperiment, image: str) -> ExperimentDecision:
    """Return the next decision about a ChaosExperiment. Asking again about the same world gives the same answer."""
    experiment, before = seen.experiment, seen.experiment.status
    status = before.model_copy(update={"observed_generation": experiment.metadata.generation})
    if experiment.metadata.deletion_timestamp is not None:
        return _delete(seen, status, experiment.metadata.deletion_timestamp, image)
    if before.verdict is not None:
        return Decision(before, actions=_finalizer(seen, present=False))
    injected = conditions.get(status.conditions, names.INJECTED)
    if injected is None:
        return _accept(seen, status, image)
    if seen.surroundings is None:
        message = "the operator has lost its rights to the namespace; a fault that is on ends by itself"
        return end(seen, status, failed(names.NO_RIGHTS, message))
    if injected.reason == names.SELECTED:
        return _observe(seen, status, injected.last_transition_time, image)
    if injected.reason == names.INJECTING:
        return _inject(seen, status, injected.last_transition_time, image)
    healed = conditions.get(status.conditions, names.HEALED)
    if healed is None or healed.status != "True":
        return _heal(seen, status, image)
    return recover.advance(seen, status)


def _accept(seen: ObservedExperiment, status: ChaosExperimentStatus, image: str) -> ExperimentDecision:
    """Check everything that can be checked without a side effect, wait for the turn, choose the targets."""
    spec = seen.experiment.spec
    if spec.abort:
        return end(seen, status, failed(names.ABORTED, "aborted before anything was done"))
    try:
        preflight.check(seen)
        # While another fault is on, the pods are not what they will be when it is this one's turn.
        chosen = () if seen.rival else preflight.choose(seen)
    except InvalidSpec as error:
        return _refuse(seen, status, error.reason, error.message)
    if seen.rival:
        status = put(seen, status, names.ACCEPTED, "True", names.WAITING_FOR_TARGET, seen.rival)
        return Decision(status, look_again=seen.now + LATER)
    replicas = seen.workload.replicas if seen.workload and spec.fault is Fault.OUTAGE else 0
    if seen.refusal is None:
        trial = inject.trial(seen, chosen, replicas, image)
        return Decision(status, questions=frozenset({AskInjection(trial)}))
    if seen.refusal:
        return _refuse(seen, status, preflight.refusal_reason(seen.refusal, spec), seen.refusal)
    status = status.model_copy(
        update={
            "targets": [ChaosTarget(pod=pod.name, uid=pod.uid) for pod in chosen],
            "matched": seen.ready,
            "replicas": replicas,
        }
    )
    told = _understood(seen, chosen)
    status = put(seen, status, names.ACCEPTED, "True", names.ACCEPTED, told)
    status = put(seen, status, names.INJECTED, "False", names.SELECTED, f"{told}; the observer is being started")
    return Decision(status, events=(Event(names.SELECTED, told),), look_again=seen.now)


def _observe(
    seen: ObservedExperiment, status: ChaosExperimentStatus, since: datetime, image: str
) -> ExperimentDecision:
    """Bring up the observer and wait until it has found the targets and the probes well."""
    now, observer = seen.now, seen.helpers.get(manifests.OBSERVER)
    present = [pod for target in status.targets if (pod := seen.pod(target.uid)) and not pod.deleting]
    if trouble := _hindrance(seen, status, present):
        return end(seen, status, trouble)
    if observer is None or observer.deleting:
        if now >= since + OBSERVED:
            return end(seen, status, failed(names.OBSERVER_FAILED, f"no observer within {OBSERVED.seconds} s"))
        actions = () if observer else (CreatePod(manifests.observer(seen.experiment, present, image)),)
        return Decision(status, actions=actions, look_again=now + SOON)
    if observer.over and (trouble := _bad_start(seen, observer)):
        return end(seen, status, trouble)
    if not observer.over and observer.ready_since is None:
        if now >= observer.created + START_TIMEOUT:
            why = observer.trouble or "it did not start or found no steady state"
            message = f"the observer was not ready within {START_TIMEOUT.seconds} s: {why}"
            return end(seen, status, failed(names.OBSERVER_FAILED, message))
        return Decision(status, look_again=now + SOON)
    ready = None if observer.over else observer.ready_since
    if ready is None or now > ready + timedelta(seconds=manifests.HEAD_START):
        # The operator was away. This observer would not watch long enough, so it makes room for another.
        return Decision(status, actions=(DeletePod(observer.name, observer.uid),), look_again=now + SOON)
    told = f"{seen.experiment.spec.fault} of {preflight.names_of(present)}"
    status = put(seen, status, names.INJECTED, "Unknown", names.INJECTING, told)
    return Decision(
        status,
        actions=_finalizer(seen, present=True),
        events=(Event(names.INJECTING, told, warning=True),),
        look_again=now,
    )


def _hindrance(seen: ObservedExperiment, status: ChaosExperimentStatus, present: list[TargetPod]) -> Judgment | None:
    """Return why an accepted experiment ends before its fault."""
    namespace = seen.experiment.metadata.namespace
    if seen.experiment.spec.abort:
        return failed(names.ABORTED, "aborted before the fault")
    if seen.surroundings is None or not seen.surroundings.allowed:
        return failed(names.NAMESPACE_NOT_ALLOWED, f"namespace {namespace} has lost its label {names.LABEL_CHAOS}")
    if seen.failed:
        return failed(names.OBSERVER_FAILED, f"the observer was refused: {seen.failed}")
    if len(present) < len(status.targets):
        gone = ", ".join(target.pod for target in status.targets if seen.pod(target.uid) not in present)
        return Judgment(Verdict.INCONCLUSIVE, names.TARGET_LOST, f"gone before the fault: {gone}")
    return None


def _inject(seen: ObservedExperiment, status: ChaosExperimentStatus, begun: datetime, image: str) -> ExperimentDecision:
    """Make the fault, once, and wait for the word of those who made it."""
    step = inject.advance(seen, status, begun, image)
    status = status.model_copy(update={"targets": list(step.targets)})
    observer, trouble = seen.helpers.get(manifests.OBSERVER), step.trouble
    if trouble is None and not step.done and seen.experiment.spec.abort:
        trouble = failed(names.ABORTED, "aborted before the fault was on everywhere; what was on was healed")
    if trouble is None and step.actions and (observer is None or observer.over or observer.deleting):
        trouble = failed(names.OBSERVER_FAILED, "the observer went before the fault was made")
    if trouble is not None:
        status = put(seen, status, names.INJECTED, "Unknown", trouble.reason, trouble.message)
        return Decision(status, events=(event(trouble),), look_again=seen.now)
    if step.done:
        told = f"{seen.experiment.spec.fault} is on"
        status = put(seen, status, names.INJECTED, "True", names.INJECTED, told)
        return Decision(status, events=(Event(names.INJECTED, told),), look_again=seen.now)
    return Decision(status, actions=step.actions, look_again=seen.now + SOON)


def _heal(seen: ObservedExperiment, status: ChaosExperimentStatus, image: str) -> ExperimentDecision:
    """Wait for the end of the fault, or bring it about, and make sure of it."""
    injected = conditions.get(status.conditions, names.INJECTED)
    assert injected is not None, "the rung of what was begun"
    if injected.status == "True" and (trouble := inject.belied(seen, status)):
        status = put(seen, status, names.INJECTED, "Unknown", trouble.reason, trouble.message)
        return Decision(status, events=(event(trouble),), look_again=seen.now)
    meta, begun = seen.experiment.metadata, injected.last_transition_time
    early = seen.experiment.spec.abort or meta.deletion_timestamp is not None or injected.status != "True"
    step = heal.advance(seen, status, begun, image, early=early)
    status = status.model_copy(update={"targets": list(step.targets)})
    if step.done:
        status = put(seen, status, names.HEALED, "True", names.HEALED, step.message)
        return Decision(
            status,
            actions=(*step.actions, *_finalizer(seen, present=False)),
            events=(Event(names.HEALED, step.message),),
            look_again=seen.now,
        )
    trying = conditions.get(status.conditions, names.HEALED)
    if trying is None and (early or seen.now >= heal.deadline(seen, status, begun)):
        # Written before anything is done, for the time counts from here.
        status = put(seen, status, names.HEALED, "Unknown", names.HEALING, step.message)
        return Decision(status, look_again=seen.now)
    # While the operator is away it proves nothing.
    since = [trying.last_transition_time] if trying else []
    since += [seen.began] if seen.began else []
    if trying is not None and seen.now >= max(since) + HEAL_TIMEOUT:
        message = f"no proof of the end within {HEAL_TIMEOUT.seconds} s: {step.message}"
        status = put(seen, status, names.HEALED, "False", names.NOT_HEALED, message)
        return end(seen, status, failed(names.NOT_HEALED, message))
    return Decision(status, actions=step.actions, look_again=step.look_again or seen.now + SOON)


def _delete(
    seen: ObservedExperiment, status: ChaosExperimentStatus, deleted: datetime, image: str
) -> ExperimentDecision:
    """Heal before the object goes, but never hold it for long: every fault ends by itself."""
    release = Decision(seen.experiment.status, actions=_finalizer(seen, present=False))
    if not release.actions or seen.surroundings is None or seen.surroundings.deleting or status.verdict is not None:
        return release
    injected = conditions.get(status.conditions, names.INJECTED)
    healed = conditions.get(status.conditions, names.HEALED)
    if injected is None or injected.reason == names.SELECTED or (healed is not None and healed.status == "True"):
        return release
    if seen.now >= deleted + GIVE_UP:
        told = "deleted before the heal was proven; the fault ends by itself"
        return Decision(release.status, release.actions, events=(Event(names.NOT_HEALED, told, warning=True),))
    return _heal(seen, status, image)


def _finalizer(seen: ObservedExperiment, *, present: bool) -> tuple[Action, ...]:
    """Put our finalizer on, or take it off, where that is not so already."""
    return () if (names.FINALIZER in seen.experiment.metadata.finalizers) is present else (SetFinalizer(present),)


def _refuse(seen: ObservedExperiment, status: ChaosExperimentStatus, reason: str, message: str) -> ExperimentDecision:
    status = put(seen, status, names.ACCEPTED, "False", reason, message)
    return end(seen, status, failed(reason, message))


def _bad_start(seen: ObservedExperiment, observer: HelperPod) -> Judgment | None:
    """Return why an observer that ended before the fault ends the experiment; None if all was well to its end."""
    try:
        whole = report(seen, observer)
    except IncompleteReport as error:
        return failed(names.OBSERVER_FAILED, f"the observer ended before the fault: {error}")
    if whole.end == NO_LOSS:
        return None
    word = names.OBSERVER_FAILED if whole.good else names.STEADY_STATE_NOT_HELD
    return Judgment(Verdict.INCONCLUSIVE, word, f"before the fault: {whole.message or whole.end}")


def _understood(seen: ObservedExperiment, chosen: tuple[TargetPod, ...]) -> str:
    spec = seen.experiment.spec
    probes = len(spec.steady_state.probes) if spec.steady_state else 0
    what = f"{spec.fault} of port {spec.port}" if spec.port else str(spec.fault)
    return f"{what} for {spec.duration} on {preflight.names_of(chosen)}, {probes} probe{'' if probes == 1 else 's'}"
