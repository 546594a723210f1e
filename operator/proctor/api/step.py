"""A step: one part of a run, which becomes one Indexed Job, and where its tests come from."""

import re
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from proctor.api.base import LocalReference, Rule, SpecModel
from proctor.api.names import EVIDENCE_NAME
from proctor.api.pods import Preserved
from proctor.api.scalars import Duration, Name, ObjectName, PositiveDuration, StepKind, StepName, Text

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


Minimum = Annotated[int, Field(ge=1, le=10**9)]


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
        Rule(
            f"!has(self.evidence) || self.evidence.all(name, name.matches('^{EVIDENCE_NAME}$'))",
            "names of evidence are like [a-z][a-z0-9_-]*, with 32 characters at most",
            holds=lambda step: all(re.fullmatch(EVIDENCE_NAME, name) for name in step.evidence),
            field_path=".evidence",
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
    service_account_name: ObjectName | None = None
    """Service account of this step's pods, whose token they then hold. Default: runner.serviceAccountName, without a
    token. `proctor-chaos` is the one with which tests make ChaosExperiments."""
    evidence: dict[str, Minimum] = Field(default_factory=dict, max_length=8)
    """How much the step's tests must have seen together, by name. A test counts with record_property("evidence:NAME",
    number). Below a minimum a step that would be Passed is Inconclusive, with reason InsufficientEvidence."""
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
