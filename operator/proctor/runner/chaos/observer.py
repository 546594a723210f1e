"""Watches targets and probes from before a fault until after it, and reports when each was lost and came back.

It knows nothing of the fault: it sees that all is well, says so, and then only looks.
"""

import asyncio
import os
import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from proctor.api import names
from proctor.core import timeline as told
from proctor.core.timeline import Held, Timeline, TooManyTracks, encode
from proctor.runner.chaos.checks import PERIOD, explain
from proctor.runner.chaos.held import HeldConnection, hold
from proctor.runner.chaos.recorder import TrackRecorder
from proctor.runner.chaos.watchplan import WatchPlan
from proctor.runner.output import Records, TerminationLog
from proctor.runner.records import timestamp

_SETTLE = 10.0
"""Seconds in which all must be seen to be well."""
_IN_A_ROW = 3
_STEADY = 2000
"""Milliseconds for which all must have been well again."""
_CANCELLATIONS = 100


async def observe(plan: WatchPlan, root: Path) -> None:
    """Watch to the end, and leave the complete report in the termination log. Raises OSError if it cannot be left."""
    # For names in probes: the resolver must not be slower than the checks that wait for it.
    os.environ.setdefault("RES_OPTIONS", "timeout:1 attempts:2")
    await _Observer(plan, root).run()


class _Observer:
    def __init__(self, plan: WatchPlan, root: Path) -> None:
        self._plan = plan
        self._log = TerminationLog(root / names.TERMINATION_LOG.lstrip("/"))
        self._good_file = root / names.GOOD_FILE.lstrip("/")
        self._records = Records()
        self._recorders = [TrackRecorder(check) for check in plan.checks]
        self._timeline = Timeline(plan.experiment, plan.pod)
        self._tasks: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        # The wall clock of the start, moved on by the clock that is never set: losses cannot end before they begin.
        self._offset = time.time() - time.monotonic()

    async def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        try:
            encode(self._at_worst())
        except TooManyTracks as error:
            self._recorders = []
            self._finish(told.BAD_BASELINE, f"{error}: choose fewer targets or probes")
            return
        self._write()
        try:
            self._tasks = [asyncio.create_task(self._sample(recorder)) for recorder in self._recorders]
            problem = await self._settle()
            if problem:
                self._finish(told.STOPPED if self._stop.is_set() else told.BAD_BASELINE, problem)
            else:
                await self._watch()
        finally:
            await _end(self._tasks)

    async def _settle(self) -> str:
        """Wait until all is well, and hold a connection to each target; return what is not well."""
        until = time.monotonic() + _SETTLE
        while unsettled := [recorder for recorder in self._recorders if recorder.streak < _IN_A_ROW]:
            if await self._pause():
                return "told to stop before all was seen to be well"
            if time.monotonic() >= until:
                return f"not well {_IN_A_ROW} times in a row within {_SETTLE:g} s: {_complaints(unsettled)}"
        held = []
        for target in self._plan.targets:
            try:
                connection = await HeldConnection.open(target.host, target.port)
            except (OSError, asyncio.TimeoutError) as error:
                why = explain(error) if isinstance(error, OSError) else "no answer"
                return f"no connection to {target.name} can be held: {why}"
            held.append(Held(target.name))
            self._tasks.append(asyncio.create_task(self._hold(len(held) - 1, connection)))
        self._timeline = replace(self._timeline, held=tuple(held))
        return ""

    async def _watch(self) -> None:
        """Watch what was seen to be well until there is nothing more to see."""
        self._timeline = replace(self._timeline, good=True, good_at=self._now())
        self._write()
        self._good_file.touch()
        self._print("Good", message=f"{len(self._recorders)} checks are good: watching for a loss")
        while not (ending := self._ending()):
            await self._pause()
        self._finish(*ending)

    def _ending(self) -> tuple[str, str] | None:
        """Return how and why the watch ends, None while it goes on."""
        plan, now, good_at = self._plan, self._now(), self._timeline.good_at or 0
        if self._stop.is_set():
            return told.STOPPED, "told to stop"
        allowed = plan.allowance + plan.duration
        first = self._timeline.first_losses
        lost = [loss for loss in first.values() if loss is not None]
        # Targets are hit one by one; the last of them is as worth waiting for as the first.
        waiting = len(lost) < len(first) and now < good_at + allowed * 1000
        if not lost:
            return None if waiting else (told.NO_LOSS, f"no target was lost within {allowed:g} s")
        awaited = [
            recorder
            for recorder in self._recorders
            if recorder.check.role == told.PROBE or (recorder.check.role == told.TARGET and not plan.gone)
        ]
        unsteady = [recorder for recorder in awaited if recorder.good_for < _STEADY]
        if not waiting and now >= max(lost) + plan.duration * 1000 and not unsteady:
            return told.RECOVERED, "all is well again"
        if now >= good_at + (allowed + plan.recovery) * 1000:
            return told.DEADLINE, f"not well {allowed + plan.recovery:g} s after it was: {_complaints(unsteady)}"
        return None

    async def _sample(self, recorder: TrackRecorder) -> None:
        """Look again and again; a look that hangs delays no other."""
        while True:
            began = time.monotonic()
            start = self._now()
            error = await recorder.check.failure()
            good_at = self._timeline.good_at
            if good_at is None:
                recorder.take(start, error)
            elif start >= good_at and recorder.record(start, error):
                self._write()
                loss = recorder.track.losses[-1]
                who = {"role": recorder.check.role, "name": recorder.check.name}
                if loss.end is None:
                    self._print("Lost", loss.start, **who, error=error)
                else:
                    self._print("Back", loss.end, **who, seconds=(loss.end - loss.start) / 1000)
            await asyncio.sleep(max(0.0, began + recorder.check.period - time.monotonic()))

    async def _hold(self, number: int, connection: HeldConnection) -> None:
        """Hold a connection until it ends, by whatever cause."""
        target = self._plan.targets[number]
        error = await hold(target.host, target.port, connection)
        held = list(self._timeline.held)
        held[number] = Held(target.name, self._now(), error)
        self._timeline = replace(self._timeline, held=tuple(held))
        self._write()
        self._print("HeldLost", role=told.TARGET, name=target.name, error=error)

    async def _pause(self) -> bool:
        """Wait a little; return whether the observer is told to stop."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stop.wait(), PERIOD)
        for task in self._tasks:
            if task.done():
                task.result()  # Those of held connections may end; if any has failed, so has the observer.
        return self._stop.is_set()

    def _finish(self, end: str, message: str) -> None:
        self._timeline = replace(self._timeline, end=end, message=message, ended_at=self._now())
        self._write()
        self._print("End", self._timeline.ended_at, end=end, message=message)

    def _write(self) -> None:
        tracks = tuple(recorder.track for recorder in self._recorders)
        self._timeline = replace(self._timeline, tracks=tracks)
        self._log.write(encode(self._timeline))

    def _print(self, event: str, at: int | None = None, **facts: Any) -> None:
        moment = self._now() if at is None else at
        self._records.write({"time": timestamp(moment / 1000), "event": event, **facts})

    def _now(self) -> int:
        return round((self._offset + time.monotonic()) * 1000)

    def _at_worst(self) -> Timeline:
        """Return a timeline as long as this one can get when all that may be cut is cut."""
        tracks = [replace(recorder.track, losses=_TWO, samples=_MANY, failed=_MANY) for recorder in self._recorders]
        tracks = [replace(track, omitted=_MANY) for track in tracks]
        held = tuple(Held(target.name, _NOW) for target in self._plan.targets)
        end = told.BAD_BASELINE
        return replace(
            self._timeline, message="x" * 100, good_at=_NOW, ended_at=_NOW, end=end, tracks=tuple(tracks), held=held
        )


_NOW, _MANY = 10**12, 10**6
_TWO = (told.Loss(_NOW, _NOW), told.Loss(_NOW, _NOW))


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended: before Python 3.12 wait_for may lose a cancellation."""
    left = set(tasks)
    for _ in range(_CANCELLATIONS):
        if not left:
            return
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.05)


def _complaints(recorders: Sequence[TrackRecorder]) -> str:
    return "; ".join(
        f"{recorder.check.role} {recorder.check.name}: {recorder.error or 'good again, but not for long'}"
        for recorder in recorders
    )
