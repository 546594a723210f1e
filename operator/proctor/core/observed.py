"""What the world looks like, as frozen values: the only thing that decisions are made from.

edge/ fills these from the API server. Some answers cost an extra request, so a decision may come back with questions
(`Ask...`); edge answers them and asks again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from proctor.api.chaos import ChaosExperiment
from proctor.api.testrun import TestRun
from proctor.api.testsuite import TestSuite
from proctor.core.plan import Plan


@dataclass(frozen=True)
class Ended:
    """A container that ended: exit code, the kubelet's reason (OOMKilled, Error, ...), its termination message."""

    exit_code: int
    reason: str
    message: str


@dataclass(frozen=True)
class Pod:
    """A pod of a step. `waiting` is a container's reason and message; `disrupted` the DisruptionTarget's reason.

    `ended_at` is when it ended or was disrupted, where that is known.
    """

    name: str
    uid: str
    run_uid: str
    step: str
    role: str
    index: int
    phase: str
    created: datetime
    namespace: str = ""
    reason: str = ""
    message: str = ""
    waiting: tuple[str, str] | None = None
    unschedulable: str | None = None
    disrupted: str | None = None
    deleting: bool = False
    started: bool = False
    prepare: Ended | None = None
    runner: Ended | None = None
    ended_at: datetime | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come from this pod."""
        return self.phase in ("Succeeded", "Failed") or self.runner is not None


@dataclass(frozen=True)
class Job:
    """A Job of ours: `failed` is why it failed, `pods` its parallelism, `plan` the digest of its plan."""

    name: str
    uid: str
    namespace: str
    run_uid: str
    step: str
    role: str
    created: datetime
    shards: int = 1
    pods: int = 1
    target: str = ""
    exclusive: bool = False
    target_namespace: str = ""
    plan: str = ""
    complete: bool = False
    failed: str | None = None
    message: str = ""
    finished_at: datetime | None = None

    @property
    def live(self) -> bool:
        """Whether the Job can still have running pods."""
        return not self.complete and self.failed is None


@dataclass(frozen=True)
class Workload:
    """A workload of the target: digests of its pods' images and of its template; `settled` after a rollout."""

    kind: str
    name: str
    images: tuple[str, ...]
    template: str
    settled: bool


@dataclass(frozen=True)
class Refusal:
    """The API server would not take an object; `quota` tells a quota, which may pass, from the rest.

    `since` is when it was first refused.
    """

    message: str
    quota: bool
    since: datetime | None = None


@dataclass(frozen=True)
class Claim:
    """Pods that a step holds or waits for, on a target. Ordered by `since`, the creation of its run."""

    run_uid: str
    step: str
    target: str
    exclusive: bool
    pods: int
    since: datetime
    namespace: str = ""
    """The target's, where the step is exclusive."""


@dataclass(frozen=True)
class AskTarget:
    """What are the target's workloads now?"""


@dataclass(frozen=True)
class AskJob:
    """Does this recorded Job exist, by the API server's own word rather than a cache's?"""

    name: str


@dataclass(frozen=True)
class AskPodRefusal:
    """Would the API server take a pod of this Job? (A dry run.)"""

    job: str


@dataclass(frozen=True)
class AskInjection:
    """Would the API server take all that a fault needs? (A dry run of actions.)"""

    actions: tuple[object, ...] = field(hash=False)
    """They hold manifests, which have no hash."""


Question = AskTarget | AskJob | AskPodRefusal | AskInjection


@dataclass(frozen=True)
class ObservedRun:
    """One TestRun and what belongs to it. `refusals` are by the object's name; answers are empty until asked for."""

    run: TestRun
    now: datetime
    raw_spec: Mapping[str, object] = field(default_factory=dict)
    suite: TestSuite | None = None
    plan: Plan | None = None
    plan_gone: bool = False
    jobs: tuple[Job, ...] = ()
    pods: tuple[Pod, ...] = ()
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    held: tuple[Claim, ...] = ()
    awaited: tuple[Claim, ...] = ()
    budget: int = 50
    faults: tuple[ChaosExperiment, ...] = ()
    """Experiments that are on in the target's namespace."""
    experiments: tuple[ChaosExperiment, ...] = ()
    """This run's own, the oldest first."""
    target: tuple[Workload, ...] | None = None
    gone: frozenset[str] = frozenset()
    present: frozenset[str] = frozenset()
    pod_refusals: Mapping[str, Refusal | None] = field(default_factory=dict)

    def job(self, name: str) -> Job | None:
        """Return the run's Job called `name`, if it was seen."""
        return next((job for job in self.jobs if job.name == name), None)


@dataclass(frozen=True)
class ObservedSuite:
    """One TestSuite and its runs. `dry_run` is the API server's word about its Jobs, None until asked."""

    suite: TestSuite
    now: datetime
    runs: tuple[TestRun, ...] = ()
    raw_spec: Mapping[str, object] = field(default_factory=dict)
    target: tuple[Workload, ...] | None = None
    dry_run: tuple[str, ...] | None = None
