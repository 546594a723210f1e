"""Whose turn it is: the exclusive lock of a target, and the budget of pods.

Claims come from the Jobs that are live and from the steps that wait. Older runs go first, so neither an exclusive step
nor a large one starves behind a stream of small ones.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from proctor.api import names
from proctor.core.observed import Claim


@dataclass(frozen=True)
class Wait:
    """Why a step may not start yet."""

    reason: str
    message: str


def may_start(wanted: Claim, held: Iterable[Claim], awaited: Iterable[Claim], budget: int) -> Wait | None:
    """Return None when `wanted` may start beside the claims that are held, else what it waits for.

    `budget` counts pods of all runs. A step that needs more than the whole budget may start alone.
    """
    held = [claim for claim in held if (claim.run_uid, claim.step) != (wanted.run_uid, wanted.step)]
    rivals = [claim for claim in held if claim.target == wanted.target and (claim.exclusive or wanted.exclusive)]
    if rivals:
        who = "an exclusive step" if rivals[0].exclusive else "another step"
        return Wait(names.WAITING_FOR_TARGET, f"{who} ({rivals[0].step}) is running on this target")
    used = sum(claim.pods for claim in held)
    if used and used + wanted.pods > budget:
        return Wait(names.WAITING_FOR_BUDGET, f"needs {wanted.pods} pods, {used} of {budget} are in use")
    older = [claim for claim in awaited if (claim.since, claim.run_uid) < (wanted.since, wanted.run_uid)]
    for claim in older:
        if claim.target == wanted.target and (claim.exclusive or wanted.exclusive):
            return Wait(names.WAITING_FOR_TARGET, f"an older run waits for this target ({claim.step})")
    if used and older and used + wanted.pods + sum(claim.pods for claim in older) > budget:
        return Wait(names.WAITING_FOR_BUDGET, "an older run waits for pods")
    return None
