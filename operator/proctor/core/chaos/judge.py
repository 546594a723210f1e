"""What an experiment has shown: whether the fault was seen, whether the target came back, and the verdict.

All times are on the observer's clock and the agents', which run beside the target. Nobody's word counts for an effect
but that of an observer that was good before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from proctor.api import names
from proctor.api.chaos import ChaosExperimentSpec, ChaosTarget
from proctor.api.scalars import Fault, Verdict, seconds
from proctor.core.timeline import CONTROL, PROBE, TARGET, Loss, Timeline, Track
from proctor.core.verdict import Judgment

SLACK = timedelta(seconds=2)
"""How far a loss may lie outside its fault: clocks of two nodes, the pause between samples, the end of a process."""
FROZEN = 5
"""Seconds after which the kernel's keep-alive must have found a frozen connection."""


@dataclass(frozen=True)
class Effect:
    """Whether every target was seen to be hit, and how that was seen or what was missing."""

    seen: bool
    message: str


def effect(spec: ChaosExperimentSpec, targets: Sequence[ChaosTarget], report: Timeline) -> Effect:
    """Return whether the observer saw the fault on every target."""
    if not report.good or report.good_at is None:
        return Effect(False, f"the observer was not good before: {report.message}")
    seen = []
    for target in targets:
        start, end = window(target)
        if moment(report.good_at) > start + 2 * SLACK:
            return Effect(False, f"{target.pod}: the observer was good only at {_clock(moment(report.good_at))}")
        track = _track(report, TARGET, target.pod)
        held = next((one for one in report.held if one.name == target.pod), None)
        new_lost = track is not None and any(_within(loss.start, start, end) for loss in track.losses)
        held_lost = held is not None and held.lost_at is not None and _within(held.lost_at, start, end)
        missing = _missing(spec, new_lost, held_lost, _probe_lost(report, start, end))
        if missing:
            return Effect(False, f"{target.pod}: {missing}, from {_clock(start)} to {_clock(end)}")
        if any(_overlaps(loss, start, end) for one in report.tracks if one.role == CONTROL for loss in one.losses):
            return Effect(False, "the observer's own network failed at the same time, so the loss proves nothing")
        seen.append(target.pod)
    return Effect(True, f"the observer saw the loss of {', '.join(seen)}")


def over(spec: ChaosExperimentSpec, targets: Sequence[ChaosTarget], report: Timeline) -> datetime:
    """Return when the fault was over everywhere.

    That a killed pod is gone the operator sees late, if it was away; the process was gone when its connection was.
    """
    ends = []
    for target in targets:
        assert target.healed_at is not None, "an experiment is judged when its fault is over"
        held = next((one for one in report.held if one.name == target.pod), None)
        lost = moment(held.lost_at) if held is not None and held.lost_at is not None else target.healed_at
        killed = spec.fault is Fault.POD_KILL and window(target)[0] <= lost <= target.healed_at
        ends.append(lost if killed else target.healed_at)
    return max(ends)


def steady(targets: Sequence[ChaosTarget], report: Timeline) -> tuple[bool, str]:
    """Return whether all probes held while the fault was on, and what did not."""
    windows = [window(target) for target in targets]
    start, end = min(first for first, _ in windows), max(last for _, last in windows)
    lost = [
        f"{track.name} ({track.error})"
        for track in report.tracks
        if track.role == PROBE and any(_overlaps(loss, start, end) for loss in track.losses)
    ]
    return not lost, f"lost: {', '.join(lost)}" if lost else "all probes held during the fault"


def recovered_at(report: Timeline, healed: datetime, ready: datetime, *, gone: bool) -> datetime | None:
    """Return when the target was well again, None if it never was while the observer watched.

    `ready` is since when enough pods are Ready. `gone` says that the targets' addresses cannot come back.
    """
    latest = max(healed, ready)
    for track in report.tracks:
        if track.role == CONTROL or (gone and track.role == TARGET):
            continue
        for loss in track.losses:
            if loss.end is None:
                return None
            latest = max(latest, moment(loss.end))
    return latest


def verdict(shown: Effect, back: datetime | None, healed: datetime, spec: ChaosExperimentSpec) -> Judgment:
    """Return the verdict of an experiment that was injected and healed; worst first."""
    limit = healed + timedelta(seconds=seconds(spec.recovery_timeout))
    if back is None or back > limit:
        how = "is not well" if back is None else f"was well only {(back - healed).total_seconds():.0f} s"
        return Judgment(
            Verdict.FAILED,
            names.NOT_RECOVERED,
            f"the target {how} after the heal; recoveryTimeout {spec.recovery_timeout}",
        )
    if not shown.seen:
        return Judgment(Verdict.INCONCLUSIVE, names.NOT_EFFECTIVE, shown.message)
    message = f"{shown.message}; well again {max(0.0, (back - healed).total_seconds()):.1f} s after the heal"
    return Judgment(Verdict.PASSED, names.PASSED, message)


def window(target: ChaosTarget) -> tuple[datetime, datetime]:
    """Return from when to when a loss of this target counts."""
    start, end = target.injected_at, target.healed_at
    assert start is not None, "an experiment is judged when its fault was on"
    assert end is not None, "and is over"
    return start - SLACK, end + SLACK


def moment(milliseconds: int) -> datetime:
    """Return epoch milliseconds as a datetime."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _missing(spec: ChaosExperimentSpec, new_lost: bool, held_lost: bool, probe_lost: bool) -> str:
    """Return which sign of the fault is missing, or an empty string."""
    match spec.fault:
        case Fault.NETWORK_CUT:
            if not new_lost:
                return "new connections went on"
            frozen = held_lost or seconds(spec.duration) < FROZEN
            return "" if frozen else "the connection from before went on"
        case Fault.PAUSE:
            return "" if new_lost or probe_lost else "it went on answering"
        case Fault.OUTAGE:
            return "" if held_lost and new_lost else "it went on accepting connections"
        case Fault.POD_KILL | Fault.PROCESS_KILL:
            return "" if held_lost else "the connection from before went on"


def _track(report: Timeline, role: str, name: str) -> Track | None:
    return next((track for track in report.tracks if track.role == role and track.name == name), None)


def _probe_lost(report: Timeline, start: datetime, end: datetime) -> bool:
    return any(_within(loss.start, start, end) for t in report.tracks if t.role == PROBE for loss in t.losses)


def _within(at: int, start: datetime, end: datetime) -> bool:
    return start <= moment(at) <= end


def _overlaps(loss: Loss, start: datetime, end: datetime) -> bool:
    return moment(loss.start) <= end and (loss.end is None or moment(loss.end) >= start)


def _clock(at: datetime) -> str:
    return at.strftime("%H:%M:%S")
