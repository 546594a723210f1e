"""ChaosExperiment: one bounded fault on named targets, one-shot, proven to have had effect, always healed."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from proctor.api.base import Condition, LabelSelector, ResourceModel, Rule, SpecModel, StatusModel
from proctor.api.scalars import Driver, Fault, Name, ObjectName, PositiveDuration, TargetMode, Text, Verdict


class WorkloadReference(SpecModel):
    """A workload in the experiment's namespace."""

    kind: Literal["Deployment", "StatefulSet", "DaemonSet", "Pod"]
    """Deployment, StatefulSet, DaemonSet or Pod."""
    name: ObjectName
    """Name of the workload."""


class Limits(SpecModel):
    """How much may be hit at most; more is refused before anything happens."""

    max_percent: int = Field(default=50, ge=1, le=100)
    """Of the matching pods, in percent."""
    max_count: int = Field(default=1, ge=1, le=100)
    """Pods."""
    respect_pdb: bool = Field(default=True, alias="respectPDB")
    """Kill by Eviction, so that PodDisruptionBudgets are asked."""


class HttpProbe(SpecModel):
    """A GET that must answer 2xx."""

    url: str = Field(min_length=1, max_length=2048, pattern=r"^https?://")
    """Address."""


class AddressProbe(SpecModel):
    """A connection that must be accepted and stay open."""

    address: str = Field(min_length=3, max_length=256, pattern=r"^[^\s:]+:[0-9]+$")
    """Host and port."""


class PrometheusProbe(SpecModel):
    """A query that must return a value above zero."""

    url: str = Field(min_length=1, max_length=2048, pattern=r"^https?://")
    """Address of Prometheus."""
    query: str = Field(min_length=1, max_length=4096)
    """PromQL."""


class Probe(SpecModel):
    """Exactly one way to see that the target is well."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.http), has(self.nats), has(self.tcp), has(self.prometheus), has(self.argv)]"
            ".filter(x, x).size() == 1",
            "exactly one of http, nats, tcp, prometheus and argv must be set",
            holds=lambda probe: (
                [probe.http, probe.nats, probe.tcp, probe.prometheus, probe.argv].count(None) == 4  # of the five
            ),
        ),
    )

    name: Name
    """Name of the probe."""
    http: HttpProbe | None = None
    """A GET that must answer 2xx."""
    nats: AddressProbe | None = None
    """A NATS server that must acknowledge."""
    tcp: AddressProbe | None = None
    """A port that must accept connections."""
    prometheus: PrometheusProbe | None = None
    """A query that must return a value above zero."""
    argv: list[Text] | None = Field(default=None, min_length=1, max_length=32)
    """A command that must exit 0; no shell."""


class SteadyState(SpecModel):
    """What must hold before, and again after, the fault."""

    probes: list[Probe] = Field(min_length=1, max_length=8, json_schema_extra={"x-list-key": "name"})
    """All must hold."""


class ChaosExperimentSpec(SpecModel):
    """One fault, injected once."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.selector) != has(self.targetRef)",
            "exactly one of selector and targetRef must be set",
            holds=lambda spec: (spec.selector is None) != (spec.target_ref is None),
        ),
        Rule(
            "has(self.port) == (self.fault == 'NetworkCut')",
            "port belongs to fault NetworkCut, and only there",
            holds=lambda spec: (spec.port is not None) == (spec.fault is Fault.NETWORK_CUT),
        ),
        Rule(
            "has(self.value) == (self.mode in ['Fixed', 'Percent'])",
            "value belongs to modes Fixed and Percent, and only there",
            holds=lambda spec: (spec.value is not None) == (spec.mode in (TargetMode.FIXED, TargetMode.PERCENT)),
        ),
        Rule("!has(oldSelf.abort) || !oldSelf.abort || (has(self.abort) && self.abort)", "abort cannot be taken back"),
    )
    mutable_fields: ClassVar[tuple[str, ...]] = ("abort",)

    selector: LabelSelector | None = None
    """Pods of this namespace."""
    target_ref: WorkloadReference | None = None
    """A workload of this namespace."""
    fault: Fault
    """PodKill, ProcessKill, NetworkCut, Outage or Pause."""
    port: int | None = Field(default=None, ge=1, le=65535)
    """The port that NetworkCut cuts."""
    driver: Driver = Driver.BUILTIN
    """Builtin or ChaosMesh."""
    mode: TargetMode = TargetMode.ONE
    """One, All, Fixed or Percent of the matching pods."""
    value: int | None = Field(default=None, ge=1, le=100)
    """For Fixed a count, for Percent a percentage."""
    seed: int | None = Field(default=None, ge=0, le=2147483647)
    """Seed of the choice among pods."""
    duration: PositiveDuration = "10s"
    """How long the fault lasts."""
    limits: Limits = Field(default_factory=Limits)
    """How much may be hit at most."""
    steady_state: SteadyState | None = None
    """What must hold before and after."""
    recovery_timeout: PositiveDuration = "60s"
    """How soon after the heal the target must be well again. Later is Failed."""
    abort: bool = False
    """Heal now. One-way."""


class ChaosTarget(StatusModel):
    """A pod that was hit."""

    pod: str
    """Name of the pod."""
    uid: str
    """Uid of the pod."""
    injected_at: datetime | None = None
    """When the fault began."""
    healed_at: datetime | None = None
    """When its cause was gone."""
    recovered_at: datetime | None = None
    """When the target was well again."""


class ChaosExperimentStatus(StatusModel):
    """What was seen of the fault."""

    observed_generation: int = 0
    """The generation of the spec that was looked at."""
    conditions: list[Condition] = Field(default_factory=list, json_schema_extra={"x-list-key": "type"})
    """Accepted, Injected, Effective, Healed, Recovered, SteadyStateHeld."""
    matched: int = 0
    """Ready pods that matched when the targets were chosen: as many must be Ready again."""
    replicas: int = 0
    """For Outage: the replicas to go back to."""
    targets: list[ChaosTarget] = Field(default_factory=list)
    """The pods that were hit."""
    recovery_seconds: int | None = None
    """From the heal to the target being well."""
    verdict: Verdict | None = None
    """Failed, Error, Inconclusive or Passed."""
    reason: str = ""
    """Why, as one word."""
    message: str = ""
    """Why, as a sentence."""


class ChaosExperiment(ResourceModel):
    """One bounded fault on named targets: one-shot, proven to have had effect, always healed."""

    short_name = "pchaos"
    printer_columns = (
        {"name": "Fault", "type": "string", "jsonPath": ".spec.fault"},
        {"name": "Verdict", "type": "string", "jsonPath": ".status.verdict"},
        {"name": "Effective", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Effective")].status'},
        {"name": "Healed", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Healed")].status'},
        {"name": "Recovery", "type": "integer", "jsonPath": ".status.recoverySeconds"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    )
    selectable_fields = (".spec.fault",)

    spec: ChaosExperimentSpec
    status: ChaosExperimentStatus = Field(default_factory=ChaosExperimentStatus)
