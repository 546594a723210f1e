"""Keys to look at: each at most once in line, each worked on by one worker at a time, failures later and later.

Kopf hands over events; those may come faster than they can be handled, and never again if a handler fails. This queue
coalesces them, keeps a time to look again for each key, and backs off.
"""

import asyncio
import heapq
import time
from dataclasses import dataclass
from typing import NamedTuple

FIRST_DELAY = 0.2
MAX_DELAY = 60.0


class Key(NamedTuple):
    """An object to reconcile."""

    kind: str
    namespace: str
    name: str


@dataclass
class _Entry:
    queued_at: float | None = None
    working: bool = False
    again: bool = False
    timer: float | None = None
    failures: int = 0


class WorkQueue:
    """A coalescing queue with timers. Times are in seconds of the event loop's monotonic clock."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._entries: dict[Key, _Entry] = {}
        self._timers: list[tuple[float, Key]] = []
        self._timers_changed = asyncio.Event()

    def add(self, key: Key) -> None:
        """Have `key` looked at as soon as possible."""
        entry = self._entries.setdefault(key, _Entry())
        if entry.working:
            entry.again = True
        elif entry.queued_at is None:
            entry.queued_at = time.monotonic()
            self._ready.put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Have `key` looked at in `seconds`; the earliest of several times counts."""
        entry = self._entries.setdefault(key, _Entry())
        due = time.monotonic() + max(0.0, seconds)
        if entry.timer is None or due < entry.timer:
            entry.timer = due
            heapq.heappush(self._timers, (due, key))
            self._timers_changed.set()

    async def take(self) -> Key:
        """Wait for a key and take it; `done` or `failed` must follow."""
        key = await self._ready.get()
        entry = self._entries[key]
        entry.queued_at, entry.working, entry.again, entry.timer = None, True, False, None
        return key

    def done(self, key: Key, look_again: float | None = None) -> None:
        """Give back a key that went well, to be looked at again in `look_again` seconds if that is given."""
        entry = self._entries[key]
        entry.failures = 0
        again = self._give_back(key, entry)
        if not again and look_again is not None:
            self.add_after(key, look_again)
        elif not again and entry.timer is None:
            del self._entries[key]

    def failed(self, key: Key) -> float:
        """Give back a key that went wrong; it comes again after a growing pause, which is returned in seconds."""
        entry = self._entries[key]
        entry.failures += 1
        delay = min(MAX_DELAY, FIRST_DELAY * 2.0 ** min(entry.failures - 1, 16))
        entry.again = False
        self._give_back(key, entry)
        self.add_after(key, delay)
        return delay

    async def run_timers(self) -> None:
        """Move keys whose time has come into the line, for ever."""
        while True:
            self._timers_changed.clear()
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                due, key = heapq.heappop(self._timers)
                entry = self._entries.get(key)
                if entry is not None and entry.timer == due:
                    entry.timer = None
                    self.add(key)
            pause = self._timers[0][0] - now if self._timers else None
            try:
                # Not wait_for: in Python 3.11 it loses a cancellation that comes together with what it waits for.
                async with asyncio.timeout(pause):
                    await self._timers_changed.wait()
            except TimeoutError:
                continue

    @property
    def depth(self) -> int:
        """How many keys are in line."""
        return self._ready.qsize()

    @property
    def age(self) -> float:
        """How long the oldest key has been in line, in seconds."""
        queued = [entry.queued_at for entry in self._entries.values() if entry.queued_at is not None]
        return time.monotonic() - min(queued) if queued else 0.0

    def _give_back(self, key: Key, entry: _Entry) -> bool:
        entry.working = False
        if entry.again:
            entry.again = False
            self.add(key)
            return True
        return False
