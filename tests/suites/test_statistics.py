"""The statistics of the suites: beside known values, and by how often each is wrong where the truth is known."""

from bisect import bisect_left
from math import exp, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from suites._helpers.bounds import at_least, lower_bound, upper_bound
from suites._helpers.calibration import calibration_error, log_loss
from suites._helpers.drift import binned, kolmogorov_smirnov, noise_floor, stability_index
from suites._helpers.wager import alarm


@pytest.mark.parametrize(
    ("wrong", "n", "expected"),
    [
        (0, 29, 1 - 0.05 ** (1 / 29)),
        (0, 298, 0.01000),  # the rule of three
        (29, 4010, 0.00986),
        (30, 4010, 0.01015),
        (10, 100, 0.16372),  # of the printed tables of Clopper and Pearson
        (7, 7, 1.0),
    ],
)
def test_upper_bound_is_the_known_one(wrong: int, n: int, expected: float) -> None:
    assert upper_bound(wrong, n, 0.95) == pytest.approx(expected, abs=3e-5)


@given(n=st.integers(1, 60), data=st.data())
def test_bounds_are_about_the_share_that_was_seen(n: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, n))
    low, high = lower_bound(right, n, 0.95), upper_bound(n - right, n, 0.95)
    assert low <= right / n
    assert high >= 1 - right / n
    if right > 0:
        assert at_least(low, right, n) == pytest.approx(0.05, rel=1e-6)


def test_a_cell_shows_a_swap_that_the_whole_hides() -> None:
    """Two labels swapped for one in twenty: 530 exits of each, 4,077 in all, 72 cells that alarm at 0.001 together."""
    chance, rounds, alone, seen = Random(9), 100, 0.001 / 72, 0
    for _ in range(rounds):
        swapped = sum(chance.random() < 0.05 for _ in range(530))
        seen += at_least(0.005, swapped, 574) < alone
    assert seen >= 95
    assert at_least(0.005, 3, 574) > 1000 * alone, "the largest cell of the card is no alarm, by far"
    assert (17 + 2 * 26) / 4077 < 0.02, "of all exits it is less than two in a hundred"


def test_calibration_error_of_three_bins() -> None:
    """Two decisions at 0.9 of which one is right, one at 0.55 that is, one at 0.05 that is not."""
    decisions = [(0.9, True), (0.9, False), (0.55, True), (0.05, False)]
    assert calibration_error(decisions) == pytest.approx((0.8 + 0.45 + 0.05) / 4)
    assert calibration_error([(1.0, True), (0.0, False)]) == 0
    with pytest.raises(ValueError, match="no decisions"):
        calibration_error([])


def test_perfect_probabilities_need_many_decisions_to_show() -> None:
    """Why the gate of 0.02 is asked from 4,500 decisions: with 500 a perfect router fails it now and then."""
    chance = Random(5)

    def error(n: int) -> float:
        shares = [chance.betavariate(12, 0.5) for _ in range(n)]
        return calibration_error((share, chance.random() < share) for share in shares)

    few, many = [error(500) for _ in range(60)], [error(4500) for _ in range(60)]
    assert sum(e > 0.02 for e in few) > 2
    assert max(many) < 0.015


@given(logits=st.lists(st.floats(-3, 3), min_size=2, max_size=9), power=st.floats(0.4, 2))
def test_log_loss_is_that_of_the_softmax_at_another_temperature(logits: list[float], power: float) -> None:
    def softmax(factor: float) -> list[float]:
        powers = [exp(factor * logit) for logit in logits]
        return [one / sum(powers) for one in powers]

    served = {str(number): share for number, share in enumerate(softmax(1))}
    assert log_loss([(served, "0")], power) == pytest.approx(-log(softmax(power)[0]), abs=1e-9)


def test_log_loss_of_a_share_that_was_rounded_away() -> None:
    assert log_loss([({"a": 1.0, "b": 0.0}, "b")], 1) == pytest.approx(-log(1e-6), rel=1e-5)


def test_stability_index_of_a_known_pair() -> None:
    """The textbook's, but for the half case in each bin."""
    expected, actual = [100_000, 200_000, 700_000], [200_000, 200_000, 600_000]
    known = 0.1 * log(2) + (-0.1) * log(6 / 7)
    assert stability_index(expected, actual) == pytest.approx(known, rel=1e-4)
    assert stability_index(expected, [2 * count for count in expected]) == pytest.approx(0, abs=1e-9)
    assert stability_index([10, 0], [0, 10]) < 10, "an empty bin is no infinity"
    for wrong in ([1], [0, 0]):
        with pytest.raises(ValueError, match="cannot be compared"):
            stability_index([1, 2], wrong)


@pytest.mark.parametrize(
    ("bins", "alpha", "quantile"),  # chi-squared with bins - 1 degrees, from printed tables
    [(10, 0.5, 8.343), (10, 0.05, 16.919), (10, 0.001, 27.877), (6, 0.05, 11.070), (20, 0.01, 36.191)],
)
def test_noise_floor_is_a_quantile_of_chi_squared(bins: int, alpha: float, quantile: float) -> None:
    assert noise_floor(bins, 500, 2000, alpha) == pytest.approx(quantile * (1 / 500 + 1 / 2000), rel=0.02)


def test_noise_exceeds_its_floor_as_often_as_stated() -> None:
    chance, alarms, rounds = Random(6), 0, 400
    for _ in range(rounds):
        known, now = ([chance.random() for _ in range(n)] for n in (800, 300))
        index = stability_index(binned(known, known, 10), binned(known, now, 10))
        alarms += index > noise_floor(10, 800, 300, 0.05)
    assert at_least(0.05, alarms, rounds) > 1e-3, f"{alarms} of {rounds} alarms at 5 %"
    assert alarms > 3, "the floor is that of noise, not far above it"


@pytest.mark.parametrize(
    ("n", "distance", "p"),  # the quantiles of Kolmogorov's distribution: 1.358 at 5 %, 1.628 at 1 %
    [(10_000, 1.358 * (2 / 10_000) ** 0.5, 0.05), (10_000, 1.628 * (2 / 10_000) ** 0.5, 0.01)],
)
def test_kolmogorov_smirnov_knows_the_quantiles(n: int, distance: float, p: float) -> None:
    shifted = [x / n + distance for x in range(n)]
    found, chance = kolmogorov_smirnov([x / n for x in range(n)], shifted)
    assert found == pytest.approx(distance, abs=2 / n)
    assert chance == pytest.approx(p, rel=0.06)


def test_kolmogorov_smirnov_of_equal_and_of_separate_samples() -> None:
    some = [x / 100 for x in range(100)]
    assert kolmogorov_smirnov(some, some) == (0, 1)
    distance, p = kolmogorov_smirnov(some, [x + 1 for x in some])
    assert distance == 1
    assert p < 1e-20


def test_an_alarm_of_nothing_is_as_rare_as_stated() -> None:
    """Streams in which just as many events happen as is usual, watched after each of 1,500 events."""
    chance, streams = Random(7), 400
    alarms = sum(
        alarm((chance.random() < 0.15 for _ in range(1500)), 0.15, 0.2, 0.05) is not None for _ in range(streams)
    )
    assert at_least(0.05, alarms, streams) > 1e-3, f"{alarms} of {streams} alarms at 5 %"


def test_what_is_feared_is_noticed_soon() -> None:
    chance = Random(8)
    times = sorted(alarm((chance.random() < 0.38 for _ in range(600)), 0.15, 0.2, 1e-6) or 10**6 for _ in range(100))
    assert times[-1] < 600
    assert bisect_left(times, 250) > 50, "the median is well below"


@given(usual=st.floats(0.001, 0.5), more=st.floats(0.01, 0.4), share=st.floats(0, 1))
def test_the_bet_is_fair_at_best(usual: float, more: float, share: float) -> None:
    """Its expected factor is at most 1 wherever no more than usual happens: what makes Ville's inequality hold."""
    feared, truly = usual + more, usual * share
    factor = truly * feared / usual + (1 - truly) * (1 - feared) / (1 - usual)
    assert factor <= 1 + 1e-9
    first = alarm([True], usual, feared, usual / feared * (1 + 1e-9))
    assert first == 1, "one event is worth feared / usual"
    assert alarm([True], usual, feared, usual / feared * (1 - 1e-6)) is None


@pytest.mark.parametrize(("usual", "feared", "alpha"), [(0.2, 0.2, 0.1), (0, 0.2, 0.1), (0.1, 1, 0.1), (0.1, 0.2, 1)])
def test_what_cannot_be_bet_on_is_refused(usual: float, feared: float, alpha: float) -> None:
    with pytest.raises(ValueError, match="no bet"):
        alarm([], usual, feared, alpha)
