"""What a round of the matrix shows: a suite judges a platform, and this judges the suite."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What came of a suite in one round, best first."""

    CAUGHT = "caught"
    """A test failed with a property that counts for the planted fault."""
    GREEN = "green"
    """A healthy round in which every test passed."""
    COLLATERAL = "collateral only"
    """Tests failed, but none with a property that counts."""
    SURVIVED = "survived"
    """The fault was met, and the suite passed."""
    NOT_ACTIVATED = "not activated"
    """The suite passed because it never met the fault."""
    FALSE_ALARM = "false alarm"
    """A healthy round in which the suite did not pass."""
    NOTHING = "no result"
    """The run ended for another reason than its tests."""

    @property
    def good(self) -> bool:
        """Whether this is what a round is for."""
        return self in (Outcome.CAUGHT, Outcome.GREEN)


@dataclass(frozen=True)
class Seen:
    """What a run said: its verdict, its reason, and (test, first line) of each failing test."""

    verdict: str
    reason: str
    failures: Sequence[tuple[str, str]]


def judge(seen: Seen, properties: Sequence[str] | None, activations: int | None) -> tuple[Outcome, str]:
    """Judge one suite in one round; gives the outcome and what showed it.

    `properties` are those that count for the planted fault, None in a healthy round. `activations` is how often the
    fault was met, None where nothing counts it (faults of the schema, of the chart, of the test side).
    """
    first = f"{seen.failures[0][0]}: {seen.failures[0][1]}" if seen.failures else f"{seen.verdict} {seen.reason}"
    if properties is None:
        return (Outcome.GREEN, "") if seen.verdict == "Passed" else (Outcome.FALSE_ALARM, first)
    for test, line in seen.failures:
        if line.partition(":")[0] in properties:
            return Outcome.CAUGHT, f"{test}: {line}"
    if seen.failures:
        return Outcome.COLLATERAL, first
    if seen.verdict != "Passed":
        return Outcome.NOTHING, first
    if activations == 0:
        return Outcome.NOT_ACTIVATED, ""
    return Outcome.SURVIVED, f"met {activations} times" if activations else ""
