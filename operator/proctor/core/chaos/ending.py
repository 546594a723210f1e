"""How an experiment's decisions are told: its conditions, its verdict, and the report that the verdict rests on."""

from proctor.api.chaos import ChaosExperimentStatus
from proctor.api.scalars import Verdict
from proctor.core import conditions
from proctor.core.actions import Decision, DeletePod, Event
from proctor.core.chaos import manifests
from proctor.core.chaos.observed import HelperPod, ObservedExperiment
from proctor.core.envelope import IncompleteReport
from proctor.core.timeline import STOPPED, Timeline, decode
from proctor.core.verdict import Judgment

ExperimentDecision = Decision[ChaosExperimentStatus]


def put(
    seen: ObservedExperiment,
    status: ChaosExperimentStatus,
    kind: str,
    truth: conditions.Truth,
    reason: str,
    message: str,
) -> ChaosExperimentStatus:
    """Return the status with one condition set."""
    generation = seen.experiment.metadata.generation
    new = conditions.put(status.conditions, kind, truth, reason, message, now=seen.now, generation=generation)
    return status.model_copy(update={"conditions": new})


def end(seen: ObservedExperiment, status: ChaosExperimentStatus, judgment: Judgment) -> ExperimentDecision:
    """Write the verdict. An observer that still watches is not needed any more."""
    observer = seen.helpers.get(manifests.OBSERVER)
    left = observer is not None and not observer.over and not observer.deleting
    actions = (DeletePod(observer.name, observer.uid),) if observer is not None and left else ()
    status = status.model_copy(
        update={"verdict": judgment.verdict, "reason": judgment.reason, "message": judgment.message[:1000]}
    )
    return Decision(status, actions=actions, events=(event(judgment),), look_again=seen.now)


def event(judgment: Judgment) -> Event:
    """Return the Event that tells of a judgment."""
    passed = judgment.verdict is Verdict.PASSED
    return Event(judgment.verdict.value, f"{judgment.reason}: {judgment.message}"[:1000], warning=not passed)


def report(seen: ObservedExperiment, observer: HelperPod | None) -> Timeline:
    """Return the whole report of an observer. Raises IncompleteReport, also when it did not watch to the end."""
    if observer is None or observer.ended is None:
        raise IncompleteReport("its pod is gone" if observer is None else "it did not end")
    timeline = decode(observer.ended.message, experiment=seen.experiment.metadata.uid, pod=observer.uid)
    if timeline.end in (None, STOPPED):
        raise IncompleteReport("it was ended before its time")
    return timeline


def failed(reason: str, message: str) -> Judgment:
    """Return the judgment that something of ours did not work."""
    return Judgment(Verdict.ERROR, reason, message)
