"""The end of an experiment: waits until the target is well again or its time is over, then judges."""

from datetime import datetime, timedelta

from proctor.api import names
from proctor.api.chaos import ChaosExperimentStatus
from proctor.api.scalars import Fault, Verdict, seconds
from proctor.core import conditions
from proctor.core.actions import Decision
from proctor.core.chaos import judge, manifests
from proctor.core.chaos.ending import ExperimentDecision, end, failed, put, report
from proctor.core.chaos.observed import ObservedExperiment
from proctor.core.envelope import IncompleteReport
from proctor.core.timeline import Timeline
from proctor.core.verdict import Judgment

LAST_WORD = timedelta(seconds=20)
"""How long the observer's report may be late."""
PAUSE = timedelta(seconds=0.5)


def advance(seen: ObservedExperiment, status: ChaosExperimentStatus) -> ExperimentDecision:
    """Return the next decision about an experiment whose fault is over."""
    spec, now = seen.experiment.spec, seen.now
    injected = conditions.get(status.conditions, names.INJECTED)
    assert injected is not None, "what was never begun is not healed"
    if injected.status != "True":
        status = put(seen, status, names.INJECTED, "False", injected.reason, injected.message)
        return end(seen, status, failed(injected.reason, injected.message))
    if spec.abort:
        return end(seen, status, failed(names.ABORTED, "aborted; the fault was healed"))
    healed = max(target.healed_at or now for target in status.targets)
    limit = healed + timedelta(seconds=seconds(spec.recovery_timeout))
    observer = seen.helpers.get(manifests.OBSERVER)
    ready = _ready_again(seen, status)
    moved = spec.fault in (Fault.POD_KILL, Fault.OUTAGE)
    lost = [target.pod for target in status.targets if not moved and seen.pod(target.uid) is None]
    if lost and ready:
        # Its address cannot come back, and nobody can tell which loss was the fault's.
        message = f"replaced by someone else while it was examined: {', '.join(lost)}"
        return end(seen, status, Judgment(Verdict.INCONCLUSIVE, names.TARGET_LOST, message))
    watching = observer is not None and not observer.over
    last = limit + timedelta(seconds=manifests.ALLOWANCE + manifests.HEAD_START + manifests.MARGIN) + LAST_WORD
    if (watching and now < last) or (ready is None and now < limit):
        return Decision(status, look_again=now + PAUSE)
    try:
        whole = report(seen, observer)
    except IncompleteReport as error:
        if ready:
            return end(seen, status, failed(names.OBSERVER_FAILED, f"no whole report of the observer: {error}"))
        message = f"{seen.ready} of {status.matched} pods are Ready"
        return end(seen, status, Judgment(Verdict.FAILED, names.NOT_RECOVERED, message))
    return _judge(seen, status, whole, ready, moved=moved)


def _judge(
    seen: ObservedExperiment, status: ChaosExperimentStatus, whole: Timeline, ready: datetime | None, *, moved: bool
) -> ExperimentDecision:
    spec, targets = seen.experiment.spec, status.targets
    shown = judge.effect(spec, targets, whole)
    healed = judge.over(spec, targets, whole)
    back = judge.recovered_at(whole, healed, ready, gone=moved) if ready else None
    judgment = judge.verdict(shown, back, healed, spec)
    word = names.EFFECTIVE if shown.seen else names.NOT_EFFECTIVE
    status = put(seen, status, names.EFFECTIVE, "True" if shown.seen else "False", word, shown.message)
    if spec.steady_state is not None:
        held, told = judge.steady(targets, whole)
        status = put(seen, status, names.STEADY_STATE_HELD, "True" if held else "False", "Probes", told)
    if judgment.verdict is Verdict.FAILED:
        status = put(seen, status, names.RECOVERED, "False", names.NOT_RECOVERED, judgment.message)
    else:
        status = put(seen, status, names.RECOVERED, "True", names.RECOVERED, "Ready, and all probes hold")
    if back is not None:
        status = status.model_copy(
            update={
                "recovery_seconds": max(0, round((back - healed).total_seconds())),
                "targets": [target.model_copy(update={"recovered_at": back}) for target in targets],
            }
        )
    return end(seen, status, judgment)


def _ready_again(seen: ObservedExperiment, status: ChaosExperimentStatus) -> datetime | None:
    """Return since when as many pods are Ready as there were before, None while they are not."""
    times = sorted(pod.ready_since for pod in seen.pods if pod.ready_since and not pod.deleting)
    return times[status.matched - 1] if len(times) >= max(1, status.matched) else None
