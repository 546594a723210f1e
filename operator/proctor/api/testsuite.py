"""TestSuite: what to run, against which target, when, with which gates. Edited by people, kept in git."""

from datetime import date, datetime
from graphlib import CycleError, TopologicalSorter
from typing import ClassVar, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from proctor.api.base import Condition, LabelSelector, LocalReference, ResourceModel, Rule, SpecModel, StatusModel
from proctor.api.pods import Runner
from proctor.api.scalars import Concurrency, Duration, Impact, Mode, Name, OnFlaky, Trigger, Verdict
from proctor.api.step import Step


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
