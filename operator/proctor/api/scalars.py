"""Scalars that mean the same to the API server, to Python and to a reader: durations, names, CamelCase enums.

Durations are strings such as "90s" because floats are not allowed in a spec and pydantic's own timedelta would
accept ISO 8601 only, which no Kubernetes user writes.
"""

import re
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

DURATION_PATTERN = r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"
_DURATION = re.compile(r"^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$")
MAX_DURATION_SECONDS = 366 * 24 * 3600


def seconds(duration: str) -> int:
    """Return a Duration in seconds.

    Raises ValueError for anything that DURATION_PATTERN does not describe, the empty string included.
    """
    match = _DURATION.match(duration)
    if not duration or match is None:
        raise ValueError(f"{duration!r} is not a duration such as 90s, 5m or 1h30m")
    hours, minutes, secs = (int(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + secs


def _bounded(duration: str) -> str:
    if seconds(duration) > MAX_DURATION_SECONDS:
        raise ValueError(f"{duration} is longer than {MAX_DURATION_SECONDS // 3600}h")
    return duration


def _positive(duration: str) -> str:
    if seconds(duration) == 0:
        raise ValueError(f"{duration} is no time at all: give at least 1s")
    return duration


Duration = Annotated[str, Field(pattern=DURATION_PATTERN, min_length=2, max_length=16), AfterValidator(_bounded)]
"""Hours, minutes and seconds in that order, a year at most: "90s", "5m", "1h30m"."""

PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
"""A Duration of one second or more."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]
"""A DNS label (RFC 1123)."""

StepName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=40)]
"""A DNS label short enough to be a part of the names of a step's children."""

ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$", min_length=1, max_length=253)]
"""A DNS subdomain (RFC 1123), as object names are."""

Text = Annotated[str, Field(max_length=1024)]
"""A value of a label, annotation or argument. The bound lets the API server estimate what a rule over it costs."""


class Verdict(StrEnum):
    """How a run ended, worst first: the order of the members is the order of `worst`."""

    FAILED = "Failed"
    ERROR = "Error"
    INCONCLUSIVE = "Inconclusive"
    PASSED = "Passed"


class Mode(StrEnum):
    """Where the platform's model answers come from."""

    MOCK = "MOCK"
    GOLDEN = "GOLDEN"
    LIVE_SMOKE = "LIVE_SMOKE"


class StepKind(StrEnum):
    """What a step runs."""

    PYTEST = "Pytest"
    LOCUST = "Locust"


class Trigger(StrEnum):
    """What makes the operator start a run of a suite by itself."""

    SPEC_CHANGE = "SpecChange"
    TARGET_CHANGE = "TargetChange"


class Concurrency(StrEnum):
    """What happens when a run is due while another of the suite is live."""

    FORBID = "Forbid"
    REPLACE = "Replace"
    ALLOW = "Allow"


class OnFlaky(StrEnum):
    """What a flaky test does to the verdict."""

    PASS = "Pass"
    FAIL = "Fail"


class Impact(StrEnum):
    """Whether the impact map selects tests."""

    DISABLED = "Disabled"
    REPORT = "Report"
    SELECT = "Select"


class StepState(StrEnum):
    """Where a step is."""

    WAITING = "Waiting"
    RUNNING = "Running"
    FINISHED = "Finished"
    SKIPPED = "Skipped"


class Fault(StrEnum):
    """The five faults of a ChaosExperiment."""

    POD_KILL = "PodKill"
    PROCESS_KILL = "ProcessKill"
    NETWORK_CUT = "NetworkCut"
    OUTAGE = "Outage"
    PAUSE = "Pause"


class Driver(StrEnum):
    """Who injects a fault."""

    BUILTIN = "Builtin"
    CHAOS_MESH = "ChaosMesh"


class TargetMode(StrEnum):
    """How many of the matching pods a fault takes."""

    ONE = "One"
    ALL = "All"
    FIXED = "Fixed"
    PERCENT = "Percent"


class Direction(StrEnum):
    """Which way a metric is good."""

    LOWER_IS_BETTER = "LowerIsBetter"
    HIGHER_IS_BETTER = "HigherIsBetter"


class MetricSource(StrEnum):
    """Where a gate's metric is read."""

    LOAD = "Load"
    PROMETHEUS = "Prometheus"
    COST = "Cost"


class Window(StrEnum):
    """Which part of the load a gate judges."""

    WHOLE = "Whole"
    STEADY = "Steady"
    DURING_FAULT = "DuringFault"
    AFTER_FAULT = "AfterFault"
