"""The fixture `chaos` of the runner, as a suite sees it, and the times in an experiment's status."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

Status = dict[str, Any]


class Experiment(Protocol):
    """A fault that was asked for. Both calls skip the test as inconclusive if it was refused or had no effect."""

    name: str

    def wait(self, condition: str, deadline: float = ...) -> Status:
        """Wait until a condition is True: Injected, Effective, Healed or Recovered."""
        ...

    def finish(self, deadline: float = ...) -> Status:
        """Wait for the verdict, Passed or Failed."""
        ...


class Chaos(Protocol):
    """Makes faults; arguments as in the reference of ChaosExperiment."""

    def inject(
        self,
        fault: str,
        *,
        selector: Mapping[str, str] | None = ...,
        target: tuple[str, str] | None = ...,
        port: int | None = ...,
        duration: str = ...,
        mode: str = ...,
        limits: Mapping[str, Any] | None = ...,
        probes: list[dict[str, Any]] = ...,
    ) -> Experiment:
        """Ask for a fault."""
        ...


def injected_at(status: Status) -> float:
    """When the first target was hit, in seconds of the epoch."""
    return min(_moment(target["injectedAt"]) for target in status["targets"])


def healed_at(status: Status) -> float:
    """When the last target's fault was gone, in seconds of the epoch."""
    return max(_moment(target["healedAt"]) for target in status["targets"])


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
