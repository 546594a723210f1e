"""How pytest's end is to be read: what happened to the test in flight, and why the report may not cover the shard."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from proctor.api import names
from proctor.core.results import Trouble
from proctor.runner.records import attempt_record, complaint, line
from proctor.runner.report import Report

_NO_TESTS_COLLECTED = 5


@dataclass(frozen=True)
class Ending:
    """How the pytest process ended.

    `code` is its exit code, minus the signal if it was killed. `status` is pytest's own exit status, None if it sent
    no end record, and `stopped` the reason that pytest gave for stopping early. `out_of_memory` tells that the kernel
    killed a process of this container meanwhile. `output` holds the last lines that pytest printed.
    """

    code: int
    status: int | None
    stopped: str
    timed_out: float | None
    out_of_memory: bool
    output: Sequence[str]

    def death(self) -> str:
        """Return the process's end in words."""
        if self.timed_out is not None:
            return f"timed out after {self.timed_out:g}s"
        return f"was killed by signal {-self.code}" if self.code < 0 else f"the process exited with code {self.code}"


def conclude(report: Report, ending: Ending, run: str) -> list[dict[str, object]]:
    """Set the report's trouble, give every test in flight its last attempt, and return the records of those."""
    victims = list(report.in_flight)
    if report.trouble is None:
        report.trouble = _trouble(report, ending, ", ".join(victims[:3]))
    why = f"pytest stopped ({ending.stopped or 'no reason given'})" if ending.status is not None else ending.death()
    records = []
    for test in victims:
        start = report.in_flight[test]
        record = attempt_record(
            test,
            report.attempts_of(test) + 1,
            ("error", "call", line(f"{why} while this test was running")),
            final=True,
            start=start,
            duration=max(0.0, time.time() - start),
            evidence={},
            run=run,
            worker=None,
        )
        report.take(record)
        records.append(record)
    return records


def _trouble(report: Report, ending: Ending, victims: str) -> Trouble | None:
    where = f" during {victims}" if victims else ""
    if ending.timed_out is not None:
        what = f"the tests took longer than {ending.timed_out:g}s"
        return Trouble(names.DEADLINE_EXCEEDED, f"{what}; it was running {victims}" if victims else what)
    if ending.status is None:
        if ending.code == -9 and ending.out_of_memory:
            return Trouble(names.OOM_KILLED, f"pytest was killed for memory{where}")
        if not report.began and ending.code in (2, 3, 4):
            return Trouble(names.COLLECTION_ERROR, complaint(ending.output))
        return Trouble(names.RUNNER_CRASHED, f"pytest ended without a report{where}: {ending.death()}")
    if ending.out_of_memory:
        return Trouble(names.OOM_KILLED, "a child process was killed for memory")
    if report.broken:
        file, reason = next(iter(report.broken.items()))
        return Trouble(names.COLLECTION_ERROR, f"{file}: {reason}")
    if ending.status in (2, 3, 4) and not report.began:
        return Trouble(names.COLLECTION_ERROR, ending.stopped or complaint(ending.output))
    if ending.status == 3:
        return Trouble(names.RUNNER_CRASHED, f"pytest had an internal error{where}: {ending.stopped}")
    if victims or (report.missing() and not report.counts()["failed"]):
        why = ending.stopped or (ending.output[-1] if ending.output else "")
        return Trouble(names.INCOMPLETE_REPORT, line(f"{report.missing()} tests did not run{where}: {why}"))
    if ending.status not in (0, _NO_TESTS_COLLECTED) and not report.saw_failure():
        last = ending.output[-1] if ending.output else ""
        why = f"pytest ended with status {ending.status} though no recorded test failed: {last}"
        return Trouble(names.INCOMPLETE_REPORT, line(why))
    return None
