"""The exact binomial bound of the suites, beside values that are known in closed form or from printed tables."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


def _bounds() -> ModuleType:
    """The suites are no package of the project; their helper is loaded by its file."""
    path = Path(__file__).resolve().parents[2] / "suites/_helpers/bounds.py"
    spec = importlib.util.spec_from_file_location("suite_bounds", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BOUNDS = _bounds()


@pytest.mark.parametrize(
    ("right", "n", "confidence", "expected"),
    [
        (0, 10, 0.95, 0.0),
        (1, 1, 0.95, 0.05),
        (10, 10, 0.95, 0.05 ** (1 / 10)),  # all right: the n-th root of what is left
        (68, 68, 0.95, 0.05 ** (1 / 68)),
        (1, 10, 0.95, 1 - 0.95 ** (1 / 10)),  # one right: the complement of all wrong
        (5, 10, 0.975, 0.18709),  # of the two-sided 95 % interval that textbooks print for 5 of 10
        (9, 10, 0.975, 0.55498),
        (90, 100, 0.975, 0.82378),
    ],
)
def test_bound_is_the_known_one(right: int, n: int, confidence: float, expected: float) -> None:
    assert BOUNDS.lower_bound(right, n, confidence) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize(("right", "n"), [(1, 3), (20, 40), (66, 68), (4005, 4010)])
def test_at_the_bound_so_many_are_as_rare_as_stated(right: int, n: int) -> None:
    bound = BOUNDS.lower_bound(right, n, 0.95)
    assert BOUNDS.at_least(bound, right, n) == pytest.approx(0.05, rel=1e-6)


def test_bound_grows_with_what_was_right() -> None:
    bounds = [BOUNDS.lower_bound(right, 68, 0.95) for right in range(69)]
    assert bounds == sorted(bounds)
    # What the suite's threshold of 0.9 means: two of 68 may be wrong, three may not.
    assert bounds[66] >= 0.9 > bounds[65]


@pytest.mark.parametrize(("right", "n", "confidence"), [(2, 1, 0.95), (-1, 1, 0.95), (0, 0, 0.95), (1, 1, 1.0)])
def test_what_is_no_share_is_refused(right: int, n: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="is no share"):
        BOUNDS.lower_bound(right, n, confidence)
