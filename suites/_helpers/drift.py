"""Whether two samples are of one distribution, with thresholds that follow from their sizes.

Rules such as "an index above 0.1 is a shift" are right for one size only: the index of two samples of one distribution
is as large as that with 180 values in ten bins.
"""

from bisect import bisect_right
from collections.abc import Sequence
from math import exp, log, sqrt
from statistics import NormalDist, quantiles

TERMS = 100
"""Of a series whose terms fall like exp(-2 k^2 x): far more than a float can tell apart for x of interest."""


def binned(reference: Sequence[float], values: Sequence[float], bins: int) -> list[int]:
    """How many values lie in each of the bins that hold equal shares of the reference."""
    edges = quantiles(reference, n=bins)
    counts = [0] * bins
    for value in values:
        counts[bisect_right(edges, value)] += 1
    return counts


def stability_index(expected: Sequence[int], actual: Sequence[int]) -> float:
    """The population stability index of two histograms of the same bins.

    It is the symmetrized Kullback-Leibler divergence (Jeffreys 1946). Half a case is added to each bin, so that an
    empty one is no infinity. Raises ValueError for histograms of different bins or without cases.
    """
    if len(expected) != len(actual) or not sum(expected) or not sum(actual):
        raise ValueError(f"histograms of {len(expected)} and {len(actual)} bins cannot be compared, or one is empty")
    shares: list[list[float]] = []
    for counts in (expected, actual):
        total = sum(counts) + len(counts) / 2
        shares.append([(count + 0.5) / total for count in counts])
    return sum((b - a) * log(b / a) for a, b in zip(shares[0], shares[1], strict=True))


def noise_floor(bins: int, n: int, m: int, alpha: float) -> float:
    """What the stability index of n and m cases of one distribution exceeds with the probability alpha.

    The index times nm / (n + m) is distributed as chi-squared with bins - 1 degrees of freedom: Yurdakul, "Statistical
    Properties of Population Stability Index", Western Michigan University 2018. The quantile of chi-squared is that of
    Wilson and Hilferty (PNAS 17, 1931), within 2 % of the true one for 5 degrees or more.
    """
    degrees = bins - 1
    step = 2 / (9 * degrees)
    quantile = degrees * (1 - step + NormalDist().inv_cdf(1 - alpha) * sqrt(step)) ** 3
    return quantile * (1 / n + 1 / m)


def kolmogorov_smirnov(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """The largest distance of two samples' distribution functions, and the chance of one so large by chance alone.

    The chance is Kolmogorov's limit with the correction of Stephens (J. R. Statist. Soc. B 32, 1970), good from about
    four values; equal values make it too large, so the test errs towards silence.
    """
    one, two = sorted(first), sorted(second)
    at = sorted({*one, *two})
    distance = max(abs(bisect_right(one, x) / len(one) - bisect_right(two, x) / len(two)) for x in at)
    root = sqrt(len(one) * len(two) / (len(one) + len(two)))
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.2:  # the series does not converge, and its limit is 1 to twelve digits
        return distance, 1.0
    tail = 2 * sum((-1) ** (k - 1) * exp(-2 * (k * scaled) ** 2) for k in range(1, TERMS + 1))
    return distance, min(max(tail, 0.0), 1.0)
