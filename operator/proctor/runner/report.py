"""What is known about this pod's shard so far, folded from the records of its pytest, and the summary of it.

A case is judged from all its attempts: passed after a failure is flaky, and a failure that was seen is never masked.
"""

from collections import Counter
from collections.abc import Mapping
from itertools import chain, islice
from typing import Any

from proctor.core.results import OUTCOMES, Failure, Summary, TestSet, Trouble, bounded
from proctor.runner.plan import Assignment
from proctor.runner.records import without_parameters

_RANK = ("failed", "error", "flaky", "passed", "skipped")
_SHOWN = 100
"""More failures than this never fit into a summary."""


class Report:
    """The state of one shard. `in_flight` maps running tests to their start in seconds of the epoch."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._attempts: dict[str, list[tuple[str, str]]] = {}
        self._cases: dict[str, tuple[str, Mapping[str, int]]] = {}
        self._evidence: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._lines: dict[str, dict[str, str]] = {"failed": {}, "error": {}, "flaky": {}, "quarantined": {}}
        self._collection: TestSet | None = None
        self._part: TestSet | None = None
        self.broken: dict[str, str] = {}
        self.in_flight: dict[str, float] = {}
        self.began = False
        self.trouble: Trouble | None = None

    def take(self, record: Mapping[str, Any]) -> None:
        """Fold in one record. Raises KeyError, TypeError or ValueError when it is not one of ours."""
        kind = record["kind"]
        if kind == "collected":
            self._collection, self._part = TestSet(**record["collection"]), TestSet(**record["part"])
        elif kind == "collection-error":
            self.broken.setdefault(record["test"], record["reason"])
        elif kind == "begin":
            self.began = True
            self.in_flight[record["test"]] = record["time"]
        elif kind == "attempt":
            self._attempts.setdefault(record["test"], []).append((record["outcome"], record["reason"] or ""))
            if record["final"]:
                self.in_flight.pop(record["test"], None)
                self._close(record["test"], self._attempts.pop(record["test"]), record["evidence"])
        elif kind == "trouble":
            self.trouble = Trouble(record["reason"], record["message"])

    def attempts_of(self, test: str) -> int:
        """Return how many attempts of an unfinished case are recorded."""
        return len(self._attempts.get(test, ()))

    def missing(self) -> int:
        """Return how many tests of the part did not finish."""
        return max(0, (self._part.count if self._part else 0) - len(self._cases))

    def counts(self) -> dict[str, int]:
        """Return the number of finished cases by outcome."""
        return {outcome: self._counts[outcome] for outcome in OUTCOMES}

    def evidence(self) -> dict[str, int]:
        """Return what finished cases counted, by name; quarantined ones prove nothing."""
        return bounded(self._evidence, self._assignment.evidence)

    def saw_failure(self) -> bool:
        """Return whether anything failed, counted or quarantined, which explains a pytest that says so too."""
        return bool(self.broken) or any(self._lines.values())

    def summary(self, *, complete: bool) -> Summary:
        """Return what is known, the gravest failures first."""
        graded = [
            *((test, "error", line) for test, line in self.broken.items()),
            *islice(
                chain.from_iterable(
                    ((test, outcome, line) for test, line in lines.items()) for outcome, lines in self._lines.items()
                ),
                _SHOWN,
            ),
        ][:_SHOWN]
        total = len(self.broken) + sum(map(len, self._lines.values()))
        return Summary(
            run=self._assignment.run["uid"],
            step=self._assignment.step,
            index=self._assignment.index,
            pod=self._assignment.pod,
            complete=complete,
            counts=self.counts(),
            evidence=self.evidence(),
            collection=self._collection,
            part=self._part,
            in_flight=next(iter(self.in_flight), None),
            trouble=self.trouble,
            failures=tuple(Failure(*one) for one in graded),
            omitted=total - len(graded),
        )

    def _close(self, test: str, attempts: list[tuple[str, str]], evidence: Mapping[str, int]) -> None:
        outcome, line = _case(attempts)
        known = self._cases.get(test)
        if known is not None and _RANK.index(known[0]) <= _RANK.index(outcome):
            return  # A node id that was collected twice counts once, by the worse of its outcomes.
        quarantined = not self._assignment.quarantine.isdisjoint((test, without_parameters(test)))
        if known is not None:
            self._counts["quarantined" if quarantined else known[0]] -= 1
        self._cases[test] = outcome, evidence
        self._counts["quarantined" if quarantined else outcome] += 1
        if not quarantined:
            self._evidence.subtract(known[1] if known is not None else {})
            self._evidence.update(evidence)
        for lines in self._lines.values():
            lines.pop(test, None)
        if outcome in self._lines:
            self._lines["quarantined" if quarantined else outcome][test] = line


def _case(attempts: list[tuple[str, str]]) -> tuple[str, str]:
    """Return the outcome of a case and the line that tells why, from the outcomes and reasons of its attempts."""
    last = attempts[-1][0]
    bad = [(outcome, reason) for outcome, reason in attempts if outcome in ("failed", "error")]
    if not bad:
        return last, ""
    if last == "passed":
        return "flaky", bad[0][1]
    return min(reversed(bad), key=lambda one: _RANK.index(one[0]))
