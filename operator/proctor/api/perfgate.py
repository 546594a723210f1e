"""PerfGate: a policy that judges load statistics against limits and a noise-aware baseline."""

from datetime import datetime
from typing import ClassVar

from pydantic import Field

from proctor.api.base import Condition, LocalReference, ResourceModel, Rule, SpecModel, StatusModel
from proctor.api.scalars import Direction, MetricSource, Name, Verdict, Window
from proctor.api.step import Load


class Metric(SpecModel):
    """One number and how it is judged. Numbers are integers; the unit is part of the name, as in p95_ms."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.query) == (self.source == 'Prometheus')",
            "query belongs to source Prometheus, and only there",
            holds=lambda metric: (metric.query is not None) == (metric.source is MetricSource.PROMETHEUS),
        ),
        Rule(
            "has(self.limit) || has(self.maxRegressionPercent)",
            "a metric needs limit, maxRegressionPercent or both",
            holds=lambda metric: metric.limit is not None or metric.max_regression_percent is not None,
        ),
    )

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=63)
    """Name with its unit, for example p95_ms or error_permille."""
    source: MetricSource = MetricSource.LOAD
    """Load, Prometheus or Cost."""
    query: str | None = Field(default=None, min_length=1, max_length=4096)
    """PromQL, for source Prometheus."""
    direction: Direction = Direction.LOWER_IS_BETTER
    """LowerIsBetter or HigherIsBetter."""
    limit: int | None = None
    """The worst value that passes."""
    max_regression_percent: int | None = Field(default=None, ge=1, le=1000)
    """How much worse than the baseline passes."""
    min_samples: int = Field(default=100, ge=1, le=10000000)
    """With fewer samples the gate is Inconclusive."""
    confidence: int = Field(default=99, ge=50, le=99)
    """Confidence of the interval, in percent."""


class Baseline(SpecModel):
    """What a regression is measured against."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.lastGreen), has(self.runRef), has(self.configMapRef)].filter(x, x).size() == 1",
            "exactly one of lastGreen, runRef and configMapRef must be set",
            holds=lambda base: [base.last_green, base.run_ref, base.config_map_ref].count(None) == 2,  # of the three
        ),
    )

    last_green: bool | None = None
    """The latest Passed run of the same suite."""
    run_ref: LocalReference | None = None
    """A TestRun."""
    config_map_ref: LocalReference | None = None
    """A ConfigMap with an exported baseline."""


class PerfGateSpec(SpecModel):
    """Which numbers are judged, and against what."""

    metrics: list[Metric] = Field(min_length=1, max_length=16, json_schema_extra={"x-list-key": "name"})
    """The numbers."""
    baseline: Baseline | None = None
    """What a regression is measured against."""
    window: Window = Window.WHOLE
    """Whole, Steady, DuringFault or AfterFault."""
    dry_run: bool = False
    """Report only: the gate does not change the run's verdict."""
    load: Load | None = None
    """With a load, applying the gate makes a TestRun with that one step."""


class GateRun(StatusModel):
    """The latest run that this gate judged."""

    name: Name
    """Name of the TestRun."""
    verdict: Verdict
    """The gate's verdict."""
    time: datetime
    """When it was given."""


class PerfGateStatus(StatusModel):
    """What the operator saw."""

    observed_generation: int = 0
    """The generation of the spec that was looked at."""
    conditions: list[Condition] = Field(default_factory=list, json_schema_extra={"x-list-key": "type"})
    """Accepted."""
    last_run: GateRun | None = None
    """The latest run that this gate judged."""


class PerfGate(ResourceModel):
    """A policy that judges load statistics against limits and a noise-aware baseline."""

    short_name = "pgate"
    printer_columns = (
        {"name": "Window", "type": "string", "jsonPath": ".spec.window"},
        {"name": "Last", "type": "string", "jsonPath": ".status.lastRun.name"},
        {"name": "Verdict", "type": "string", "jsonPath": ".status.lastRun.verdict"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    )

    spec: PerfGateSpec
    status: PerfGateStatus = Field(default_factory=PerfGateStatus)
