"""`proctor watch`: live progress of a TestRun until its verdict, which becomes the exit code."""

import sys
import time
from collections.abc import Callable

from proctor.api.names import ACCEPTED, GROUP, LABEL_RUN, STARTED, label_value
from proctor.api.scalars import StepState, Verdict
from proctor.api.testrun import TestRunStatus
from proctor.cli import kubectl
from proctor.cli.errors import NO_VERDICT, CommandError

EXIT_CODES = {Verdict.PASSED: 0, Verdict.FAILED: 1, Verdict.ERROR: 2, Verdict.INCONCLUSIVE: 3}
_PAUSE_SECONDS = 1.0
_PATIENCE_SECONDS = 30.0
"""How long the API server may fail to answer before the watch gives up: it may be restarting."""


def watch(
    run: str,
    *,
    namespace: str | None,
    timeout_seconds: int,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Print progress until the verdict and return its exit code.

    Raises CommandError: with code NO_VERDICT after `timeout_seconds`, NotFound when the run is not or no longer there,
    and otherwise when the API server has not answered for half a minute.
    """
    deadline = clock() + timeout_seconds
    answered = clock()
    line = _Line()
    while clock() < deadline:
        try:
            found = kubectl.call(["get", f"testruns.{GROUP}", run], namespace=namespace)
            answered = clock()
        except kubectl.NotFound:
            raise
        except CommandError as error:
            if clock() - answered > _PATIENCE_SECONDS:
                raise
            line.show(f"{run}: no answer ({str(error).splitlines()[-1]}), asking again")
        else:
            status = TestRunStatus.model_validate(found.get("status", {}))
            if status.verdict is not None:
                line.end()
                print(report(run, status))
                print(_further(run, found["metadata"]["namespace"]))
                return EXIT_CODES[status.verdict]
            line.show(f"{run}: {progress(status)}")
        sleep(_PAUSE_SECONDS)
    raise CommandError(
        f"no verdict in {timeout_seconds} s. The run goes on: `proctor watch {run}` looks again, and "
        f"`kubectl describe testruns.{GROUP} {run}` tells more",
        NO_VERDICT,
    )


def progress(status: TestRunStatus) -> str:
    """Return one line that says how far the run is, or what it waits for."""
    conditions = {condition.type: condition for condition in status.conditions}
    if not conditions:
        return "waiting for the operator"
    accepted, started = conditions.get(ACCEPTED), conditions.get(STARTED)
    if accepted is not None and accepted.status == "False":
        return f"not accepted: {accepted.reason}: {accepted.message}"
    counts = status.counts
    parts = [
        f"{status.progress.steps_done}/{status.progress.steps} steps",
        f"{status.progress.shards_done}/{status.progress.shards} shards",
        f"{counts.passed} passed",
        *(
            f"{count} {name}"
            for name, count in (("failed", counts.failed), ("error", counts.error), ("flaky", counts.flaky))
            if count
        ),
    ]
    running = [step.name for step in status.steps if step.state is StepState.RUNNING]
    if running:
        parts.append(f"running {' '.join(running)}")
    elif started is not None and started.status == "False":
        parts.append(f"{started.reason}: {started.message}" if started.message else started.reason)
    return ", ".join(parts)


def report(run: str, status: TestRunStatus) -> str:
    """Return the verdict with its reasons, as lines for a terminal."""
    counts = status.counts
    lines = [
        f"{run}: {status.verdict} ({status.reason}) {status.message}".rstrip(),
        f"  {counts.passed} passed, {counts.failed} failed, {counts.error} error, {counts.skipped} skipped, "
        f"{counts.flaky} flaky, {counts.quarantined} quarantined"
        + (f" in {status.duration}" if status.duration else ""),
    ]
    lines += _table(status)
    lines += [
        f"  evidence of {step.name}: " + ", ".join(f"{count} {name}" for name, count in sorted(step.evidence.items()))
        for step in status.steps
        if step.evidence
    ]
    lines += [f"  {item.outcome}: [{item.step}] {item.test}: {item.line}" for item in status.failures]
    if status.failures_omitted:
        lines.append(f"  and {status.failures_omitted} more")
    if status.report_url:
        lines.append(f"  {status.report_url}")
    return "\n".join(lines)


def _table(status: TestRunStatus) -> list[str]:
    rows: list[tuple[str, ...]] = [
        ("STEP", "VERDICT", "REASON", "PASSED", "FAILED", "ERROR", "FLAKY", "SHARDS", "DURATION")
    ]
    for step in status.steps:
        counts = (step.counts.passed, step.counts.failed, step.counts.error, step.counts.flaky, len(step.shards))
        rows.append((step.name, step.verdict or step.state, step.reason, *map(str, counts), step.duration))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows] if status.steps else []


def _further(run: str, namespace: str) -> str:
    return (
        f"look further:\n  kubectl describe testruns.{GROUP} -n {namespace} {run}\n"
        f"  kubectl logs -n {namespace} -l {LABEL_RUN}={label_value(run)} -c runner --tail=-1"
        "   # every attempt, one JSON line each"
    )


class _Line:
    """A line that is rewritten on a terminal, and printed once per change elsewhere."""

    def __init__(self) -> None:
        self.shown = ""

    def show(self, text: str) -> None:
        if text == self.shown:
            return
        if sys.stdout.isatty():
            print(f"\r\x1b[K{text}", end="", flush=True)
        else:
            print(text, flush=True)
        self.shown = text

    def end(self) -> None:
        if self.shown and sys.stdout.isatty():
            print("\r\x1b[K", end="")
