"""What to say about a resource that cannot be carried out.

That is a spec beyond the API server's own checks, or a kind that this version does not act on. Saying nothing would
look like waiting.
"""

from datetime import datetime

from proctor.api import names
from proctor.api.chaos import ChaosExperimentStatus
from proctor.api.perfgate import PerfGateStatus
from proctor.api.scalars import Verdict
from proctor.api.testrun import TestRunStatus
from proctor.api.testsuite import TestSuiteStatus
from proctor.core import conditions
from proctor.core.actions import Decision, Event

AnyStatus = TestRunStatus | TestSuiteStatus | ChaosExperimentStatus | PerfGateStatus


def decide(before: AnyStatus, generation: int, reason: str, message: str, now: datetime) -> Decision[AnyStatus]:
    """Return Accepted=False with the reason; a run or an experiment ends with it."""
    if isinstance(before, TestRunStatus | ChaosExperimentStatus) and before.verdict is not None:
        return Decision(before)
    told = conditions.get(before.conditions, names.ACCEPTED)
    if told is not None and told.observed_generation == generation and told.reason == reason:
        return Decision(before)
    new = conditions.put(before.conditions, names.ACCEPTED, "False", reason, message, now=now, generation=generation)
    update: dict[str, object] = {"observed_generation": generation}
    if isinstance(before, TestRunStatus | ChaosExperimentStatus):
        update |= {"verdict": Verdict.ERROR, "reason": reason}
    if isinstance(before, TestRunStatus):
        update |= {"message": message[:1000], "finished_at": now}
        for kind, status, word in ((names.FINISHED, "True", names.FINISHED), (names.SUCCEEDED, "False", reason)):
            new = conditions.put(new, kind, status, word, message, now=now, generation=generation)  # type: ignore[arg-type]
    update["conditions"] = new
    return Decision(before.model_copy(update=update), events=(Event(reason, message[:1000], warning=True),))
