"""What a client has seen of a platform that was disturbed, and what follows from it: a history and offline checkers.

The method is that of Jepsen (K. Kingsbury, jepsen.io): clients note when they invoke an operation and how it completes,
ok, fail, or unknown if there was no answer; after the disturbance everything is read, and pure functions compare the
two. Clients may be wrong about nothing: what was not answered may have happened.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """How an operation begins and completes."""

    INVOKE = "invoke"
    OK = "ok"
    """It has happened."""
    FAIL = "fail"
    """It has not happened, and will not."""
    UNKNOWN = "unknown"
    """There was no answer: it may have happened, or happen later."""


@dataclass(frozen=True)
class Event:
    """One line of a history. `at` is in seconds of the epoch, by the clock of the one process that notes."""

    at: float
    kind: Kind
    key: str


@dataclass
class History:
    """Operations on keys, in the order in which they were seen. A key may be invoked again after it was completed."""

    events: list[Event] = field(default_factory=list)
    _open: set[str] = field(default_factory=set, repr=False)

    def note(self, kind: Kind, key: str) -> None:
        """Add what has just been seen. Raises ValueError for a completion of nothing, or two invocations at once."""
        if (kind is Kind.INVOKE) == (key in self._open):
            wrong = "is invoked while it is open" if kind is Kind.INVOKE else f"is {kind} without being invoked"
            raise ValueError(f"{key!r} {wrong}: no history")
        self._open.symmetric_difference_update({key})
        self.events.append(Event(time.time(), kind, key))

    def keys(self, kind: Kind) -> set[str]:
        """The keys that have such an event."""
        return {event.key for event in self.events if event.kind is kind}

    def first(self, key: str) -> float:
        """When a key was first invoked. Raises StopIteration if it never was."""
        return next(event.at for event in self.events if event.key == key)

    def possible(self) -> set[str]:
        """The keys that may have happened: invoked, and not only with `fail`. What is still open is unknown."""
        return self.keys(Kind.OK) | self.keys(Kind.UNKNOWN) | self._open


@dataclass(frozen=True)
class Found:
    """What a checker found, as multisets of keys."""

    lost: Counter[str]
    """It was acknowledged and is not there."""
    unexpected: Counter[str]
    """It is there and was never asked for, or was refused."""
    duplicated: Counter[str]
    """It is there too often: by how much."""
    recovered: Counter[str]
    """It is there though nobody answered. That is no error."""

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.unexpected or self.duplicated)


def total_queue(history: History, came_out: Iterable[str]) -> Found:
    """What goes in must come out, once. `came_out` is everything that did, read when the queue was empty.

    After Jepsen's checker `total-queue` (jepsen/checker.clj), but for two things: a key stands for one message however
    often it was sent, as an idempotency key does, so a second coming is a duplicate though there were two attempts; and
    what was refused must not come out.
    """
    seen, acknowledged, possible = Counter(came_out), history.keys(Kind.OK), history.possible()
    return Found(
        lost=Counter(acknowledged - seen.keys()),
        unexpected=Counter({key: count for key, count in seen.items() if key not in possible}),
        duplicated=Counter({key: count - 1 for key, count in seen.items() if key in possible and count > 1}),
        recovered=Counter((possible - acknowledged) & seen.keys()),
    )


def whole_set(history: History, read: Iterable[str]) -> Found:
    """Every element that was added is in the final read, and nothing else. After Jepsen's checker `set`.

    A read of a set has no duplicates; one that has is no read, and raises ValueError.
    """
    elements = Counter(read)
    if twice := [key for key, count in elements.items() if count > 1]:
        raise ValueError(f"{twice[0]!r} is twice in the read of a set")
    return total_queue(history, elements)


@dataclass(frozen=True)
class Books:
    """Where the books do not balance: debit less credit in cents, of each entry that is not at zero, and of all."""

    entries: dict[str, int]
    total: int


def conservation(ledger: Iterable[Mapping[str, Any]]) -> Books:
    """Money is moved, never made: debit and credit of each entry are equal, and so those of all.

    `ledger` are rows with effect_key, debit_cents and credit_cents. After Jepsen's `bank` test, in which the sum of all
    accounts is the same in every read; double entry has that sum at 0, for each entry too.
    """
    sums: Counter[str] = Counter()
    for row in ledger:
        sums[row["effect_key"]] += row["debit_cents"] - row["credit_cents"]
    return Books({key: cents for key, cents in sums.items() if cents}, sum(sums.values()))


WINDOWS = 2
"""One after the other: what has piled up may end in one window, and prove nothing of the next."""


def recovery(ends: Iterable[float], since: float, until: float, rate: float, window: float) -> float | None:
    """Seconds from `since` until work ends at `rate` per second over WINDOWS in a row; None if not before `until`.

    `ends` are times at which work ended, on one clock with the rest. The windows that count lie after `since`, so the
    least that can come out is 0 and what ended before proves nothing.
    """
    after = sorted(end for end in ends if since <= end)
    needed = rate * window
    starts = [since, *after]
    for start in starts:
        begins = [start + number * window for number in range(WINDOWS)]
        if begins[-1] + window > until:
            return None
        if all(sum(begin <= end < begin + window for end in after) >= needed for begin in begins):
            return start - since
    return None
