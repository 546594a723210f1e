"""The summary's wire format: what is written is read back, and what was damaged or made for another is refused."""

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proctor.api.names import EVIDENCE_NAME, MAX_EVIDENCE
from proctor.core.envelope import MAX_BYTES, IncompleteReport
from proctor.core.results import (
    MAX_COUNT,
    MAX_LINE,
    MAX_TEST,
    OUTCOMES,
    Failure,
    Summary,
    TestSet,
    Trouble,
    add_up,
    bounded,
    decode,
    digest_of,
    encode,
)

WHO: dict[str, Any] = {"run": "run-uid", "step": "step", "index": 2, "pod": "pod-uid"}

# Paired surrogates are left out: JSON cannot tell them from the character that they make. At 12 bytes a character at
# most, 16 of them fit into a line uncut.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=16)
test_sets = st.none() | st.builds(digest_of, st.sets(text, max_size=5))
failures = st.builds(Failure, text, st.sampled_from(OUTCOMES), text)
summaries = st.builds(
    Summary,
    **{key: st.just(value) for key, value in WHO.items()},
    complete=st.booleans(),
    counts=st.fixed_dictionaries({name: st.integers(0, 10**6) for name in OUTCOMES}),
    evidence=st.dictionaries(st.from_regex(EVIDENCE_NAME, fullmatch=True), st.integers(0, 10**9), max_size=4),
    collection=test_sets,
    part=test_sets,
    in_flight=st.none() | text.filter(bool),
    trouble=st.none() | st.builds(Trouble, text, text),
    failures=st.lists(failures, max_size=4).map(tuple),
    omitted=st.integers(0, 10**6),
)


@settings(deadline=None)
@given(summaries)
def test_what_fits_is_read_back_as_it_was(summary: Summary) -> None:
    line = encode(summary)
    assert len(line.encode()) <= MAX_BYTES
    assert "\n" not in line
    if decode(line, **WHO).omitted == summary.omitted:
        assert decode(line, **WHO) == summary


@settings(deadline=None)
@given(summaries, st.data())
def test_a_changed_byte_never_makes_another_summary(summary: Summary, data: st.DataObject) -> None:
    content = bytearray(encode(summary).encode())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
    expected = decode(encode(summary), **WHO)
    with suppress(IncompleteReport):
        assert decode(content.decode("utf-8", "replace"), **WHO) == expected


def test_every_changed_byte_of_one_summary_is_noticed() -> None:
    summary = Summary(**WHO, counts=dict.fromkeys(OUTCOMES, 1), failures=(Failure("t", "failed", "é"),))
    line = encode(summary)
    for place in range(len(line)):
        changed = line[:place] + chr(ord(line[place]) ^ 1) + line[place + 1 :]
        with suppress(IncompleteReport):
            assert decode(changed, **WHO) == summary


@settings(deadline=None)
@given(summaries, st.data())
def test_a_cut_summary_is_refused(summary: Summary, data: st.DataObject) -> None:
    line = encode(summary)
    cut = data.draw(st.integers(1, len(line) - 1))
    for part in (line[:cut], line[cut:]):
        with pytest.raises(IncompleteReport):
            decode(part, **WHO)


@pytest.mark.parametrize("what", ["run", "step", "index", "pod"])
def test_a_summary_of_another_is_refused(what: str) -> None:
    line = encode(Summary(**WHO))
    assert decode(line, **WHO).run == "run-uid"
    with pytest.raises(IncompleteReport, match=f"another {what}"):
        decode(line, **{**WHO, what: 3 if what == "index" else "other"})


def _sealed(body: Any, **changes: Any) -> str:
    """Return an envelope whose length and digest fit, whatever is in it, as a forger could write it."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    sha256 = hashlib.sha256(canonical.encode()).hexdigest()
    return json.dumps({"v": 1, "bytes": len(canonical), "sha256": sha256, "body": body} | changes)


def _body(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(encode(Summary(**WHO)))["body"]
    return body | changes


@pytest.mark.parametrize(
    "message",
    [
        "",
        "  \n",
        "OOM",
        "[]",
        "null",
        "[" * 3000,
        "{}",
        "\ud800",
        "9" * 3000,
        "x" * (MAX_BYTES + 1),
        _sealed(None),
        _sealed([]),
        _sealed({}),
        _sealed(_body(counts=[])),
        _sealed(_body(counts={"passed": -1})),
        _sealed(_body(counts={"passed": float("inf")})),
        _sealed(_body(index=float("nan"))),
        _sealed(_body(omitted=-1)),
        _sealed(_body(collection={"count": 1, "digest": "z" * 64})),
        _sealed(_body(part={"count": 1, "digest": "0"})),
        _sealed(_body(part="all")),
        _sealed(_body(trouble="none")),
        _sealed(_body(failures=[["too", "short"]])),
        _sealed(_body(failures=7)),
        _sealed(_body(evidence=["requests"])),
        _sealed(_body(evidence={"requests": -1})),
        _sealed(_body(evidence={"requests": "many"})),
        _sealed(_body(evidence={"requests": MAX_COUNT + 1})),
        _sealed(_body(evidence={"Requests": 1})),
        _sealed(_body(evidence={"r" * 33: 1})),
        _sealed(_body(evidence={f"n{n}": 1 for n in range(MAX_EVIDENCE + 1)})),
        _sealed(_body(), v=2),
        _sealed(_body(), bytes=1),
        _sealed(_body(), sha256="0" * 64),
    ],
)
def test_what_is_no_summary_is_refused(message: str) -> None:
    with pytest.raises(IncompleteReport):
        decode(message, **WHO)


def test_the_forger_of_those_cases_could_have_made_a_valid_one() -> None:
    assert decode(_sealed(_body(counts={"passed": 4})), **WHO).counts["passed"] == 4


def test_a_summary_of_a_runner_that_knows_no_evidence_has_none() -> None:
    body = _body(counts={"passed": 4})
    del body["evidence"]
    assert decode(_sealed(body), **WHO).evidence == {}


def test_evidence_is_bounded_and_what_is_wanted_stays() -> None:
    seen = {f"{letter * 31}{n}": 10**18 for letter in "az" for n in range(9)} | {"wanted": 7}
    kept = bounded(seen, {"wanted", "z" * 31 + "8", "unseen"})
    assert len(kept) == MAX_EVIDENCE
    assert kept["wanted"] == 7
    assert kept["z" * 31 + "8"] == MAX_COUNT
    summary = Summary(**WHO, trouble=Trouble("OOMKilled", "é" * 999), in_flight="é" * 999, evidence=kept)
    line = encode(
        replace(summary, collection=digest_of("a"), part=digest_of("a"), counts=dict.fromkeys(OUTCOMES, 9**9))
    )
    assert len(line.encode()) <= MAX_BYTES - MAX_LINE - MAX_TEST, "no room for a failure is left"
    assert decode(line, **WHO).evidence == kept


@pytest.mark.parametrize("character", ["x", "é", "\x00", "😀", '"', "\udc80"])
def test_too_many_failures_are_dropped_from_the_end_and_counted(character: str) -> None:
    many = tuple(Failure(f"test_{n}" + character * 400, "failed", character * 900) for n in range(2000))
    trouble = Trouble("RunnerCrashed", character * 2000)
    line = encode(Summary(**WHO, in_flight=character * 2000, trouble=trouble, failures=many, omitted=5))
    assert len(line.encode()) <= MAX_BYTES
    summary = decode(line, **WHO)
    assert summary.omitted == 2005 - len(summary.failures)
    assert [failure.test[:6] for failure in summary.failures] == [f"test_{n}" for n in range(len(summary.failures))]
    assert summary.failures
    for failure in summary.failures:
        assert len(json.dumps(failure.test)) <= MAX_TEST
        assert len(json.dumps(failure.line)) <= MAX_LINE
        assert failure.line.endswith("...")


def test_the_room_of_a_summary_is_used() -> None:
    summary = Summary(**WHO, failures=tuple(Failure(f"test_{n}", "failed", "why") for n in range(500)))
    assert len(encode(summary)) > MAX_BYTES - 60
    assert decode(encode(replace(summary, failures=summary.failures[:20])), **WHO).omitted == 0


@settings(deadline=None)
@given(st.lists(st.sets(st.text(max_size=8), max_size=6), max_size=5))
def test_disjoint_parts_add_up_to_the_whole(parts: list[set[str]]) -> None:
    whole: set[str] = set().union(*parts)
    disjoint = [part - set().union(*parts[:n]) for n, part in enumerate(parts)]
    assert add_up(digest_of(part) for part in disjoint) == digest_of(whole)


@settings(deadline=None)
@given(st.lists(st.text(max_size=8), max_size=8), st.randoms())
def test_a_digest_knows_no_order_and_no_repetition(node_ids: list[str], random: Any) -> None:
    shuffled = [*node_ids, *node_ids[:3]]
    random.shuffle(shuffled)
    assert digest_of(shuffled) == digest_of(node_ids)


def test_an_overlap_or_a_gap_does_not_add_up() -> None:
    whole = digest_of("abc")
    assert add_up([digest_of("ab"), digest_of("bc")]) != whole
    assert add_up([digest_of("a"), digest_of("b")]) != whole
    assert add_up([digest_of("ab"), digest_of("d")]) != whole
    assert add_up([]) == digest_of([]) == TestSet(0, "0" * 64)
    assert digest_of(["\ud800"]) != digest_of(["\udc80"])
