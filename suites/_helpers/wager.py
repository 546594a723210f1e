"""A watch over a stream that may be looked at after every event, and stopped at once when it says so."""

from collections.abc import Iterable
from math import log


def alarm(events: Iterable[bool], usual: float, feared: float, alpha: float) -> int | None:
    """The number of events after which it is shown that more than `usual` of them happen; None if it never is.

    An e-process: whoever bets on each event at the odds of `feared` against those of `usual` (0 < usual < feared < 1)
    has, while at most `usual` happen, a fortune that is a supermartingale, so by Ville's inequality (1939) it ever
    grows to 1 / alpha with the probability alpha at most, however long the stream is. That is the rate of false alarms.
    See Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", J. R. Statist. Soc. B 86,
    2024. Raises ValueError for shares that cannot be bet on.
    """
    if not (0 < usual < feared < 1 and 0 < alpha < 1):
        raise ValueError(f"no bet on a share of {feared} against {usual} at {alpha}")
    gain, loss = log(feared / usual), log((1 - feared) / (1 - usual))
    fortune = 0.0
    for number, happened in enumerate(events, 1):
        fortune += gain if happened else loss
        if fortune >= -log(alpha):
            return number
    return None
