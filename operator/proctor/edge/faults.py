"""The ChaosExperiments that are on or wait, and whose turn it is in a namespace: one fault at a time."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from proctor.api import names
from proctor.api.chaos import ChaosExperiment
from proctor.core.chaos.inrun import run_of
from proctor.core.observed import Claim

_FIRST = datetime.fromtimestamp(0, UTC)


@dataclass
class Faults:
    """All experiments that may still do something, and those of runs."""

    _live: dict[str, ChaosExperiment] = field(default_factory=dict)
    _of_runs: dict[str, dict[str, ChaosExperiment]] = field(default_factory=dict)
    reserved: set[str] = field(default_factory=set)
    """Uids of experiments whose targets are being chosen."""

    def put(self, experiment: ChaosExperiment) -> str:
        """Take in an experiment; return the uid of the run that it belongs to, or an empty string."""
        uid, run_uid = experiment.metadata.uid, run_of(experiment)
        going = experiment.metadata.deletion_timestamp is not None
        held = names.FINALIZER in experiment.metadata.finalizers
        if experiment.status.verdict is None and (held or not going):
            self._live[uid] = experiment
        else:
            self._live.pop(uid, None)
        if run_uid:
            self._of_runs.setdefault(run_uid, {})[uid] = experiment
        return run_uid

    def drop(self, experiment: ChaosExperiment) -> str:
        """Forget an experiment that is gone; return as `put` does."""
        uid, run_uid = experiment.metadata.uid, run_of(experiment)
        self._live.pop(uid, None)
        of_run = self._of_runs.get(run_uid, {})
        of_run.pop(uid, None)
        if not of_run:
            self._of_runs.pop(run_uid, None)
        return run_uid

    def of_run(self, run_uid: str) -> tuple[ChaosExperiment, ...]:
        """Return the experiments of a run, the oldest first."""
        return tuple(sorted(self._of_runs.get(run_uid, {}).values(), key=_age))

    def on(self, namespace: str) -> tuple[ChaosExperiment, ...]:
        """Return the experiments of a namespace that have their turn."""
        return tuple(
            one
            for one in self._live.values()
            if one.metadata.namespace == namespace and (one.status.targets or one.metadata.uid in self.reserved)
        )

    def rival_of(self, experiment: ChaosExperiment, held: Iterable[Claim]) -> str:
        """Return what must end before an experiment may choose its targets, as a sentence; "" for nothing."""
        namespace, uid = experiment.metadata.namespace, experiment.metadata.uid
        for other in self.on(namespace):
            if other.metadata.uid != uid:
                return f"ChaosExperiment {other.metadata.name} is on in this namespace"
        for claim in held:
            if claim.exclusive and claim.namespace == namespace and claim.run_uid != run_of(experiment):
                return f"an exclusive step ({claim.step}) is running on a target in this namespace"
        for other in self._live.values():
            waits = other.metadata.namespace == namespace and other.status.conditions and not other.status.targets
            if waits and _age(other) < _age(experiment):
                return f"ChaosExperiment {other.metadata.name} waits longer"
        return ""


def _age(experiment: ChaosExperiment) -> tuple[datetime, str]:
    return experiment.metadata.creation_timestamp or _FIRST, experiment.metadata.uid
