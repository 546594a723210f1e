"""TestRun: one execution of a suite. Its spec is immutable; its status is one verdict with the evidence."""

from datetime import datetime
from typing import ClassVar

from pydantic import Field

from proctor.api.base import Condition, LocalReference, ResourceModel, Rule, SpecModel, StatusModel
from proctor.api.scalars import Fault, Mode, StepName, StepState, Verdict
from proctor.api.testsuite import TestSuiteSpec


class TestRunSpec(SpecModel):
    """Which suite to run, once."""

    __test__ = False

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.suiteRef) != has(self.suite)",
            "exactly one of suiteRef and suite must be set",
            holds=lambda run: (run.suite_ref is None) != (run.suite is None),
        ),
        Rule(
            "!has(self.suite) || !has(self.steps) || self.steps.all(n, self.suite.steps.exists(s, s.name == n))",
            "steps must name steps of the suite",
            holds=lambda run: run.suite is None or set(run.steps) <= {step.name for step in run.suite.steps},
            field_path=".steps",
        ),
        Rule("!has(oldSelf.abort) || !oldSelf.abort || (has(self.abort) && self.abort)", "abort cannot be taken back"),
    )
    mutable_fields: ClassVar[tuple[str, ...]] = ("abort", "suspend")

    suite_ref: LocalReference | None = None
    """A TestSuite in the same namespace. Its spec is read once, when the run is planned."""
    suite: TestSuiteSpec | None = None
    """A suite written in place."""
    steps: list[StepName] = Field(default_factory=list, max_length=32)
    """Only these steps. Default: all. What they wait for by `after` must be among them."""
    mode: Mode | None = None
    """Instead of the suite's mode."""
    seed: int | None = Field(default=None, ge=0, le=2147483647)
    """Seed of every random choice. Default: derived from the run's uid, and shown in status."""
    trigger: str | None = Field(default=None, max_length=64)
    """What made this run: SpecChange, TargetChange, Schedule, or your own word."""
    abort: bool = False
    """Stop now. One-way."""
    suspend: bool = False
    """Start no further step. What runs goes on."""


class Counts(StatusModel):
    """Test cases by outcome. A case counts once, however many attempts it had."""

    passed: int = 0
    """Passed at the first attempt."""
    failed: int = 0
    """Failed in every attempt."""
    error: int = 0
    """Broke outside the test itself: setup, teardown, collection, a crash or a hang."""
    skipped: int = 0
    """Skipped or expected to fail."""
    flaky: int = 0
    """Failed, then passed."""
    quarantined: int = 0
    """Ran in quarantine, whatever the outcome."""


class JobReference(StatusModel):
    """The Job of a step."""

    name: str
    """Name of the Job."""
    uid: str
    """Uid of the Job."""


class ShardStatus(StatusModel):
    """One index of a step's Job."""

    index: int
    """Index, from 0."""
    state: str
    """Waiting, Running, Reported, or the reason why its report is not whole."""
    counts: Counts = Field(default_factory=Counts)
    """What it reported."""


class LostPod(StatusModel):
    """A pod that is going or gone before the step has ended, and what it reported."""

    name: str
    """Name of the pod."""
    uid: str
    """Uid of the pod."""
    index: int
    """Index of its shard."""
    created: datetime
    """When it was created."""
    disruption: str = ""
    """What ended it, as its DisruptionTarget condition said."""
    exit_code: int | None = None
    """How its runner ended, if that was seen."""
    report: str = ""
    """Its termination message."""


class StepStatus(StatusModel):
    """What was seen of a step."""

    name: str
    """Name of the step."""
    state: StepState
    """Waiting, Running, Finished or Skipped."""
    verdict: Verdict | None = None
    """The step's verdict, once it is finished."""
    reason: str = ""
    """Why: the verdict's reason, or what a waiting step waits for."""
    message: str = ""
    """A sentence for people."""
    exclusive: bool = False
    """Whether it runs alone on the target."""
    pods: int = 0
    """Pods that it needs at the same time."""
    job: JobReference | None = None
    """The step's Job."""
    shards: list[ShardStatus] = Field(default_factory=list)
    """The step's shards."""
    lost: list[LostPod] = Field(default_factory=list)
    """Pods that will not be there to be asked again."""
    counts: Counts = Field(default_factory=Counts)
    """Test cases by outcome."""
    evidence: dict[str, int] = Field(default_factory=dict)
    """What its tests counted, by name: see `evidence` of a TestSuite's step."""
    duration: str = ""
    """From the Job's creation to the end."""
    started_at: datetime | None = None
    """When the Job was created."""
    finished_at: datetime | None = None
    """When the step ended."""


class TargetStatus(StatusModel):
    """A workload of the target."""

    kind: str
    """Deployment, StatefulSet or DaemonSet."""
    name: str
    """Name of the workload."""
    images: list[str] = Field(default_factory=list)
    """Image digests of its pods when the run started."""
    images_at_end: list[str] = Field(default_factory=list)
    """Image digests of its pods when the run ended."""
    template: str = ""
    """Digest of its pod template when the run started."""


class PinnedCommit(StatusModel):
    """A git ref that was resolved for this run."""

    step: str
    """Name of the step."""
    commit: str
    """The commit, 40 hexadecimal digits."""


class Resolved(StatusModel):
    """What the run was pinned to when it was planned."""

    seed: int
    """Seed of every random choice."""
    mode: Mode = Mode.MOCK
    """The mode in force."""
    plan: str = ""
    """Name of the immutable ConfigMap with the suite's spec as planned: later edits do not change this run."""
    suite_digest: str = ""
    """SHA-256 of the suite's spec, as planned."""
    commits: list[PinnedCommit] = Field(default_factory=list)
    """Commits of the git sources."""


class FaultStatus(StatusModel):
    """A ChaosExperiment that belongs to the run. Its times are on one clock with the attempts' in the pods' logs."""

    name: str
    """Name of the ChaosExperiment."""
    namespace: str = ""
    """Where it is."""
    step: str = ""
    """The step that declares it; empty for one that a test made."""
    fault: Fault
    """PodKill, ProcessKill, NetworkCut, Outage or Pause."""
    verdict: Verdict | None = None
    """Failed, Error, Inconclusive or Passed."""
    reason: str = ""
    """Why, as one word."""
    injected_at: datetime | None = None
    """When the first target was hit."""
    healed_at: datetime | None = None
    """When the last target was healed."""
    recovered_at: datetime | None = None
    """When the target was well again."""


class Failure(StatusModel):
    """A test that failed, broke or was flaky."""

    test: str
    """Node id of the test."""
    step: str = ""
    """Name of the step."""
    outcome: str
    """failed, error, flaky or quarantined."""
    line: str = ""
    """The first line of the reason."""


class Progress(StatusModel):
    """How far the run is."""

    steps_done: int = 0
    """Steps that ended."""
    steps: int = 0
    """Steps in all."""
    shards_done: int = 0
    """Shards that reported."""
    shards: int = 0
    """Shards in all."""


class TestRunStatus(StatusModel):
    """What the operator saw, and the verdict."""

    __test__ = False

    observed_generation: int = 0
    """The generation of the spec that was looked at."""
    conditions: list[Condition] = Field(default_factory=list, json_schema_extra={"x-list-key": "type"})
    """Accepted, Planned, Started, Finished, Succeeded, EvidenceStored."""
    verdict: Verdict | None = None
    """Failed, Error, Inconclusive or Passed, once the run is finished."""
    reason: str = ""
    """Why, as one word."""
    message: str = ""
    """Why, as a sentence."""
    suite: str = ""
    """Name of the suite, or "(inline)"."""
    resolved: Resolved | None = None
    """What the run was pinned to when it was planned."""
    target: list[TargetStatus] = Field(default_factory=list)
    """The target's workloads and their image digests."""
    counts: Counts = Field(default_factory=Counts)
    """Test cases of all steps by outcome."""
    progress: Progress = Field(default_factory=Progress)
    """How far the run is."""
    steps: list[StepStatus] = Field(default_factory=list, json_schema_extra={"x-list-key": "name"})
    """What was seen of each step."""
    chaos: list[FaultStatus] = Field(default_factory=list, max_length=100)
    """The faults of this run, the oldest first."""
    failures: list[Failure] = Field(default_factory=list, max_length=50)
    """Tests that failed, broke or were flaky."""
    failures_omitted: int = 0
    """How many more there were."""
    report_url: str = Field(default="", alias="reportURL")
    """Where the full report is."""
    evidence_digest: str = ""
    """SHA-256 over the summaries that the verdict rests on."""
    started_at: datetime | None = None
    """When the run was planned."""
    finished_at: datetime | None = None
    """When the verdict was given."""
    duration: str = ""
    """From `startedAt` to `finishedAt`."""


class TestRun(ResourceModel):
    """One execution of a suite: immutable spec, one verdict."""

    __test__ = False

    short_name = "prun"
    printer_columns = (
        {"name": "Suite", "type": "string", "jsonPath": ".status.suite"},
        {"name": "Verdict", "type": "string", "jsonPath": ".status.verdict"},
        {"name": "Passed", "type": "integer", "jsonPath": ".status.counts.passed"},
        {"name": "Failed", "type": "integer", "jsonPath": ".status.counts.failed"},
        {"name": "Flaky", "type": "integer", "jsonPath": ".status.counts.flaky"},
        {"name": "Duration", "type": "string", "jsonPath": ".status.duration"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "Quarantined", "type": "integer", "jsonPath": ".status.counts.quarantined", "priority": 1},
        {"name": "Reason", "type": "string", "jsonPath": ".status.reason", "priority": 1},
        {"name": "Trigger", "type": "string", "jsonPath": ".spec.trigger", "priority": 1},
    )
    selectable_fields = (".status.verdict", ".spec.trigger")

    spec: TestRunSpec
    status: TestRunStatus = Field(default_factory=TestRunStatus)
