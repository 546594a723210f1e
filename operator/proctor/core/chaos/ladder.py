"""What to do next about one ChaosExperiment: a ladder of early returns over what was observed.

deleting -> judged -> accepted -> observed -> injected -> healed -> recovered -> verdict. The rung is the condition
Injected, then Healed: what is about to be done is written down first, so that a killed operator repeats it or finds it
done, and never injects twice.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from proctor.api import names
from proctor.api.chaos import ChaosExperimentStatus, ChaosTarget
from proctor.api.scalars import Fault, Verdict, seconds
from proctor.core import conditions
from proctor.core.actions import Action, CreatePod, Decision, DeletePod, Event, SetFinalizer
from proctor.core.chaos import heal, inject, judge, manifests, preflight
from proctor.core.chaos.observed import HelperPod, ObservedExperiment, TargetPod
from proctor.core.envelope import IncompleteReport
from proctor.core.errors import InvalidSpec
from proctor.core.observed import AskInjection
from proctor.core.timeline import Timeline, decode
from proctor.core.verdict import Judgment

ExperimentDecision = Decision[ChaosExperimentStatus]
START_TIMEOUT = timedelta(seconds=90)
"""How long the observer may take to start and to find the target well."""
LAST_WORD = timedelta(seconds=20)
"""How long the observer's report may be late."""
GIVE_UP = timedelta(seconds=60)
"""How long the deletion of an experiment waits for its heal. Every fault ends by itself, so this leaves none behind."""
SOON = timedelta(seconds=0.5)
LATER = timedelta(seconds=2)


def decide(seen: ObservedExperiment, image: str) -> ExperimentDecision:
    """Return the next decision about a ChaosExperiment. Asking again about the same world gives the same answer."""
    experiment, before = seen.experiment, seen.experiment.status
    status = before.model_copy(update={"observed_generation": experiment.metadata.generation})
    if experiment.metadata.deletion_timestamp is not None:
        return _delete(seen, status, image)
    if before.verdict is not None:
        return Decision(before, actions=_release(seen))
    injected = conditions.get(status.conditions, names.INJECTED)
    if injected is None or injected.reason == names.WAITING_FOR_TARGET:
        return _accept(seen, status, image)
    if injected.reason == names.SELECTED:
        return _observe(seen, status, injected.last_transition_time, image)
    if injected.status == "Unknown":
        return _inject(seen, status, injected.last_transition_time, image)
    healed = conditions.get(status.conditions, names.HEALED)
    if healed is None or healed.status != "True":
        return _heal(seen, status, image)
    return _recover(seen, status)


def _accept(seen: ObservedExperiment, status: ChaosExperimentStatus, image: str) -> ExperimentDecision:
    """Check everything that can be checked without a side effect, wait for the turn, choose the targets."""
    spec = seen.experiment.spec
    if spec.abort:
        return _end(seen, status, Judgment(Verdict.ERROR, names.ABORTED, "aborted before anything was done"))
    try:
        chosen = preflight.check(seen)
    except InvalidSpec as error:
        return _refuse(seen, status, error.reason, error.message)
    if seen.rival:
        status = _put(seen, status, names.ACCEPTED, "True", names.ACCEPTED, _understood(seen, chosen))
        status = _put(seen, status, names.INJECTED, "False", names.WAITING_FOR_TARGET, seen.rival)
        return Decision(status, look_again=seen.now + LATER)
    replicas = seen.workload.replicas if seen.workload and spec.fault is Fault.OUTAGE else 0
    if seen.refusal is None:
        trial = inject.trial(seen, chosen, replicas, image)
        return Decision(status, questions=frozenset({AskInjection(trial)}))
    if seen.refusal:
        return _refuse(seen, status, preflight.refusal_reason(seen.refusal, spec.fault), seen.refusal)
    status = status.model_copy(
        update={
            "targets": [ChaosTarget(pod=pod.name, uid=pod.uid) for pod in chosen],
            "matched": sum(1 for pod in seen.pods if pod.ready_since and not pod.deleting),
            "replicas": replicas,
        }
    )
    told = _understood(seen, chosen)
    status = _put(seen, status, names.ACCEPTED, "True", names.ACCEPTED, told)
    status = _put(seen, status, names.INJECTED, "False", names.SELECTED, f"{told}; the observer is being started")
    return Decision(status, events=(Event(names.SELECTED, told),), look_again=seen.now)


def _observe(
    seen: ObservedExperiment, status: ChaosExperimentStatus, since: datetime, image: str
) -> ExperimentDecision:
    """Bring up the observer and wait until it has found the targets and the probes well."""
    now, observer = seen.now, seen.helpers.get(manifests.OBSERVER)
    if seen.experiment.spec.abort:
        return _end(seen, status, Judgment(Verdict.ERROR, names.ABORTED, "aborted before the fault"))
    present = [pod for target in status.targets if (pod := seen.pod(target.uid)) and not pod.deleting]
    if len(present) < len(status.targets):
        gone = ", ".join(target.pod for target in status.targets if seen.pod(target.uid) not in present)
        return _end(seen, status, Judgment(Verdict.INCONCLUSIVE, names.TARGET_LOST, f"gone before the fault: {gone}"))
    if observer is not None and (observer.ended or observer.phase in ("Failed", "Succeeded")):
        return _end(seen, status, _bad_start(seen, observer))
    if observer is None or observer.ready_since is None:
        if now >= since + START_TIMEOUT:
            why = observer.trouble if observer and observer.trouble else "it did not start or found no steady state"
            message = f"the observer was not ready within {START_TIMEOUT.seconds} s: {why}"
            return _end(seen, status, Judgment(Verdict.ERROR, names.OBSERVER_FAILED, message))
        actions = () if observer else (CreatePod(manifests.observer(seen.experiment, present, image)),)
        return Decision(status, actions=actions, look_again=now + SOON)
    if now > observer.ready_since + timedelta(seconds=manifests.HEAD_START):
        message = "the observer was ready so long ago that it would not see the end; the operator was away"
        return _end(seen, status, Judgment(Verdict.INCONCLUSIVE, names.OBSERVER_FAILED, message))
    told = f"{seen.experiment.spec.fault} of {preflight.names_of(present)}"
    status = _put(seen, status, names.INJECTED, "Unknown", names.INJECTING, told)
    return Decision(
        status, actions=(SetFinalizer(True),), events=(Event(names.INJECTING, told, warning=True),), look_again=now
    )


def _inject(seen: ObservedExperiment, status: ChaosExperimentStatus, begun: datetime, image: str) -> ExperimentDecision:
    """Make the fault, once, and wait for the word of those who made it."""
    step = inject.advance(seen, status, begun, image)
    status = status.model_copy(update={"targets": list(step.targets)})
    if step.trouble is not None:
        status = _put(seen, status, names.INJECTED, "False", step.trouble.reason, step.trouble.message)
        return Decision(status, events=(_event(step.trouble),), look_again=seen.now)
    if step.done:
        status = _put(seen, status, names.INJECTED, "True", names.INJECTED, f"{seen.experiment.spec.fault} is on")
        return Decision(
            status, events=(Event(names.INJECTED, f"{seen.experiment.spec.fault} is on"),), look_again=seen.now
        )
    return Decision(status, actions=step.actions, look_again=seen.now + SOON)


def _heal(seen: ObservedExperiment, status: ChaosExperimentStatus, image: str) -> ExperimentDecision:
    """Wait for the end of the fault, or bring it about, and make sure of it."""
    early = seen.experiment.spec.abort or seen.experiment.metadata.deletion_timestamp is not None
    injected = conditions.get(status.conditions, names.INJECTED)
    early = early or (injected is not None and injected.status == "False")
    step = heal.advance(seen, status, image, early=early)
    status = status.model_copy(update={"targets": list(step.targets)})
    if step.trouble is not None:
        status = _put(seen, status, names.HEALED, "False", step.trouble.reason, step.trouble.message)
        return _end(seen, status, step.trouble)
    if not step.done:
        return Decision(status, actions=step.actions, look_again=step.look_again or seen.now + SOON)
    status = _put(seen, status, names.HEALED, "True", names.HEALED, step.message)
    return Decision(
        status,
        actions=(*step.actions, SetFinalizer(False)),
        events=(Event(names.HEALED, step.message),),
        look_again=seen.now,
    )


def _recover(seen: ObservedExperiment, status: ChaosExperimentStatus) -> ExperimentDecision:
    """Wait until the target is well again, or its time is over; then judge."""
    spec, now = seen.experiment.spec, seen.now
    injected = conditions.get(status.conditions, names.INJECTED)
    if injected is not None and injected.status == "False":
        return _end(seen, status, Judgment(Verdict.ERROR, injected.reason, injected.message))
    if spec.abort:
        return _end(seen, status, Judgment(Verdict.ERROR, names.ABORTED, "aborted; the fault was healed"))
    healed = max(target.healed_at or now for target in status.targets)
    limit = healed + timedelta(seconds=seconds(spec.recovery_timeout))
    observer = seen.helpers.get(manifests.OBSERVER)
    ready = _ready_again(seen, status)
    watching = observer is not None and observer.ended is None
    last = limit + timedelta(seconds=manifests.ALLOWANCE + manifests.HEAD_START + manifests.MARGIN) + LAST_WORD
    if (watching and now < last) or (ready is None and now < limit):
        return Decision(status, look_again=now + SOON)
    try:
        report = _report(seen, observer)
    except IncompleteReport as error:
        lost = Judgment(Verdict.ERROR, names.OBSERVER_FAILED, f"no whole report of the observer: {error}")
        gone = Judgment(Verdict.FAILED, names.NOT_RECOVERED, f"{_ready_count(seen)} of {status.matched} pods are Ready")
        return _end(seen, status, lost if ready else gone)
    shown = judge.effect(spec, status.targets, report)
    held, told = judge.steady(status.targets, report)
    moved = spec.fault in (Fault.POD_KILL, Fault.OUTAGE)
    back = judge.recovered_at(report, healed, ready, gone=moved) if ready else None
    judgment = judge.verdict(shown, back, healed, spec)
    status = _put(
        seen,
        status,
        names.EFFECTIVE,
        "True" if shown.seen else "False",
        names.EFFECTIVE if shown.seen else names.NOT_EFFECTIVE,
        shown.message,
    )
    status = _put(seen, status, names.STEADY_STATE_HELD, "True" if held else "False", "Probes", told)
    if judgment.verdict is Verdict.FAILED:
        status = _put(seen, status, names.RECOVERED, "False", names.NOT_RECOVERED, judgment.message)
    else:
        status = _put(seen, status, names.RECOVERED, "True", names.RECOVERED, "Ready, and all probes hold")
    if back is not None:
        status = status.model_copy(
            update={
                "recovery_seconds": max(0, round((back - healed).total_seconds())),
                "targets": [target.model_copy(update={"recovered_at": back}) for target in status.targets],
            }
        )
    return _end(seen, status, judgment)


def _delete(seen: ObservedExperiment, status: ChaosExperimentStatus, image: str) -> ExperimentDecision:
    """Heal before the object goes, but never hold it for long: every fault ends by itself."""
    if names.FINALIZER not in seen.experiment.metadata.finalizers:
        return Decision(seen.experiment.status)
    deleted = seen.experiment.metadata.deletion_timestamp
    assert deleted is not None, "the rung of deleted objects"
    if seen.surroundings is None or seen.surroundings.deleting or status.verdict is not None:
        return Decision(seen.experiment.status, actions=(SetFinalizer(False),))
    if seen.now >= deleted + GIVE_UP:
        told = "deleted before the heal was proven; the fault ends by itself"
        return Decision(
            seen.experiment.status,
            actions=(SetFinalizer(False),),
            events=(Event(names.NOT_HEALED, told, warning=True),),
        )
    injected = conditions.get(status.conditions, names.INJECTED)
    healed = conditions.get(status.conditions, names.HEALED)
    if injected is not None and injected.status == "Unknown":
        return _inject(seen, status, injected.last_transition_time, image)
    if healed is None or healed.status != "True":
        decision = _heal(seen, status, image)
        return replace(decision, actions=(*decision.actions, *_release(seen, decision.status)))
    return Decision(seen.experiment.status, actions=(SetFinalizer(False),))


def _release(seen: ObservedExperiment, status: ChaosExperimentStatus | None = None) -> tuple[Action, ...]:
    """Take the finalizer off an experiment that has its verdict."""
    judged = (status or seen.experiment.status).verdict is not None
    return (SetFinalizer(False),) if judged and names.FINALIZER in seen.experiment.metadata.finalizers else ()


def _refuse(seen: ObservedExperiment, status: ChaosExperimentStatus, reason: str, message: str) -> ExperimentDecision:
    status = _put(seen, status, names.ACCEPTED, "False", reason, message)
    return _end(seen, status, Judgment(Verdict.ERROR, reason, message))


def _end(seen: ObservedExperiment, status: ChaosExperimentStatus, judgment: Judgment) -> ExperimentDecision:
    """Write the verdict. An observer that still watches is not needed any more."""
    observer = seen.helpers.get(manifests.OBSERVER)
    left = observer is not None and observer.ended is None and not observer.deleting
    actions = (DeletePod(observer.name, observer.uid),) if observer is not None and left else ()
    status = status.model_copy(
        update={"verdict": judgment.verdict, "reason": judgment.reason, "message": judgment.message[:1000]}
    )
    return Decision(status, actions=actions, events=(_event(judgment),), look_again=seen.now)


def _event(judgment: Judgment) -> Event:
    passed = judgment.verdict is Verdict.PASSED
    return Event(judgment.verdict.value, f"{judgment.reason}: {judgment.message}"[:1000], warning=not passed)


def _bad_start(seen: ObservedExperiment, observer: HelperPod) -> Judgment:
    try:
        report = _report(seen, observer)
    except IncompleteReport as error:
        return Judgment(Verdict.ERROR, names.OBSERVER_FAILED, f"the observer ended before the fault: {error}")
    word = names.STEADY_STATE_NOT_HELD if not report.good else names.OBSERVER_FAILED
    return Judgment(Verdict.INCONCLUSIVE, word, f"before the fault: {report.message or report.end}")


def _report(seen: ObservedExperiment, observer: HelperPod | None) -> Timeline:
    if observer is None or observer.ended is None:
        raise IncompleteReport("its pod is gone" if observer is None else "it did not end")
    timeline = decode(observer.ended.message, experiment=seen.experiment.metadata.uid, pod=observer.uid)
    if timeline.end is None:
        raise IncompleteReport("it was ended before its time")
    return timeline


def _ready_again(seen: ObservedExperiment, status: ChaosExperimentStatus) -> datetime | None:
    """Return since when as many pods are Ready as there were before, None while they are not."""
    times = sorted(pod.ready_since for pod in seen.pods if pod.ready_since and not pod.deleting)
    return times[status.matched - 1] if len(times) >= max(1, status.matched) else None


def _ready_count(seen: ObservedExperiment) -> int:
    return sum(1 for pod in seen.pods if pod.ready_since and not pod.deleting)


def _understood(seen: ObservedExperiment, chosen: tuple[TargetPod, ...]) -> str:
    spec = seen.experiment.spec
    probes = len(spec.steady_state.probes) if spec.steady_state else 0
    what = f"{spec.fault} of port {spec.port}" if spec.port else str(spec.fault)
    return f"{what} for {spec.duration} on {preflight.names_of(chosen)}, {probes} probe{'' if probes == 1 else 's'}"


def _put(
    seen: ObservedExperiment,
    status: ChaosExperimentStatus,
    kind: str,
    truth: conditions.Truth,
    reason: str,
    message: str,
) -> ChaosExperimentStatus:
    new = conditions.put(
        status.conditions,
        kind,
        truth,
        reason,
        message,
        now=seen.now,
        generation=seen.experiment.metadata.generation,
    )
    return status.model_copy(update={"conditions": new})
