"""The faults of a run: making those that its steps declare, telling of all of them, judging by them.

A fault that a test makes for itself counts as much as a declared one: what was not proven cannot pass.
"""

from datetime import datetime, timedelta

from proctor.api import names
from proctor.api.chaos import ChaosExperiment
from proctor.api.scalars import StepState, Verdict, seconds
from proctor.api.step import Step, StepChaos
from proctor.api.testrun import FaultStatus, StepStatus
from proctor.core.actions import AbortExperiment, CreateExperiment, Manifest
from proctor.core.jobs import child_name, step_labels, target_namespace
from proctor.core.observed import ObservedRun
from proctor.core.plan import Plan
from proctor.core.verdict import Judgment

MAX_TOLD = 100


def due(
    step: Step, status: StepStatus, seen: ObservedRun, plan: Plan
) -> tuple[list[CreateExperiment], datetime | None]:
    """Return the experiments of a running step whose time has come, and when the next one is due.

    The clock of a step begins when one of its pods runs.
    """
    if status.state is not StepState.RUNNING or not any(shard.state == "Running" for shard in status.shards):
        return [], None
    began = min((pod.created for pod in seen.pods if pod.step == step.name and pod.started), default=seen.now)
    made = {fault.name for fault in told(seen)} | set(seen.refusals)
    actions, times = [], []
    for index, chaos in enumerate(step.chaos):
        name = child_name(seen.run, f"{step.name}.{index}")
        at = began + timedelta(seconds=seconds(chaos.at))
        if name in made:
            continue
        if seen.now >= at:
            actions.append(CreateExperiment(_manifest(seen, plan, step, chaos, name)))
        else:
            times.append(at)
    return actions, min(times, default=None)


def told(seen: ObservedRun) -> list[FaultStatus]:
    """Return what the run's status says of its faults, those included that were deleted since it told of them."""
    there = [_told(experiment) for experiment in seen.experiments]
    known = {(fault.namespace, fault.name) for fault in there}
    gone = [fault for fault in seen.run.status.chaos if (fault.namespace, fault.name) not in known]
    return [*gone, *there][-MAX_TOLD:]


def unfinished(seen: ObservedRun) -> bool:
    """Return whether a fault of the run has no verdict yet."""
    return any(experiment.status.verdict is None for experiment in seen.experiments)


def aborts(seen: ObservedRun) -> list[AbortExperiment]:
    """Return what heals the faults of a run that has ended."""
    return [
        AbortExperiment(experiment.metadata.namespace, experiment.metadata.name)
        for experiment in seen.experiments
        if experiment.status.verdict is None and not experiment.spec.abort
    ]


def judgments(seen: ObservedRun, plan: Plan) -> list[Judgment]:
    """Return what the run's faults say of its verdict: those that did not pass, and those that never came to be."""
    there = {experiment.metadata.name for experiment in seen.experiments}
    gone = [fault for fault in told(seen) if fault.name not in there]
    found = [
        Judgment(
            experiment.status.verdict,
            experiment.status.reason,
            f"ChaosExperiment {experiment.metadata.name}: {experiment.status.message}",
        )
        for experiment in seen.experiments
        if experiment.status.verdict not in (None, Verdict.PASSED)
    ]
    for fault in gone:
        if fault.verdict is None:
            message = f"ChaosExperiment {fault.name} was deleted before it had a verdict"
            found.append(Judgment(Verdict.INCONCLUSIVE, names.NOT_EFFECTIVE, message))
        elif fault.verdict is not Verdict.PASSED:
            message = f"ChaosExperiment {fault.name}, which is deleted"
            found.append(Judgment(fault.verdict, fault.reason, message))
    made = there | {fault.name for fault in gone}
    for step in plan.spec.steps:
        for index, chaos in enumerate(step.chaos):
            name = child_name(seen.run, f"{step.name}.{index}")
            if refusal := seen.refusals.get(name):
                message = f"the fault of step {step.name} at {chaos.at} was refused: {refusal.message}"
                found.append(Judgment(Verdict.ERROR, names.INJECTION_REFUSED, message))
            elif name not in made:
                message = f"step {step.name} ended before its fault at {chaos.at}"
                found.append(Judgment(Verdict.INCONCLUSIVE, names.NOT_EFFECTIVE, message))
    return found


def run_of(experiment: ChaosExperiment) -> str:
    """Return the uid of the run that an experiment belongs to, or an empty string."""
    return experiment.metadata.labels.get(names.LABEL_RUN_UID, "")


def _told(experiment: ChaosExperiment) -> FaultStatus:
    status, hit = experiment.status, experiment.status.targets
    return FaultStatus(
        name=experiment.metadata.name,
        namespace=experiment.metadata.namespace,
        step=experiment.metadata.labels.get(names.LABEL_STEP, ""),
        fault=experiment.spec.fault,
        verdict=status.verdict,
        reason=status.reason,
        injected_at=min((t.injected_at for t in hit if t.injected_at), default=None),
        healed_at=max((t.healed_at for t in hit if t.healed_at), default=None),
        recovered_at=max((t.recovered_at for t in hit if t.recovered_at), default=None),
    )


def _manifest(seen: ObservedRun, plan: Plan, step: Step, chaos: StepChaos, name: str) -> Manifest:
    run = seen.run
    namespace = target_namespace(run, plan.spec)
    # Owners live in the same namespace; elsewhere the experiment stays when its run goes.
    owners = [run.as_owner()] if namespace == run.metadata.namespace else []
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.CHAOS_EXPERIMENT,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": step_labels(run, step),
            "ownerReferences": owners,
        },
        "spec": {"seed": plan.seed, **chaos.template},
    }
