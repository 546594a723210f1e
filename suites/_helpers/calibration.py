"""Whether probabilities are the shares of decisions that are right."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import ceil

BINS = 15


def calibration_error(decisions: Iterable[tuple[float, bool]]) -> float:
    """The expected calibration error of decisions, each the probability (0 to 1) of what was chosen, and whether right.

    Of 15 bins of equal width, the mean gap between a bin's probabilities and its share of right ones: Guo, Pleiss, Sun
    and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, equation 3. It is biased upwards: that of
    perfect probabilities is about 0.02 with 500 decisions and 0.007 with 4,500. Raises ValueError without decisions.
    """
    gaps: dict[int, float] = defaultdict(float)
    count = 0
    for probability, right in decisions:
        gaps[ceil(probability * BINS)] += probability - right
        count += 1
    if not count:
        raise ValueError("no decisions: they have no calibration error")
    return sum(map(abs, gaps.values())) / count


def untempered(probabilities: Mapping[str, float], temperature: float) -> dict[str, float]:
    """What a softmax would give without its temperature, from what it gives with it (Guo et al. 2017, equation 9).

    softmax(z / T) to the power of T is softmax(z), but for its sum.
    """
    powers = {label: probability**temperature for label, probability in probabilities.items()}
    return {label: power / sum(powers.values()) for label, power in powers.items()}
