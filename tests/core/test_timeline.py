"""What observer and agents say survives its way, and what has no room in a report is counted."""

from dataclasses import replace
from itertools import accumulate, cycle, islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proctor.core.envelope import MAX_BYTES, IncompleteReport, seal, unseal
from proctor.core.timeline import (
    ENDS,
    MAX_LOSSES,
    ROLES,
    TARGET,
    Deed,
    Held,
    Loss,
    Timeline,
    TooManyTracks,
    Track,
    decode,
    decode_deed,
    encode,
    encode_deed,
)

WHO: dict[str, Any] = {
    "experiment": "11111111-2222-3333-4444-555555555555",
    "pod": "99999999-8888-7777-6666-555555555555",
}
BEGAN = 1_764_000_000_000

names = st.from_regex(r"[a-z][a-z0-9-]{0,40}", fullmatch=True)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)


@st.composite
def losses(draw: st.DrawFn) -> tuple[Loss, ...]:
    """As many as there may be, as often as few; the last one may have no end."""
    count = draw(st.integers(0, 2 * MAX_LOSSES))
    lengths = draw(st.lists(st.integers(0, 10**6), min_size=1, max_size=5))
    moments = [BEGAN + moment for moment in accumulate(islice(cycle(lengths), count))]
    return tuple(Loss(*moments[n : n + 2]) for n in range(0, count, 2))


tracks = st.builds(
    Track,
    names,
    st.sampled_from(ROLES),
    losses(),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    text,
    st.integers(0, 10**6),
)
held = st.builds(Held, names, st.none() | st.integers(BEGAN, BEGAN + 10**6), text)
timelines = st.builds(
    Timeline,
    st.just(WHO["experiment"]),
    st.just(WHO["pod"]),
    st.just(True),
    text,
    st.just(BEGAN),
    st.none() | st.just(BEGAN + 10**6),
    st.none() | st.sampled_from(ENDS),
    st.lists(tracks, max_size=9).map(tuple),
    st.lists(held, max_size=3).map(tuple),
)


@settings(deadline=None)
@given(timelines)
def test_whatever_was_seen_fits_and_what_is_cut_is_counted(timeline: Timeline) -> None:
    line = encode(timeline)
    assert len(line.encode()) <= MAX_BYTES
    told = decode(line, **WHO)
    for field in ("experiment", "pod", "good", "good_at", "ended_at", "end"):
        assert getattr(told, field) == getattr(timeline, field)
    assert unseal(line)["complete"] is (timeline.end is not None)
    assert len(told.tracks) == len(timeline.tracks)
    for seen, kept in zip(timeline.tracks, told.tracks, strict=True):
        assert (kept.name, kept.role, kept.samples, kept.failed) == (seen.name, seen.role, seen.samples, seen.failed)
        assert kept.omitted - seen.omitted == len(seen.losses) - len(kept.losses)
        assert kept.losses[:1] == seen.losses[:1], "the first loss is what proves an effect"
        assert kept.losses[-1:] == seen.losses[-1:], "the last loss is what tells of recovery"
        assert set(kept.losses) <= set(seen.losses)
    assert [(one.name, one.lost_at) for one in told.held] == [(one.name, one.lost_at) for one in timeline.held]
    assert told.first_losses == timeline.first_losses


def _track(n: int, losses: int, error: str = "connection refused") -> Track:
    kept = tuple(Loss(BEGAN + 1000 * step, BEGAN + 1000 * step + 500) for step in range(losses))
    return Track(f"orchestrator-7d9f8b6c5-x{n:04}", TARGET, kept, 1000, 400, error)


def test_what_fits_is_kept_whole() -> None:
    timeline = Timeline(
        **WHO,
        good=True,
        message="all is well again",
        good_at=BEGAN,
        ended_at=BEGAN + 20_000,
        end="Recovered",
        tracks=(
            _track(1, 5),
            Track("checkout", "probe", (), 80),
            Track("nameserver", "control", (Loss(BEGAN),), 80, 1),
        ),
        held=(Held("nats-0", BEGAN + 7, "closed by the peer"), Held("nats-1")),
    )
    assert decode(encode(timeline), **WHO) == timeline


def test_the_room_is_used_before_losses_are_cut() -> None:
    timeline = Timeline(**WHO, good=True, good_at=BEGAN, tracks=(_track(1, 60, "é" * 4000),))
    told = decode(encode(timeline), **WHO)
    assert len(told.tracks[0].losses) == 60
    assert told.tracks[0].error.startswith("éé")


def test_ten_targets_and_eight_probes_have_room() -> None:
    crowd = tuple(_track(n, 64) for n in range(10)) + tuple(replace(_track(n, 64), role="probe") for n in range(8))
    timeline = Timeline(**WHO, good=True, good_at=BEGAN, tracks=crowd)
    told = decode(encode(timeline), **WHO).tracks
    assert [track.losses for track in told] == [(track.losses[0], track.losses[-1]) for track in crowd]
    assert {track.omitted for track in told} == {62}


def test_more_than_has_room_is_refused_by_number() -> None:
    with pytest.raises(TooManyTracks, match="50 checks"):
        encode(Timeline(**WHO, tracks=tuple(_track(n, 2) for n in range(50))))


def test_the_first_loss_of_a_target_is_on_whichever_connection_it_was_seen() -> None:
    late = replace(_track(1, 1), name="a", role="target", losses=(Loss(500, 900),))
    probe = replace(_track(2, 1), name="a", role="probe", losses=(Loss(1, 2),))
    assert Timeline(**WHO, tracks=(late, probe), held=(Held("a", 400), Held("b"))).first_losses == {"a": 400, "b": None}
    assert Timeline(**WHO, tracks=(late, probe), held=(Held("a"),)).first_losses == {"a": 500}
    assert Timeline(**WHO, tracks=(probe,), held=(Held("a"),)).first_losses == {"a": None}


def _body(**changes: Any) -> dict[str, Any]:
    timeline = Timeline(**WHO, good=True, good_at=BEGAN, end="NoLoss", tracks=(_track(1, 2),), held=(Held("a", 7),))
    return unseal(encode(timeline)) | changes


def _changed(**changes: Any) -> dict[str, Any]:
    return _body(tracks=[_body()["tracks"][0] | changes])


@pytest.mark.parametrize(
    "body",
    [
        {},
        _body(good_at=None),
        _body(good_at="now"),
        _body(good_at=1.5),
        _body(good_at=True),
        _body(good_at=-1),
        _body(good_at=10**15),
        _body(end="Won"),
        _body(end=None),
        _body(tracks=None),
        _body(tracks=["a"]),
        _body(held=[{}]),
        _body(held=[{"name": "a", "lost_at": "now"}]),
        _changed(role="king"),
        _changed(samples=-1),
        _changed(failed=True),
        _changed(failed=None),
        _changed(losses=[[None, 5]]),
        _changed(losses=[[5]]),
        _changed(losses=[[5, 4]]),
        _changed(losses=[[5, None], [7, 8]]),
        _changed(losses=[[5, 6], [4, 7]]),
        _changed(omitted="some"),
    ],
)
def test_what_no_observer_says_is_refused(body: dict[str, Any]) -> None:
    assert decode(seal(_body()), **WHO).tracks[0].losses[0].start == BEGAN
    with pytest.raises(IncompleteReport, match="malformed"):
        decode(seal(body), **WHO)


@pytest.mark.parametrize("what", ["experiment", "pod"])
def test_the_timeline_of_another_is_refused(what: str) -> None:
    with pytest.raises(IncompleteReport, match=f"another {what}"):
        decode(encode(Timeline(**WHO)), **WHO | {what: "other"})


def test_a_watch_that_goes_on_has_no_end() -> None:
    body = unseal(encode(Timeline(**WHO, good=True, good_at=BEGAN)))
    assert body["complete"] is False
    assert decode(seal(body | {"end": "Recovered"}), **WHO).end is None


times = st.none() | st.integers(BEGAN, BEGAN + 10**6)
deeds = st.builds(
    Deed,
    st.just("uid"),
    st.just("kill"),
    st.booleans(),
    times,
    times,
    times,
    st.none() | st.integers(0, 9),
    st.lists(st.text(max_size=16), max_size=40).map(tuple),
    st.lists(names.map(lambda name: name[:15]), max_size=40).map(tuple),
    st.none() | st.integers(0, 100),
    st.booleans(),
    st.sampled_from(["", "TooLate"]),
    text,
)


@settings(deadline=None)
@given(deeds)
def test_a_deed_is_read_back(deed: Deed) -> None:
    line = encode_deed(deed)
    assert len(line) <= MAX_BYTES
    told = decode_deed(line, experiment="uid", action="kill")
    assert replace(told, message="", killed=()) == replace(deed, message="", killed=())
    assert len(told.killed) == len(deed.killed)
    if len(deed.message) <= 20:
        assert told.message == deed.message


def test_a_deed_on_a_crowd_of_processes_names_the_first_of_them() -> None:
    line = encode_deed(Deed("uid", "pause", paused=tuple(f"\x07\x07\x07-{n}" for n in range(5000)), message="é" * 5000))
    assert len(line) <= MAX_BYTES
    assert len(decode_deed(line, experiment="uid", action="pause").paused) == 40


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"action": "cut"}, "malformed"),
        ({"experiment": "uid", "action": "cut", "injected_at": "now"}, "malformed"),
        ({"experiment": "uid", "action": "cut", "left": -1}, "malformed"),
        ({"experiment": "uid", "action": "cut", "killed": 3}, "malformed"),
        ({"experiment": "uid", "action": "kill"}, "another action"),
        ({"experiment": "other", "action": "cut"}, "another experiment"),
    ],
)
def test_what_no_agent_says_is_refused(body: dict[str, Any], says: str) -> None:
    with pytest.raises(IncompleteReport, match=says):
        decode_deed(seal(body), experiment="uid", action="cut")


def test_a_deed_of_a_newer_agent_is_read_as_far_as_it_is_known() -> None:
    line = seal({"experiment": "uid", "action": "cut", "injected_at": BEGAN, "mood": "good"})
    assert decode_deed(line, experiment="uid", action="cut") == Deed("uid", "cut", injected_at=BEGAN)
