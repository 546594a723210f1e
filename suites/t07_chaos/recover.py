"""How soon a platform works at its rate of before, with customers who go on meanwhile."""

import time

from _helpers.checkers import WINDOWS, recovery
from _helpers.properties import Property, check
from t07_chaos.load import Load

WARM_SECONDS, WINDOW_SECONDS, RECOVERY_SECONDS = 2.0, 5.0, 30.0
SHARE = 0.95


def warmed(load: Load, tasks: int) -> None:
    """Wait until so many tasks are accepted, and for a window in which the rate of before can be seen."""
    seconds = WARM_SECONDS + WINDOW_SECONDS
    for _ in load.looks(30 + seconds + tasks / load.rate):
        if len(load.seen) >= tasks and time.time() >= load.started_at + seconds:
            return
    check(False, Property.ACCEPTED_THEN_LOST, f"{len(load.seen)} messages accepted, expected {tasks}")


def recovered_rate(load: Load, disturbed_at: float, healed_at: float) -> None:
    """Wait until whole windows after the heal have SHARE of the ends that there were before.

    Fails as `recovery` if they do not begin within RECOVERY_SECONDS. A kill heals at once.
    """
    begin = load.started_at + WARM_SECONDS
    before = sum(begin <= end < disturbed_at for end in load.ends())
    rate = SHARE * before / max(disturbed_at - begin, 1.0)
    check(before > 0, Property.RECOVERY, "nothing came to an end before the fault, so there is no rate")
    found = None
    for _ in load.looks(healed_at - time.time() + RECOVERY_SECONDS + WINDOWS * WINDOW_SECONDS):
        found = recovery(load.ends(), healed_at, time.time(), rate, WINDOW_SECONDS)
        if found is not None:
            break
    seen = f"{found} s until {rate:.1f}/s ended again, {SHARE:.0%} of before; expected {RECOVERY_SECONDS:.0f} s at most"
    check(found is not None and found <= RECOVERY_SECONDS, Property.RECOVERY, seen)
