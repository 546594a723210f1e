"""The summary: what one pod says about its shard, as a sealed report in its termination message.

Standard library and Python 3.10 only: the runner imports this inside images that have nothing of ours.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from proctor.api.names import EVIDENCE_NAME, MAX_EVIDENCE
from proctor.core.envelope import MAX_BYTES, IncompleteReport, canonical, seal, shortened, unseal

MAX_LINE = 200
MAX_TEST = 300
MAX_COUNT = 10**15
"""The most that a pod's evidence of one name counts: so much, added up over a step, still fits into a status."""
_ENVELOPE = 110
"""Bytes around a body, about; what this estimate leaves too long is cut exactly."""
OUTCOMES = ("passed", "failed", "error", "skipped", "flaky", "quarantined")


@dataclass(frozen=True)
class Failure:
    """A case that did not simply pass: node id, outcome (failed, error, flaky, quarantined), one line of reason."""

    test: str
    outcome: str
    line: str


@dataclass(frozen=True)
class Trouble:
    """Why the report does not cover the whole shard: a reason from api.names and a sentence."""

    reason: str
    message: str


@dataclass(frozen=True)
class TestSet:
    """A set of node ids as a count and an order-free digest (see `digest_of`)."""

    __test__ = False

    count: int
    digest: str


@dataclass(frozen=True)
class Summary:
    """What one pod saw. `collection` and `part` are None until pytest has collected.

    `complete` is true only when the runner itself wrote the last word; `in_flight` names the test that was running
    when it was written. `failures` holds as many as fit, `omitted` counts the rest. `evidence` is what the tests
    counted, by name: at most MAX_EVIDENCE names.
    """

    run: str
    step: str
    index: int
    pod: str
    complete: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    evidence: dict[str, int] = field(default_factory=dict)
    collection: TestSet | None = None
    part: TestSet | None = None
    in_flight: str | None = None
    trouble: Trouble | None = None
    failures: tuple[Failure, ...] = ()
    omitted: int = 0


def digest_of(node_ids: Iterable[str]) -> TestSet:
    """Return count and digest of distinct node ids.

    The digest is the sum of their SHA-256 modulo 2**256 (an additive set hash, after Bellare and Micciancio 1997):
    the digests of disjoint parts add up to that of the whole, which lets a reader check a partition without the ids.
    """
    total = count = 0
    for node_id in set(node_ids):
        total += int.from_bytes(hashlib.sha256(node_id.encode("utf-8", "surrogatepass")).digest(), "big")
        count += 1
    return TestSet(count, f"{total % 2**256:064x}")


def add_up(parts: Iterable[TestSet]) -> TestSet:
    """Return the set that disjoint `parts` make together."""
    total = count = 0
    for part in parts:
        total += int(part.digest, 16)
        count += part.count
    return TestSet(count, f"{total % 2**256:064x}")


def bounded(evidence: Mapping[str, int], wanted: Collection[str]) -> dict[str, int]:
    """Return the evidence of at most MAX_EVIDENCE names: those that are wanted, then others in alphabetical order."""
    ordered = sorted(evidence, key=lambda name: (name not in wanted, name))
    return {name: min(evidence[name], MAX_COUNT) for name in ordered[:MAX_EVIDENCE]}


def encode(summary: Summary) -> str:
    """Return the summary as one line of at most MAX_BYTES bytes, dropping failures from the end until it fits."""
    body = asdict(replace(summary, failures=()))
    body["in_flight"] = shortened(summary.in_flight, MAX_TEST) if summary.in_flight else None
    if summary.trouble:
        body["trouble"]["message"] = shortened(summary.trouble.message, MAX_TEST)
    failures: list[list[str]] = []
    size = len(canonical(body)) + _ENVELOPE
    for failure in summary.failures:
        entry = [shortened(failure.test, MAX_TEST), failure.outcome, shortened(failure.line, MAX_LINE)]
        size += len(canonical(entry)) + 1
        if size > MAX_BYTES:
            break
        failures.append(entry)
    while True:
        body["failures"] = failures
        body["omitted"] = summary.omitted + len(summary.failures) - len(failures)
        line = seal(body)
        if len(line) <= MAX_BYTES or not failures:
            return line
        failures.pop()


def decode(message: str, *, run: str, step: str, index: int, pod: str) -> Summary:
    """Return the summary in a pod's termination message.

    Raises IncompleteReport when it is missing, damaged, oversized, or made for another run, step, index or pod.
    """
    try:
        summary = _summary(unseal(message))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise IncompleteReport(f"the summary's content is malformed ({type(error).__name__})") from None
    seen = (summary.run, summary.step, summary.index, summary.pod)
    for what, want, got in zip(("run", "step", "index", "pod"), (run, step, index, pod), seen, strict=True):
        if want != got:
            raise IncompleteReport(f"the summary was made for another {what}")
    return summary


def _summary(body: dict[str, Any]) -> Summary:
    counts = {name: int(body["counts"].get(name, 0)) for name in OUTCOMES}
    if min(counts.values()) < 0 or int(body["omitted"]) < 0:
        raise ValueError("negative count")
    return Summary(
        run=str(body["run"]),
        step=str(body["step"]),
        index=int(body["index"]),
        pod=str(body["pod"]),
        complete=body["complete"] is True,
        counts=counts,
        evidence=_evidence(body.get("evidence", {})),  # Runners older than the field have none.
        collection=_test_set(body["collection"]),
        part=_test_set(body["part"]),
        in_flight=None if body["in_flight"] is None else str(body["in_flight"]),
        trouble=None
        if body["trouble"] is None
        else Trouble(str(body["trouble"]["reason"]), str(body["trouble"]["message"])),
        failures=tuple(Failure(str(test), str(outcome), str(line)) for test, outcome, line in body["failures"]),
        omitted=int(body["omitted"]),
    )


def _evidence(value: dict[str, Any]) -> dict[str, int]:
    evidence = {name: int(count) for name, count in value.items()}
    if len(evidence) > MAX_EVIDENCE or not all(re.fullmatch(EVIDENCE_NAME, name) for name in evidence):
        raise ValueError("names of evidence")
    if not all(0 <= count <= MAX_COUNT for count in evidence.values()):
        raise ValueError("counts of evidence")
    return evidence


def _test_set(value: dict[str, Any] | None) -> TestSet | None:
    if value is None:
        return None
    digest = str(value["digest"])
    if len(digest) != 64:
        raise ValueError("a digest has 64 hexadecimal digits")
    int(digest, 16)
    return TestSet(int(value["count"]), digest)
