"""What a decision may ask for: a closed set of actions, the new status, what to tell, when to look again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from proctor.api.base import StatusModel
from proctor.core.observed import Question

Manifest = Mapping[str, Any]
S = TypeVar("S", bound=StatusModel)


@dataclass(frozen=True)
class CreatePlan:
    """Store the run's plan. If one of this run exists already, that one counts and the pass starts over."""

    manifest: Manifest


@dataclass(frozen=True)
class CreateJob:
    """Create a Job, never re-apply it. AlreadyExists counts as done only if it belongs to the same run."""

    manifest: Manifest


@dataclass(frozen=True)
class DeleteJob:
    """Delete a Job with its pods, only if it still has this uid."""

    name: str
    uid: str


@dataclass(frozen=True)
class CreateRun:
    """Create a TestRun of a suite."""

    manifest: Manifest


@dataclass(frozen=True)
class DeleteRun:
    """Delete a finished TestRun that the operator made, only if it still has this uid."""

    name: str
    uid: str


@dataclass(frozen=True)
class AbortRun:
    """Set abort on a live TestRun."""

    name: str


@dataclass(frozen=True)
class CreateExperiment:
    """Create a ChaosExperiment of a run's step. AlreadyExists counts as done."""

    manifest: Manifest


@dataclass(frozen=True)
class AbortExperiment:
    """Set abort on a live ChaosExperiment."""

    namespace: str
    name: str


@dataclass(frozen=True)
class CreatePod:
    """Create a pod of an experiment. AlreadyExists counts as done only if it belongs to the same experiment."""

    manifest: Manifest


@dataclass(frozen=True)
class DeletePod:
    """Delete a pod of an experiment with its grace period, only if it still has this uid."""

    name: str
    uid: str


@dataclass(frozen=True)
class AddAgent:
    """Add an ephemeral container to a target pod, only if that still has this uid. The same name twice is once."""

    pod: str
    uid: str
    container: Manifest


@dataclass(frozen=True)
class KillPod:
    """Evict a target pod (PodDisruptionBudgets are asked) or delete it, only if it still has this uid."""

    name: str
    uid: str
    evict: bool
    grace: int = 1
    """Seconds. Never 0: the object would vanish while the process lives on."""


@dataclass(frozen=True)
class CreateMeshFault:
    """Create an object of Chaos Mesh. AlreadyExists counts as done only if it belongs to the same experiment."""

    manifest: Manifest


@dataclass(frozen=True)
class DeleteMeshFault:
    """Delete an object of Chaos Mesh, which heals."""

    kind: str
    name: str


@dataclass(frozen=True)
class SetFinalizer:
    """Put our finalizer on the experiment, or take it away."""

    present: bool


ChaosAction = CreatePod | DeletePod | AddAgent | KillPod | CreateMeshFault | DeleteMeshFault | SetFinalizer
Action = (
    CreatePlan
    | CreateJob
    | DeleteJob
    | CreateRun
    | DeleteRun
    | AbortRun
    | CreateExperiment
    | AbortExperiment
    | ChaosAction
)


@dataclass(frozen=True)
class Event:
    """A Kubernetes Event about the object; `warning` chooses its type."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class Decision(Generic[S]):
    """The outcome of one pass. With `questions`, nothing else counts: answer them and decide again."""

    status: S
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    look_again: datetime | None = None
    questions: frozenset[Question] = frozenset()
