"""Scales a workload to zero for a while. The pod of this agent runs before, and stays until the scale is back.

The agent may be killed and started again at any point, so it notes before it acts that it does: found later, the note
or a scale of zero means that an outage was interrupted, and all that is left to do is to end it.
"""

import time
from pathlib import Path

from proctor.api import names
from proctor.runner.api_server import ApiError
from proctor.runner.chaos.account import Account, Refused, now, wait
from proctor.runner.chaos.scale import Scale
from proctor.runner.output import say

NOTE = "/tmp/injected"  # noqa: S108 - the pod has a /tmp of its own, an emptyDir, which outlives its containers
_PAUSE = 0.5
_MOST_TRIES = 7200
_LONGEST = 3600.0
_TIMEOUT = 10.0


def outage(account: Account, scale: Scale, replicas: int, seconds: float, note: Path) -> None:
    """Scale from `replicas` to zero, and back after `seconds` or when told to stop. Raises Refused."""
    try:
        interrupted = note.exists() or scale.read(_TIMEOUT).replicas == 0
        if interrupted:
            account.tell(interrupted=True)
        else:
            _inject(account, scale, replicas, seconds, note)
    except ApiError as error:
        raise Refused(names.SCALE_REFUSED, f"nothing was done: {error}") from error
    if not interrupted:
        wait(seconds)
    restore(account, scale, replicas)


def restore(account: Account, scale: Scale, replicas: int) -> None:
    """Set a scale of zero back to `replicas`; one that is not zero was set by another and is left as it is.

    Tries for an hour while the API server is away. Raises Refused when that was not enough or the workload is gone.
    """
    began, problem = time.monotonic(), ""
    for attempt in range(_MOST_TRIES):
        # An API server that is gone is noticed soon, and one that is only slow is waited for.
        timeout = min(1 + attempt / 4, _TIMEOUT)
        try:
            seen = scale.read(timeout)
            if seen.replicas == 0:
                scale.write(replicas, seen.version, timeout)
            account.tell(healed_at=now(), replicas=seen.replicas or replicas)
            return
        except ApiError as error:
            if error.status == 404:
                raise Refused(names.TARGET_GONE, f"there is nothing left to restore: {error}") from error
            if str(error) != problem:
                problem = str(error)
                say(f"not restored yet: {problem}")
        if time.monotonic() - began > _LONGEST:
            break
        time.sleep(_PAUSE)
    raise Refused(names.NOT_HEALED, f"given up after {time.monotonic() - began:.0f} s: {problem}")


def _inject(account: Account, scale: Scale, replicas: int, seconds: float, note: Path) -> None:
    seen = scale.read(_TIMEOUT)
    if seen.replicas != replicas:
        raise Refused(names.SCALE_CHANGED, f"the scale is {seen.replicas}, not {replicas} as planned")
    account.in_time()
    try:
        note.touch()
    except OSError as error:
        raise Refused(names.NOT_PERMITTED, f"nothing was done: {note} must outlive this container: {error}") from error
    account.injecting(deadline=now() + round(seconds * 1000))
    try:
        scale.write(0, seen.version, _TIMEOUT)
    except ApiError as error:
        if 400 <= error.status < 500:
            note.unlink()
            account.tell(injected_at=None, deadline=None)
            reason = names.SCALE_CHANGED if error.status == 409 else names.SCALE_REFUSED
            raise Refused(reason, f"nothing was done: {error}") from error
        say(f"whether the scale is zero is not known, so it is taken for zero: {error}")
