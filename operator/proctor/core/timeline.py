"""What the observer saw and what a fault agent did, as sealed reports in their termination messages.

All times are epoch milliseconds. Standard library and Python 3.10 only: the runner imports this in its own image.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from proctor.core.envelope import MAX_BYTES, IncompleteReport, seal, shortened, unseal

TARGET, PROBE, CONTROL = "target", "probe", "control"
ROLES = (TARGET, PROBE, CONTROL)
RECOVERED, NO_LOSS, DEADLINE, STOPPED, BAD_BASELINE = "Recovered", "NoLoss", "Deadline", "Stopped", "BadBaseline"
ENDS = (RECOVERED, NO_LOSS, DEADLINE, STOPPED, BAD_BASELINE)
MAX_MESSAGE = 300
MAX_ERROR = 120
MAX_LOSSES = 64
"""Of one track; what an observer sees beyond these it counts only."""
MAX_PROCESSES = 40
_MAX_TIME = 10**14


class TooManyTracks(ValueError):
    """A timeline of so many tracks does not fit into a report. The text says how many there are."""


@dataclass(frozen=True)
class Loss:
    """From the start of the first failing sample to the start of the first good one after it; None: to the end."""

    start: int
    end: int | None = None


@dataclass(frozen=True)
class Track:
    """What the checks of one thing gave: a target, a probe, or the control, which no fault should touch.

    `losses` holds the first and the last ones; `omitted` of those between them are only counted.
    `failed` of the `samples` failed, and `error` is the first reason.
    """

    name: str
    role: str
    losses: tuple[Loss, ...] = ()
    samples: int = 0
    failed: int = 0
    error: str = ""
    omitted: int = 0


@dataclass(frozen=True)
class Held:
    """The connection to one target that was opened before the fault: when its end was noticed, and why it ended."""

    name: str
    lost_at: int | None = None
    error: str = ""


@dataclass(frozen=True)
class Timeline:
    """What an observer saw. `end` is None while it watches, and then one of ENDS.

    Nothing before `good_at` counts: until then the observer makes sure that all is well.
    """

    experiment: str
    pod: str
    good: bool = False
    message: str = ""
    good_at: int | None = None
    ended_at: int | None = None
    end: str | None = None
    tracks: tuple[Track, ...] = ()
    held: tuple[Held, ...] = ()

    @property
    def first_losses(self) -> dict[str, int | None]:
        """When each target's first loss was noticed, on a new connection or on the held one; None for no loss."""
        found: dict[str, int | None] = {}
        of_targets = [track for track in self.tracks if track.role == TARGET and track.losses]
        for held in self.held:
            new = [track.losses[0].start for track in of_targets if track.name == held.name]
            found[held.name] = min([*new, *([] if held.lost_at is None else [held.lost_at])], default=None)
        return found


@dataclass(frozen=True)
class Deed:
    """What a fault agent did, or why it did nothing (`error`, one word, and `message`).

    `complete` is false in the trace that an agent leaves before it acts, and stays so if the act ends the agent too.
    A fault lies within `injected_at` and `healed_at`, or `deadline` when the kernel heals it. `left` are the ports
    that were still cut when `uncut` came. `replicas` is what a scale was set back to.
    """

    experiment: str
    action: str
    complete: bool = False
    injected_at: int | None = None
    deadline: int | None = None
    healed_at: int | None = None
    left: int | None = None
    killed: tuple[str, ...] = ()
    paused: tuple[str, ...] = ()
    replicas: int | None = None
    interrupted: bool = False
    error: str = ""
    message: str = ""


def encode(timeline: Timeline) -> str:
    """Return the timeline as one line of at most MAX_BYTES bytes.

    Texts are cut first, then losses from the middle of their tracks: the first and the last of each track stay.
    Raises TooManyTracks when that is not enough.
    """
    for message, error, losses in _SIZES:
        line = seal(_body(timeline, message, error, losses))
        if len(line) <= MAX_BYTES:
            return line
    raise TooManyTracks(f"the report of {len(timeline.tracks)} checks does not fit into {MAX_BYTES} bytes")


_SIZES = ((MAX_MESSAGE, MAX_ERROR, MAX_LOSSES), *((200, 60, losses) for losses in (32, 16, 8, 4, 2)), (100, 0, 2))


def decode(message: str, *, experiment: str, pod: str) -> Timeline:
    """Return the timeline in an observer's termination message.

    Raises IncompleteReport when it is missing, damaged, malformed, or of another experiment or pod.
    """
    body = unseal(message)
    try:
        timeline = Timeline(
            experiment=str(body["experiment"]),
            pod=str(body["pod"]),
            good=body["good"] is True,
            message=str(body["message"]),
            good_at=_time(body["good_at"]),
            ended_at=_time(body["ended_at"]),
            end=_one_of(body["end"], ENDS) if body["complete"] is True else None,
            tracks=tuple(_track(one) for one in body["tracks"]),
            held=tuple(
                Held(str(one["name"]), _time(one.get("lost_at")), str(one.get("error", ""))) for one in body["held"]
            ),
        )
        if timeline.good and timeline.good_at is None:
            raise ValueError("good, but not since when")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise IncompleteReport(f"the timeline is malformed ({type(error).__name__})") from None
    for what, want, got in (("experiment", experiment, timeline.experiment), ("pod", pod, timeline.pod)):
        if want != got:
            raise IncompleteReport(f"the timeline was made for another {what}")
    return timeline


def encode_deed(deed: Deed) -> str:
    """Return the deed as one line of at most MAX_BYTES bytes. What is not set is left out."""
    deed = replace(
        deed,
        message=shortened(deed.message, MAX_MESSAGE),
        killed=tuple(shortened(name, 20) for name in deed.killed[:MAX_PROCESSES]),
        paused=tuple(shortened(name, 20) for name in deed.paused[:MAX_PROCESSES]),
    )
    return seal({key: value for key, value in asdict(deed).items() if key == "complete" or value not in (None, "", ())})


def decode_deed(message: str, *, experiment: str, action: str) -> Deed:
    """Return the deed in a fault agent's termination message.

    Raises IncompleteReport when it is missing, damaged, malformed, or of another experiment or action.
    """
    body = unseal(message)
    known = {field.name for field in fields(Deed)}
    try:
        deed = Deed(**{key: value for key, value in body.items() if key in known})
        for moment in (deed.injected_at, deed.deadline, deed.healed_at):
            _time(moment)
        for count in (deed.left, deed.replicas):
            _ = None if count is None else _count(count)
        deed = replace(
            deed,
            complete=deed.complete is True,
            killed=tuple(str(name) for name in deed.killed),
            paused=tuple(str(name) for name in deed.paused),
            interrupted=deed.interrupted is True,
            error=str(deed.error),
            message=str(deed.message),
        )
    except (ValueError, TypeError) as error:
        raise IncompleteReport(f"the agent's report is malformed ({type(error).__name__})") from None
    for what, want, got in (("experiment", experiment, deed.experiment), ("action", action, deed.action)):
        if want != got:
            raise IncompleteReport(f"the agent's report was made for another {what}")
    return deed


def _body(timeline: Timeline, message: int, error: int, losses: int) -> dict[str, Any]:
    body = asdict(replace(timeline, message=shortened(timeline.message, message)))
    body["complete"] = timeline.end is not None
    body["tracks"] = [dict(_track_entries(track, error, losses)) for track in timeline.tracks]
    body["held"] = [
        {
            "name": held.name,
            "lost_at": held.lost_at,
            **({"error": shortened(held.error, error)} if held.error and error else {}),
        }
        for held in timeline.held
    ]
    return body


def _track_entries(track: Track, error: int, most: int) -> Iterator[tuple[str, object]]:
    """Yield the key-value pairs of a track with its first loss and its last ones, `most` together."""
    kept = track.losses if len(track.losses) <= most else (track.losses[0], *track.losses[1 - most :])
    omitted = track.omitted + len(track.losses) - len(kept)
    yield from (("name", track.name), ("role", track.role), ("samples", track.samples), ("failed", track.failed))
    yield "losses", [[loss.start, loss.end] for loss in kept]
    if track.error and error:
        yield "error", shortened(track.error, error)
    if omitted:
        yield "omitted", omitted


def _track(value: dict[str, Any]) -> Track:
    losses = tuple(Loss(_set(_time(start)), _time(end)) for start, end in value["losses"])
    moments = [moment for loss in losses for moment in (loss.start, loss.end)]
    if None in moments[:-1]:
        raise ValueError("a loss without end is the last one")
    told = [moment for moment in moments if moment is not None]
    if told != sorted(told):
        raise ValueError("losses are in order")
    return Track(
        name=str(value["name"]),
        role=_one_of(value["role"], ROLES),
        losses=losses,
        samples=_count(value["samples"]),
        failed=_count(value["failed"]),
        error=str(value.get("error", "")),
        omitted=_count(value.get("omitted", 0)),
    )


def _time(value: object) -> int | None:
    if value is not None and (type(value) is not int or not 0 <= value < _MAX_TIME):
        raise ValueError("a time is whole milliseconds since 1970")
    return value


def _set(value: int | None) -> int:
    if value is None:
        raise ValueError("a loss has a start")
    return value


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("a count is a whole number from 0")
    return value


def _one_of(value: object, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ValueError(f"{value!r} is unknown")
    return str(value)
