"""Turns the samples of one check into its track: losses with their begin and end, and counts."""

from dataclasses import replace

from proctor.core.timeline import MAX_LOSSES, Loss, Track
from proctor.runner.chaos.checks import Check


class TrackRecorder:
    """The track of one check, as it grows. Times are epoch milliseconds."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self.streak = 0
        """Good samples in a row."""
        self.good_for = 0
        """Milliseconds from the first good sample since the last bad one to the last sample."""
        self.error = ""
        """What was wrong with the last sample."""
        self._good_from = 0
        self._track = Track(check.name, check.role)

    def take(self, start: int, error: str) -> None:
        """Take in one sample and count it as one of the baseline: good ones in a row, and what is wrong now."""
        self.error = error
        self.streak = 0 if error else self.streak + 1
        if self.streak <= 1:
            self._good_from = start
        self.good_for = start - self._good_from

    def record(self, start: int, error: str) -> bool:
        """Take in one sample into the track; return whether the thing was lost or has come back by it."""
        was_lost = self.lost
        self.take(start, error)
        track, losses, omitted = self._track, self._track.losses, self._track.omitted
        if error and not was_lost:
            losses = (*losses, Loss(start))
            if len(losses) > MAX_LOSSES:
                losses, omitted = (losses[0], *losses[2:]), omitted + 1
        elif was_lost and not error:
            losses = (*losses[:-1], Loss(losses[-1].start, start))
        self._track = replace(
            track,
            losses=losses,
            samples=track.samples + 1,
            failed=track.failed + bool(error),
            error=track.error or error,
            omitted=omitted,
        )
        return was_lost is not self.lost

    @property
    def lost(self) -> bool:
        """Whether the last loss has not ended."""
        losses = self._track.losses
        return bool(losses) and losses[-1].end is None

    @property
    def track(self) -> Track:
        """What is known so far."""
        return self._track
