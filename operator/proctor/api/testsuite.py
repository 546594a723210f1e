"""TestSuite: what to run, against which target, when, with which gates. Edited by people, kept in git."""

from datetime import date, datetime
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, ClassVar, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, field_validator, model_validator

from proctor.api.base import Condition, ResourceModel, Rule, SpecModel, StatusModel
from proctor.api.names import GROUP
from proctor.api.scalars import (
    Concurrency,
    Duration,
    Impact,
    Mode,
    Name,
    ObjectName,
    OnFlaky,
    PositiveDuration,
    StepKind,
    StepName,
    Text,
    Trigger,
    Verdict,
)

Preserved = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]
"""A part of the pod that Kubernetes itself validates: we check it by a strict dry run when the suite is accepted."""

PreservedList = Annotated[
    list[Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]],
    Field(max_length=64),
]


_NO_TESTS_RUN = (
    "--collect-only",
    "--co",
    "--fixtures",
    "--fixtures-per-test",
    "--funcargs",
    "--markers",
    "--setup-plan",
    "--setup-only",
    "--cache-show",
    "--help",
    "-h",
    "--version",
    "-V",
)
_WAITS_FOR_A_PERSON = ("--pdb", "--trace", "--pdbcls")


def _check_args(args: list[str]) -> list[str]:
    """Refuse arguments with which pytest would run no test, wait for a keyboard, or lose the plugin that reports."""
    for index, arg in enumerate(args):
        option = arg.split("=", 1)[0]
        plugin = arg.removeprefix("-p").strip() if arg.startswith("-p") else ""
        if arg == "-p" and index + 1 < len(args):
            plugin = args[index + 1]
        if plugin.startswith("no:proctor"):
            raise ValueError(f"{plugin} switches off the plugin that reports what the tests said")
        if option in _NO_TESTS_RUN:
            raise ValueError(f"{option} makes pytest run no test")
        if option in _WAITS_FOR_A_PERSON:
            raise ValueError(f"{option} waits for a keyboard that a pod does not have")
    return args


class LocalReference(SpecModel):
    """Another object in the same namespace."""

    name: ObjectName
    """Name of the object."""


class LabelSelector(SpecModel):
    """Labels that the chosen objects all carry."""

    match_labels: dict[str, Text] = Field(min_length=1, max_length=16)
    """Every one of these must match."""


class Endpoint(SpecModel):
    """An address of the target. Tests read it as PROCTOR_ENDPOINT_<NAME>."""

    name: Name
    """Name of the endpoint, for example "gateway"."""
    url: str = Field(min_length=1, max_length=2048, pattern=r"^[a-z][a-z0-9+.-]*://[^\s/]+")
    """Where it listens, for example "http://gateway.bazaar:8080" or "nats://nats.bazaar:4222"."""


class Target(SpecModel):
    """The system under test."""

    name: Name
    """Name of the target. Runs on one target share its exclusive lock."""
    namespace: Name | None = None
    """Where the target lives. Default: the suite's namespace."""
    selector: LabelSelector | None = None
    """Chooses the target's Deployments, StatefulSets and DaemonSets. Their images are recorded before and after a
    run, and a difference makes it Inconclusive. Without a selector nothing is recorded."""
    endpoints: list[Endpoint] = Field(default_factory=list, max_length=32, json_schema_extra={"x-list-key": "name"})
    """Addresses that the tests use. Each must accept a TCP connection before the first test."""
    baseline_endpoints: list[Endpoint] = Field(
        default_factory=list, max_length=32, json_schema_extra={"x-list-key": "name"}
    )
    """Addresses of a second arm, for paired performance gates."""
    secret_ref: LocalReference | None = None
    """A Secret in the suite's namespace. Tests read its keys as PROCTOR_TARGET_<KEY>."""


class PodTemplate(SpecModel):
    """What is added to the runner's pods."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"!has(self.labels) || self.labels.all(k, !k.startsWith('{GROUP}/'))",
            f"{GROUP}/ labels are reserved for the operator",
            holds=lambda template: not any(key.startswith(f"{GROUP}/") for key in template.labels),
            field_path=".labels",
        ),
        Rule(
            f"!has(self.annotations) || self.annotations.all(k, !k.startsWith('{GROUP}/'))",
            f"{GROUP}/ annotations are reserved for the operator",
            holds=lambda template: not any(key.startswith(f"{GROUP}/") for key in template.annotations),
            field_path=".annotations",
        ),
    )

    labels: dict[str, Text] = Field(default_factory=dict, max_length=32)
    """Labels for the pods; proctor.dev/ labels are reserved."""
    annotations: dict[str, Text] = Field(default_factory=dict, max_length=32)
    """Annotations for the pods; proctor.dev/ annotations are reserved."""
    volumes: PreservedList = Field(default_factory=list)
    """Volumes, as in a pod."""
    volume_mounts: PreservedList = Field(default_factory=list)
    """Mounts in the runner's container, as in a pod."""


class Runner(SpecModel):
    """The pods that run the tests."""

    image: str | None = Field(default=None, min_length=1, max_length=512)
    """Any image with Python 3.10 or newer and pytest. Default: the operator's own runner image."""
    resources: Preserved = Field(default_factory=dict)
    """Requests and limits of the runner's container."""
    env: PreservedList = Field(default_factory=list)
    """Environment variables, as in a pod."""
    env_from: PreservedList = Field(default_factory=list)
    """Environment from ConfigMaps and Secrets, as in a pod."""
    node_selector: dict[str, Text] = Field(default_factory=dict, max_length=16)
    """Labels of the nodes that may run the pods."""
    tolerations: PreservedList = Field(default_factory=list)
    """Taints that the pods tolerate."""
    affinity: Preserved = Field(default_factory=dict)
    """Affinity of the pods."""
    service_account_name: ObjectName | None = None
    """Service account of the pods. Its token is not mounted. Default: "default"."""
    image_pull_secrets: list[LocalReference] = Field(default_factory=list, max_length=8)
    """Secrets for pulling the image."""
    pod_template: PodTemplate | None = None
    """Further labels, annotations and volumes of the pods."""


class GitSource(SpecModel):
    """Tests from a git repository. The ref is resolved to a commit once a run, before its first pod."""

    url: str = Field(min_length=1, max_length=2048, pattern=r"^(https?|ssh|git)://[^\s]+$")
    """Address of the repository."""
    ref: str = Field(default="HEAD", min_length=1, max_length=256, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")
    """Branch, tag or commit."""
    path: str = Field(default=".", max_length=512)
    """Folder in the repository that becomes the source's root."""
    secret_ref: LocalReference | None = None
    """A Secret with `username` and `password`, or `ssh-privatekey` and `known_hosts`."""


class Source(SpecModel):
    """Where a step's tests come from. With neither member: from the runner's image."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(has(self.configMapRef) && has(self.git))",
            "at most one of configMapRef and git may be set",
            holds=lambda source: source.config_map_ref is None or source.git is None,
        ),
    )

    config_map_ref: LocalReference | None = None
    """A ConfigMap with flat files, or with one key `suite.tgz` in binaryData."""
    git: GitSource | None = None
    """A git repository."""


class Retry(SpecModel):
    """Reruns of a failing test inside its pod. Every attempt is recorded; fail-then-pass is flaky, never passed."""

    attempts: int = Field(default=1, ge=1, le=10)
    """Attempts at most, the first included."""
    backoff: Duration = "1s"
    """Pause before the second attempt."""
    factor: int = Field(default=2, ge=1, le=10)
    """What each further pause is multiplied by."""
    max_backoff: Duration = "30s"
    """The longest pause."""


class StepChaos(SpecModel):
    """A fault during the step: each run makes its own ChaosExperiment from it."""

    template: Preserved
    """Spec of the ChaosExperiment."""
    at: Duration = "0s"
    """When to inject, from the start of the step."""


class Load(SpecModel):
    """A load profile for a step of kind Locust."""

    users: int = Field(ge=1, le=100000)
    """Concurrent users at the peak."""
    spawn_rate: int = Field(default=1, ge=1, le=10000)
    """Users started each second."""
    duration: PositiveDuration = "60s"
    """How long the load lasts."""
    workers: int = Field(default=1, ge=1, le=64)
    """Pods that generate load."""
    profile: str | None = Field(default=None, max_length=64)
    """Name of a load shape in the suite."""


class Step(SpecModel):
    """One part of a run: one suite folder or one load profile. It becomes one Indexed Job."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.load) == (self.kind == 'Locust')",
            "load belongs to kind Locust, and only there",
            holds=lambda step: (step.load is not None) == (step.kind is StepKind.LOCUST),
        ),
    )

    name: StepName
    """Name of the step, unique in the suite."""
    kind: StepKind = StepKind.PYTEST
    """Pytest or Locust."""
    source: Source = Field(default_factory=Source)
    """Where the tests come from. Default: the runner's image."""
    path: str = Field(default=".", max_length=512)
    """What to run, relative to the source's root: a folder, a file or a node id."""
    args: Annotated[list[Text], AfterValidator(_check_args)] = Field(default_factory=list, max_length=64)
    """Further arguments for pytest, one per item. Arguments with which no test would run or be reported are refused."""
    shards: int = Field(default=1, ge=1, le=64)
    """Pods that share the tests of this step."""
    start_timeout: PositiveDuration = "5m"
    """How long pods may take to start (image pull, scheduling, quota)."""
    timeout: PositiveDuration = "30m"
    """How long the tests of a pod may take. The test that hangs is failed by name."""
    retry: Retry = Field(default_factory=Retry)
    """Reruns of failing tests."""
    exclusive: bool = False
    """Run alone on the target: no other step of any run and no ChaosExperiment at the same time."""
    after: list[StepName] = Field(default_factory=list, max_length=32)
    """Steps that must pass first; if one does not, this step is Skipped and the run cannot pass."""
    chaos: list[StepChaos] = Field(default_factory=list, max_length=8)
    """Faults during the step."""
    gates: list[Name] = Field(default_factory=list, max_length=16)
    """PerfGates in the same namespace that judge this step."""
    load: Load | None = None
    """The load, for kind Locust."""


class Quarantined(SpecModel):
    """A test whose failures do not count. It still runs and is reported apart."""

    test: str = Field(min_length=1, max_length=1024)
    """Node id of the test, relative to the step's source root."""
    reason: str = Field(min_length=1, max_length=512)
    """Why it is here."""
    owner: str = Field(min_length=1, max_length=128)
    """Who will fix it."""
    expires: str = Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")
    """Last day of the quarantine, for example 2027-01-31; afterwards failures count again."""

    @field_validator("expires")
    @classmethod
    def _is_a_day(cls, expires: str) -> str:
        date.fromisoformat(expires)
        return expires


class Keep(SpecModel):
    """How many finished runs that the operator made are kept."""

    passed: int = Field(default=10, ge=0, le=1000)
    """Passed runs."""
    failed: int = Field(default=20, ge=0, le=1000)
    """All other finished runs."""


class TimeToLive(SpecModel):
    """How long finished runs that the operator made are kept."""

    passed: Duration | None = None
    """Passed runs."""
    failed: Duration | None = None
    """All other finished runs."""


class RunPolicy(SpecModel):
    """When the operator starts runs by itself, and how long it keeps them."""

    triggers: list[Trigger] = Field(default_factory=lambda: [Trigger.SPEC_CHANGE], max_length=2)
    """SpecChange: the suite was created or edited. TargetChange: a rollout of the target is complete."""
    schedule: str | None = Field(default=None, min_length=9, max_length=100)
    """Cron expression with five fields, for example "0 3 * * 1-5"."""
    time_zone: str = Field(default="UTC", max_length=64)
    """IANA time zone of the schedule, for example Europe/Zurich."""
    concurrency: Concurrency = Concurrency.FORBID
    """Forbid: wait for the live run. Replace: abort it. Allow: run beside it."""
    keep: Keep = Field(default_factory=Keep)
    """How many finished runs to keep."""
    ttl: TimeToLive = Field(default_factory=TimeToLive)
    """How long to keep finished runs."""

    @field_validator("time_zone")
    @classmethod
    def _is_a_time_zone(cls, time_zone: str) -> str:
        try:
            ZoneInfo(time_zone)
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(f"{time_zone!r} is not an IANA time zone such as Europe/Zurich") from error
        return time_zone


class TestSuiteSpec(SpecModel):
    """What to run, against which target, when."""

    __test__ = False

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.steps.all(s, !has(s.after) || s.after.all(a, self.steps.exists(t, t.name == a && t.name != s.name)))",
            "after must name other steps of this suite",
            holds=lambda suite: all(
                set(step.after) <= {other.name for other in suite.steps} - {step.name} for step in suite.steps
            ),
            field_path=".steps",
        ),
    )

    target: Target
    """The system under test."""
    mode: Mode = Mode.MOCK
    """MOCK, GOLDEN or LIVE_SMOKE; tests read it as TEST_MODE."""
    runner: Runner = Field(default_factory=Runner)
    """The pods that run the tests."""
    parallelism: int = Field(default=8, ge=1, le=256)
    """Pods of one run at the same time."""
    steps: list[Step] = Field(min_length=1, max_length=32, json_schema_extra={"x-list-key": "name"})
    """What to run. Steps without `after` start together."""
    quarantine: list[Quarantined] = Field(
        default_factory=list, max_length=200, json_schema_extra={"x-list-key": "test"}
    )
    """Tests whose failures do not count, each with an owner and a last day."""
    on_flaky: OnFlaky = OnFlaky.PASS
    """Whether a flaky test lets the run pass (with reason PassedWithFlakes) or fails it."""
    impact: Impact = Impact.DISABLED
    """Whether the impact map selects tests."""
    run: RunPolicy = Field(default_factory=RunPolicy)
    """When runs start by themselves, and how long they are kept."""
    suspend: bool = False
    """Start no runs. Live runs go on."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        try:
            TopologicalSorter({step.name: step.after for step in self.steps}).prepare()
        except CycleError as error:
            raise ValueError(f".steps: after goes in a circle: {' -> '.join(error.args[1])}") from error
        return self


class LastRun(StatusModel):
    """The latest finished run."""

    name: str
    """Name of the TestRun."""
    verdict: Verdict
    """Its verdict."""
    time: datetime
    """When it ended."""


class TestSuiteStatus(StatusModel):
    """What the operator saw."""

    __test__ = False

    observed_generation: int = 0
    """The generation of the spec that was looked at."""
    conditions: list[Condition] = Field(default_factory=list, json_schema_extra={"x-list-key": "type"})
    """Accepted."""
    active: list[str] = Field(default_factory=list)
    """Names of the live runs."""
    last_run: LastRun | None = None
    """The latest finished run."""
    next_schedule_time: datetime | None = None
    """When the schedule is next due."""
    last_schedule_time: datetime | None = None
    """The schedule's latest time for which a run was made."""
    handled_digest: str = ""
    """Digest of what was last run: target, steps and runner, without `run` and `suspend`."""
    target_fingerprint: str = ""
    """What the target looked like when it was last at rest."""


class TestSuite(ResourceModel):
    """What to run, against which target, when, with which gates."""

    __test__ = False

    short_name = "psuite"
    printer_columns = (
        {"name": "Suspend", "type": "boolean", "jsonPath": ".spec.suspend"},
        {"name": "Active", "type": "string", "jsonPath": ".status.active[*]"},
        {"name": "Last", "type": "string", "jsonPath": ".status.lastRun.name"},
        {"name": "Verdict", "type": "string", "jsonPath": ".status.lastRun.verdict"},
        {"name": "Next", "type": "string", "jsonPath": ".status.nextScheduleTime"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    )
    selectable_fields = (".spec.target.name",)

    spec: TestSuiteSpec
    status: TestSuiteStatus = Field(default_factory=TestSuiteStatus)
