"""The verdict, worst first: Failed > Error > Inconclusive > Passed.

An observed failure is never masked, and what cannot be trusted never passes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from proctor.api import names
from proctor.api.scalars import OnFlaky, Verdict
from proctor.core.results import Failure, Trouble

ORDER = tuple(Verdict)


@dataclass(frozen=True)
class Judgment:
    """A verdict with its reason (one word) and message (a sentence)."""

    verdict: Verdict
    reason: str
    message: str


def worst(judgments: Iterable[Judgment]) -> Judgment | None:
    """Return the worst judgment, the first among equals; None for none."""
    return min(judgments, key=lambda judgment: ORDER.index(judgment.verdict), default=None)


def judge_step(
    counts: Mapping[str, int],
    failures: Sequence[Failure],
    trouble: Trouble | None,
    on_flaky: OnFlaky,
    *,
    evidence: Mapping[str, int],
    minimum: Mapping[str, int],
) -> Judgment:
    """Return the judgment of a step from its merged counts, what went wrong with its pods, and what its tests saw."""
    executed = sum(counts.get(name, 0) for name in ("passed", "failed", "error", "flaky"))
    if failed := counts.get("failed", 0):
        also = f"; also {trouble.reason}: {trouble.message}" if trouble else ""
        message = f"{failed} of {executed} tests failed{_first(failures, 'failed')}{also}"
        return Judgment(Verdict.FAILED, names.TESTS_FAILED, message)
    if trouble is not None:
        return Judgment(Verdict.ERROR, trouble.reason, trouble.message)
    if errors := counts.get("error", 0):
        message = f"{errors} of {executed} tests broke outside the test itself{_first(failures, 'error')}"
        return Judgment(Verdict.ERROR, names.TEST_ERRORS, message)
    if executed == 0:
        return Judgment(Verdict.INCONCLUSIVE, names.NO_TESTS_EXECUTED, _nothing(counts))
    flaky = counts.get("flaky", 0)
    message = f"{flaky} of {executed} tests failed, then passed{_first(failures, 'flaky')}"
    if flaky and on_flaky is OnFlaky.FAIL:
        return Judgment(Verdict.FAILED, names.FLAKY_TESTS, message)
    if lacking := [name for name in sorted(minimum) if evidence.get(name, 0) < minimum[name]]:
        seen = ", ".join(f"{name}: {evidence.get(name, 0)} of at least {minimum[name]}" for name in lacking)
        return Judgment(Verdict.INCONCLUSIVE, names.INSUFFICIENT_EVIDENCE, f"evidence {seen}")
    if flaky:
        return Judgment(Verdict.PASSED, names.PASSED_WITH_FLAKES, message)
    return Judgment(Verdict.PASSED, names.PASSED, f"{executed} tests passed")


def _first(failures: Sequence[Failure], outcome: str) -> str:
    first = next((failure for failure in failures if failure.outcome == outcome), None)
    return f": {first.test}: {first.line}" if first else ""


def _nothing(counts: Mapping[str, int]) -> str:
    rest = [f"{counts[name]} {name}" for name in ("skipped", "quarantined") if counts.get(name)]
    return f"no test was executed ({', '.join(rest) or 'none was collected'})"
