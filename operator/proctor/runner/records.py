"""What an attempt's record holds, made from pytest's reports: outcome, phase, one line of reason, identities.

A record must survive xdist, JSON, PostgreSQL and a terminal, so all text in it is printable and bounded.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Protocol

MAX_ID = 2000
MAX_REASON = 500

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_BARE = re.compile(r"[A-Za-z_][\w.]*:?")
_RAISED = re.compile(r"[A-Za-z_][\w.]*: ")
_VOLATILE = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE), "U"),
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "A"),
    (re.compile(r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{8,}\b", re.IGNORECASE), "H"),
    (re.compile(r"\d+(?:\.\d+)?"), "N"),
)


class Report(Protocol):
    """What is read of pytest's TestReport."""

    @property
    def when(self) -> str | None:
        """Setup, call or teardown."""

    @property
    def outcome(self) -> str:
        """Passed, failed, skipped, or rerun."""

    @property
    def longrepr(self) -> object:
        """Why, in pytest's own form."""


def is_rerun(report: Report) -> bool:
    """Return whether the report is of an attempt that another one follows."""
    return report.outcome == "rerun"


def identity(node_id: str) -> str:
    """Return the node id as it is used everywhere: printable, and cut with a digest beyond MAX_ID characters."""
    text = _printable(node_id)
    if len(text) <= MAX_ID:
        return text
    return f"{text[: MAX_ID - 16]}...{_digest(text)}"


def line(text: str) -> str:
    """Return the first line that says something, printable, without terminal colors, cut to MAX_REASON characters."""
    text = _ANSI.sub("", text[: 20 * MAX_REASON])
    first = next((one.strip() for one in text.splitlines() if one.strip()), "")
    first = _printable(first)
    return first if len(first) <= MAX_REASON else first[: MAX_REASON - 3] + "..."


def reason_of(longrepr: object) -> str:
    """Return why, in one line: the assertion's message; else the exception and its message, or its place."""
    crash = getattr(longrepr, "reprcrash", None)
    if crash is not None:
        message = line(str(crash.message))
        if not message or _BARE.fullmatch(message):
            place = str(crash.path).removeprefix(os.getcwd() + os.sep)
            return line(f"{message.rstrip(':') or 'an exception'} at {place}:{crash.lineno}")
        return message.removeprefix("AssertionError: ")
    if isinstance(longrepr, tuple):
        return line(str(longrepr[-1])).removeprefix("Skipped: ")
    return told(str(longrepr)) if longrepr else ""


def told(text: str) -> str:
    """Return the line of a longer text that names the error, as pytest marks it: `E   ModuleNotFoundError: ...`."""
    lines = _ANSI.sub("", text).splitlines()
    marked = [one[1:].strip() for one in lines if one.startswith("E  ")]
    return line(next((one for one in marked if _RAISED.match(one)), marked[0] if marked else text))


def judge(reports: Iterable[Report]) -> tuple[str, str, str]:
    """Return outcome (passed, failed, error, skipped), the phase that decided it, and the reason, of one attempt.

    A failed call is `failed` whatever the teardown did; setup and teardown failures are `error`. A test that was set
    up but never called has not passed: it is skipped.
    """
    skipped: Report | None = None
    called = False
    broken: Report | None = None
    for report in reports:
        failed = report.outcome == "failed" or is_rerun(report)
        if failed and report.when == "call":
            return "failed", "call", reason_of(report.longrepr)
        if failed:
            broken = broken or report
        elif report.outcome == "skipped":
            skipped = report
        elif report.when == "call":
            called = True
    if broken is not None:
        return "error", broken.when if broken.when in ("setup", "teardown") else "call", reason_of(broken.longrepr)
    if skipped is not None:
        wasxfail = getattr(skipped, "wasxfail", None)
        reason = reason_of(skipped.longrepr) if wasxfail is None else line(f"xfail: {wasxfail}".rstrip(": "))
        return "skipped", skipped.when or "setup", reason
    if not called:
        return "skipped", "setup", "the test was set up but not called"
    return "passed", "call", ""


def attempt_record(
    test: str,
    attempt: int,
    judged: tuple[str, str, str],
    *,
    final: bool,
    start: float,
    duration: float,
    evidence: Mapping[str, int],
    run: str,
    worker: str | None,
) -> dict[str, object]:
    """Return the record of one attempt. `start` is in seconds of the epoch, `duration` in seconds."""
    outcome, phase, reason = judged
    return {
        "kind": "attempt",
        "test": test,
        "attempt": attempt,
        "final": final,
        "outcome": outcome,
        "phase": phase,
        "duration": round(duration, 6),
        "start": timestamp(start),
        "end": timestamp(start + duration),
        "evidence": dict(evidence),
        "worker": worker,
        "reason": reason or None,
        "reasonHash": reason_hash(reason) if reason else None,
        "traceparent": traceparent(run, test, attempt),
    }


def reason_hash(reason: str) -> str:
    """Return 12 hexadecimal digits that stay the same when only numbers, addresses, digests or uuids differ."""
    for pattern, stand_in in _VOLATILE:
        reason = pattern.sub(stand_in, reason)
    return _digest(reason)


def traceparent(run: str, test: str, attempt: int) -> str:
    """Return the W3C trace context of one attempt, the same for everyone who knows run uid, node id and number."""
    digest = hashlib.sha256("\n".join((run, test, str(attempt))).encode()).hexdigest()
    return f"00-{digest[:32]}-{digest[32:48]}-01"


def timestamp(seconds: float) -> str:
    """Return RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def without_parameters(test: str) -> str:
    """Return the node id without its [parameters]."""
    file, separator, rest = test.partition("::")
    return file + separator + rest.split("[", 1)[0]


def complaint(output: Sequence[str]) -> str:
    """Return pytest's own words about why it did not start, from the last lines that it printed."""
    for text in output:
        if "error: " in text:
            return line(text.split("error: ", 1)[1])
    for text in output:
        if text.startswith("ERROR: "):
            return line(text.removeprefix("ERROR: "))
    return told("\n".join(output)) or "pytest said nothing"


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
