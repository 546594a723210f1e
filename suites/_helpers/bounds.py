"""How sure a share is that was seen in a few cases."""

from math import exp, lgamma, log, log1p

STEPS = 60
"""Halvings of the interval [0, 1]: more than a float can tell apart."""


def at_least(share: float, right: int, n: int) -> float:
    """Probability of `right` or more successes in `n` trials, each with the chance `share` (0 < share < 1)."""
    counts = range(right, n + 1)
    return sum(
        exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(share) + (n - k) * log1p(-share))
        for k in counts
    )


def lower_bound(right: int, n: int, confidence: float) -> float:
    """The exact one-sided lower bound of a share of which `right` of `n` were seen.

    It is the share at which so many or more would be seen with the probability 1 - confidence only, after Clopper and
    Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial", Biometrika 26 (1934).
    Raises ValueError unless 0 <= right <= n, n > 0 and 0 < confidence < 1.
    """
    if not (0 <= right <= n and n > 0 and 0 < confidence < 1):
        raise ValueError(f"{right} of {n} at a confidence of {confidence} is no share")
    if right == 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        if at_least(middle, right, n) > 1 - confidence:
            high = middle
        else:
            low = middle
    return low


def upper_bound(wrong: int, n: int, confidence: float) -> float:
    """The exact one-sided upper bound of a share, as `lower_bound` is the lower one; raises ValueError as it does."""
    return 1 - lower_bound(n - wrong, n, confidence)
