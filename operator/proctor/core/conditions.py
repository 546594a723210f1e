"""Conditions keep the time of their last change, as the Kubernetes API conventions ask."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from proctor.api.base import Condition

MAX_MESSAGE = 1000

Truth = Literal["True", "False", "Unknown"]


def put(
    conditions: Sequence[Condition],
    kind: str,
    status: Truth,
    reason: str,
    message: str,
    *,
    now: datetime,
    generation: int,
) -> list[Condition]:
    """Return `conditions` with one of them set, in place or at the end."""
    before = get(conditions, kind)
    since = before.last_transition_time if before is not None and before.status == status else now
    text = message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 3] + "..."
    condition = Condition(
        type=kind,
        status=status,
        reason=reason,
        message=text,
        last_transition_time=since,
        observed_generation=generation,
    )
    if before is None:
        return [*conditions, condition]
    return [condition if old.type == kind else old for old in conditions]


def get(conditions: Sequence[Condition], kind: str) -> Condition | None:
    """Return the condition of that type, if there is one."""
    return next((condition for condition in conditions if condition.type == kind), None)
