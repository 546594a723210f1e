"""A pure little cluster: it carries out decisions on dicts, moves pods along scripts, and turns the clock.

It stands for the API server, the Job controller and the kubelet as far as a decision can see them. A script tells for
each shard what becomes of its first pod, its second, ...: a list of (seconds after creation, how the pod then looks).
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from typing_extensions import override

from builders import RUNNER_IMAGE, T0, APod
from proctor.api import names
from proctor.api.chaos import ChaosExperiment
from proctor.api.testrun import TestRun, TestRunStatus
from proctor.api.testsuite import TestSuite
from proctor.core import lifecycle
from proctor.core import plan as plans
from proctor.core.actions import (
    AbortExperiment,
    CreateExperiment,
    CreateJob,
    CreatePlan,
    Decision,
    DeleteJob,
    Event,
)
from proctor.core.observed import (
    AskJob,
    AskPodRefusal,
    AskTarget,
    Claim,
    Job,
    ObservedRun,
    Pod,
    Question,
    Refusal,
    Workload,
)
from proctor.core.plan import Plan

Moment = tuple[float, Callable[[APod], Pod]]
Script = Sequence[Sequence[Moment]]
"""What becomes of each pod of a shard; the last entry counts for all further pods."""


def passes(*tests: str, of: Sequence[str] | None = None, after: float = 5) -> Script:
    """Return the script of a shard that runs its part of a collection, and all pass."""
    return [[(2, APod.running), (after, lambda pod: pod.passed(*tests, of=of))]]


def reports(after: float = 5, **summary: Any) -> Script:
    """Return the script of a shard that reports `summary` (see builders.a_summary)."""
    return [[(2, APod.running), (after, lambda pod: pod.reported(pod.summary(**summary)))]]


@dataclass(repr=False)
class Cluster:
    """One run in its world. Fields are the world's state; a test may change them between passes."""

    run: TestRun
    suite: TestSuite | None = None
    scripts: dict[tuple[str, int], Script] = field(default_factory=dict)
    now: datetime = T0
    target: tuple[Workload, ...] = ()
    refuse: dict[str, Refusal] = field(default_factory=dict)
    """Jobs that the API server would not take, by name."""
    pod_refusal: Refusal | None = None
    """Pods that the API server would not take."""
    held: tuple[Claim, ...] = ()
    awaited: tuple[Claim, ...] = ()
    raw_spec: Mapping[str, object] = field(default_factory=dict)
    budget: int = 50
    plan: Plan | None = None
    plan_document: dict[str, Any] | None = None
    jobs: dict[str, Job] = field(default_factory=dict)
    manifests: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    faults: dict[str, ChaosExperiment] = field(default_factory=dict)
    """The run's own, by name."""
    refusals: dict[str, Refusal] = field(default_factory=dict)
    created: Counter[str] = field(default_factory=Counter)
    deleted: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    history: list[TestRunStatus] = field(default_factory=list)
    look_again: datetime | None = None
    serial: int = 0
    crashes: list[bool] = field(default_factory=list)
    """Whether the operator is killed in the coming passes, after the actions and before the status is written."""

    @property
    def status(self) -> TestRunStatus:
        return self.run.status

    @property
    def story(self) -> str:
        """The state of the run in a line, for messages."""
        shown = [
            (step.name, step.state.value, step.reason, [x.state for x in step.shards]) for step in self.status.steps
        ]
        return f"{self.status.verdict} {self.status.reason} {shown}"

    @override
    def __repr__(self) -> str:
        return f"Cluster({self.story} at {self.now})"

    def edit(self, **spec: Any) -> None:
        """Change the run's spec, as a user may: abort and suspend."""
        self.run = self.run.model_copy(update={"spec": self.run.spec.model_copy(update=spec)})

    def observe(self) -> ObservedRun:
        return ObservedRun(
            run=self.run,
            now=self.now,
            raw_spec=self.raw_spec,
            suite=self.suite,
            plan=self.plan,
            plan_gone=self.run.status.resolved is not None and self.plan_document is None,
            jobs=tuple(self.jobs.values()),
            pods=tuple(self.pods.values()),
            refusals=dict(self.refusals),
            held=(*self.held, *self._own_claims()),
            awaited=self.awaited,
            budget=self.budget,
            experiments=tuple(self.faults.values()),
        )

    def decide(self) -> Decision[TestRunStatus]:
        """Decide, answering questions, each time twice: the same world must give the same decision."""
        seen = self.observe()
        for _ in range(4):
            decision = lifecycle.decide(seen, RUNNER_IMAGE)
            assert decision == lifecycle.decide(seen, RUNNER_IMAGE)
            if not decision.questions:
                return decision
            for question in decision.questions:
                seen = self._answer(seen, question)
        raise AssertionError(f"still asks: {decision.questions}")

    def step(self) -> Decision[TestRunStatus]:
        """Make one pass: observe, decide, apply."""
        decision = self.decide()
        self.look_again = decision.look_again
        for action in decision.actions:
            match action:
                case CreatePlan(manifest):
                    self.created["plan"] += 1
                    if self.plan_document is not None:
                        self.plan = plans.load(self.plan_document)
                        return decision
                    self.plan_document = json.loads(manifest["data"][names.PLAN_KEY])
                    self.plan = plans.load(self.plan_document)
                case CreateJob(manifest):
                    self._create_job(manifest)
                case DeleteJob(name, uid):
                    assert self.jobs[name].uid == uid
                    self.deleted.append(name)
                    self.remove_job(name)
                case CreateExperiment(manifest):
                    self._create_experiment(manifest)
                case AbortExperiment(_, name):
                    self.change_fault(name, spec={"abort": True})
                case _:
                    raise AssertionError(f"a run does not ask for {action}")
        if self.crashes and self.crashes.pop(0):
            self.plan = plans.load(self.plan_document) if self.plan_document is not None else None  # read back
            return decision
        self.write(decision)
        return decision

    def write(self, decision: Decision[TestRunStatus]) -> None:
        """Store the status as the API server would, and tell the Events."""
        before = self.run.status
        text = decision.status.model_dump_json(by_alias=True)
        self.run = self.run.model_copy(update={"status": TestRunStatus.model_validate_json(text)})
        assert before.verdict in (None, self.run.status.verdict), "a verdict is final"
        self.events += decision.events
        self.history.append(self.run.status)

    def settle(self, passes: int = 40) -> None:
        """Make passes until the status stands still."""
        for _ in range(passes):
            before = self.run.status, dict(self.jobs), bool(self.crashes)
            self.step()
            self.live()
            if (self.run.status, self.jobs, False) == before:
                return
        raise AssertionError(f"no rest after {passes} passes: {self.story}")

    def until(self, done: Callable[["Cluster"], bool], *, passes: int = 300) -> "Cluster":
        """Turn the clock from event to event until `done`; fail if that takes too many passes."""
        for _ in range(passes):
            self.settle()
            if done(self):
                return self
            times = [time for time in (self.look_again, self._next_moment()) if time is not None]
            assert times, f"nothing would ever happen again: {self.story}"
            self.now = max(min(times), self.now + timedelta(seconds=1))
            self.live()
        raise AssertionError(f"not done at {self.now}: {self.story}")

    def finish(self, *, passes: int = 300) -> TestRunStatus:
        """Turn the clock until the verdict, and a little further: it must stay."""
        self.until(lambda world: world.status.verdict is not None, passes=passes)
        self.settle()
        return self.status

    def wait(self, seconds: float) -> None:
        """Turn the clock, with passes at every event on the way."""
        end = self.now + timedelta(seconds=seconds)
        self.settle()
        for _ in range(500):
            coming = [time for time in (self.look_again, self._next_moment(), end) if time is not None]
            self.now = min(end, max(min(coming), self.now + timedelta(seconds=1)))
            self.live()
            self.settle()
            if self.now == end:
                return
        raise AssertionError("too many passes")

    def live(self) -> None:
        """Let the Job controller and the kubelet act up to now."""
        for job in list(self.jobs.values()):
            self._make_pods(job)
        for uid, pod in list(self.pods.items()):
            for seconds, how in self._script(pod):
                moment = pod.created + timedelta(seconds=seconds)
                if moment <= self.now:
                    after = how(APod(_pending(pod)))
                    left = after.ended or after.disrupted is not None
                    self.pods[uid] = replace(after, ended_at=after.ended_at or (moment if left else None))
        for job in list(self.jobs.values()):
            mine = [pod for pod in self.pods.values() if (pod.step, pod.role) == (job.step, job.role)]
            ended = {pod.index for pod in mine if pod.ended and not (pod.disrupted and _exit(pod) != 0)}
            if job.live and len(ended) == job.shards:
                bad = [pod for pod in mine if pod.index in ended and _exit(pod) != 0]
                update = {"failed": "FailedIndexes"} if bad else {"complete": True}
                self.jobs[job.name] = replace(job, **update, finished_at=self.now)

    def change_fault(
        self, name: str, *, spec: Mapping[str, Any] | None = None, status: Mapping[str, Any] | None = None
    ) -> None:
        """Change an experiment's spec or status."""
        old = self.faults[name]
        update = {
            "spec": old.spec.model_copy(update=spec),
            "status": old.status.model_copy(update=status),
        }
        self.faults[name] = old.model_copy(update=update)

    def _create_experiment(self, manifest: Mapping[str, Any]) -> None:
        name = manifest["metadata"]["name"]
        if name in self.refuse:
            self.refusals[name] = self.refuse[name]
            return
        self.created[name] += 1
        if name not in self.faults:
            meta = {**manifest["metadata"], "uid": f"uid-{name}", "creationTimestamp": self.now}
            self.faults[name] = ChaosExperiment.model_validate({**manifest, "metadata": meta})

    def remove_job(self, name: str) -> None:
        """Delete a Job and its pods."""
        job = self.jobs.pop(name)
        self.pods = {u: pod for u, pod in self.pods.items() if (pod.step, pod.role) != (job.step, job.role)}

    def job(self, step: str = "one") -> Job:
        return next(job for job in self.jobs.values() if job.step == step and job.role == names.ROLE_STEP)

    def _answer(self, seen: ObservedRun, question: Question) -> ObservedRun:
        match question:
            case AskTarget():
                return replace(seen, target=self.target)
            case AskJob(name):
                if name in self.jobs:
                    return replace(seen, present=seen.present | {name})
                return replace(seen, gone=seen.gone | {name})
            case AskPodRefusal(name):
                return replace(seen, pod_refusals={**seen.pod_refusals, name: self.pod_refusal})
            case _:
                raise AssertionError(f"a run does not ask {question}")

    def _create_job(self, manifest: Mapping[str, Any]) -> None:
        name, labels, spec = manifest["metadata"]["name"], manifest["metadata"]["labels"], manifest["spec"]
        if name in self.refuse:
            self.refusals.setdefault(name, self.refuse[name])
            return
        self.refusals.pop(name, None)
        if name in self.jobs:
            return
        self.created[name] += 1
        self.manifests[name] = manifest
        self.jobs[name] = Job(
            name=name,
            uid=f"uid-{name}-{self.created[name]}",
            namespace=self.run.metadata.namespace,
            run_uid=labels[names.LABEL_RUN_UID],
            step=labels[names.LABEL_STEP],
            role=labels[names.LABEL_ROLE],
            created=self.now,
            shards=spec.get("completions", 1),
            pods=spec.get("parallelism", 1),
            target=labels[names.LABEL_TARGET],
            exclusive=labels.get(names.LABEL_EXCLUSIVE) == "true",
        )

    def _make_pods(self, job: Job) -> None:
        if not job.live or self.pod_refusal is not None:
            return
        mine = [pod for pod in self.pods.values() if (pod.step, pod.role) == (job.step, job.role)]
        busy = sum(1 for pod in mine if not pod.ended)
        for index in range(job.shards):
            own = [pod for pod in mine if pod.index == index]
            if busy >= job.pods or any(not (pod.ended and pod.disrupted and _exit(pod) != 0) for pod in own):
                continue
            busy += 1
            self.serial += 1
            uid = f"pod-{job.step}-{index}-{len(own)}"
            self.pods[uid] = Pod(
                uid, uid, job.run_uid, job.step, job.role, index, "Pending", self.now, namespace=job.namespace
            )

    def _script(self, pod: Pod) -> Sequence[Moment]:
        number = int(pod.uid.rsplit("-", 1)[1])
        default = passes(f"{pod.step}.py::test_{pod.index}")
        script = self.scripts.get((pod.step if pod.role == names.ROLE_STEP else f"{pod.step}.git", pod.index), default)
        return script[min(number, len(script) - 1)]

    def _next_moment(self) -> datetime | None:
        coming = [
            pod.created + timedelta(seconds=seconds)
            for pod in self.pods.values()
            for seconds, _ in self._script(pod)
            if pod.created + timedelta(seconds=seconds) > self.now
        ]
        return min(coming, default=None)

    def _own_claims(self) -> list[Claim]:
        ended = {step.name for step in self.run.status.steps if step.verdict is not None}
        return [
            Claim(job.run_uid, job.step, job.target, job.exclusive, job.pods, job.created)
            for job in self.jobs.values()
            if job.live and job.role == names.ROLE_STEP and job.step not in ended
        ]


def _pending(pod: Pod) -> Pod:
    return Pod(pod.name, pod.uid, pod.run_uid, pod.step, pod.role, pod.index, "Pending", pod.created, pod.namespace)


def _exit(pod: Pod) -> int:
    return pod.runner.exit_code if pod.runner is not None else 1
