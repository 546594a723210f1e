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


Action = CreatePlan | CreateJob | DeleteJob | CreateRun | DeleteRun | AbortRun


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
