"""The checkers of histories: each refuses what it is for, and accepts what a platform may do."""

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from suites._helpers.checkers import History, Kind, conservation, recovery, total_queue, whole_set

HOW = {"o": Kind.OK, "f": Kind.FAIL, "u": Kind.UNKNOWN}


def history(*operations: str) -> History:
    """Operations such as "a:o" (ok), "a:u" (unknown), "a:" (never completed), one after the other."""
    made = History()
    for operation in operations:
        key, _, how = operation.partition(":")
        made.note(Kind.INVOKE, key)
        if how:
            made.note(HOW[how], key)
    return made


@pytest.mark.parametrize(
    ("operations", "out", "wrong"),
    [
        (["a:o", "b:o"], "ab", {}),
        (["a:o", "b:o"], "a", {"lost": "b"}),
        (["a:o"], "", {"lost": "a"}),
        (["a:o"], "aa", {"duplicated": "a"}),
        (["a:o"], "aaa", {"duplicated": "aa"}),
        (["a:u", "a:o"], "aa", {"duplicated": "a"}),
        (["a:u", "a:u"], "aa", {"duplicated": "a", "recovered": "a"}),
        (["a:o"], "ab", {"unexpected": "b"}),
        (["a:o"], "abb", {"unexpected": "bb"}),
        (["a:f"], "a", {"unexpected": "a"}),
        (["a:f"], "", {}),
        (["a:f", "a:o"], "a", {}),
        (["a:o", "a:f"], "", {"lost": "a"}),
        (["a:u"], "a", {"recovered": "a"}),
        (["a:u"], "", {}),
        (["a:"], "a", {"recovered": "a"}),
        (["a:"], "", {}),
        (["a:o", "b:u", "c:o", "d:f"], "abbx", {"lost": "c", "unexpected": "x", "duplicated": "b", "recovered": "b"}),
    ],
)
def test_queue(operations: Sequence[str], out: str, wrong: dict[str, str]) -> None:
    found = total_queue(history(*operations), out)
    seen = {name: "".join(sorted(getattr(found, name).elements())) for name in vars(found) if getattr(found, name)}
    assert seen == wrong
    assert found.holds == (not wrong.keys() - {"recovered"})


@pytest.mark.parametrize(
    ("operations", "out", "holds"),
    [(["a:o", "b:u"], "ab", True), (["a:o", "b:u"], "a", True), (["a:o"], "", False), (["a:o"], "ab", False)],
)
def test_set(operations: Sequence[str], out: str, holds: bool) -> None:
    assert whole_set(history(*operations), out).holds is holds


def test_read_of_a_set_has_each_element_once() -> None:
    with pytest.raises(ValueError, match="'a' is twice"):
        whole_set(history("a:o"), "aa")


KEYS = st.sampled_from("abcdefgh")
OPERATIONS = st.lists(st.tuples(KEYS, st.sampled_from(["o", "f", "u", ""])), unique_by=lambda operation: operation[0])


@given(OPERATIONS, st.lists(KEYS, max_size=20))
def test_every_message_is_accounted_for_once(operations: list[tuple[str, str]], out: list[str]) -> None:
    """What came out is either unexpected, or a first coming, or a duplicate; what was lost did not come out."""
    found = total_queue(history(*(f"{key}:{how}" for key, how in operations)), out)
    how = dict(operations)
    first = {key for key in out if how.get(key) in ("o", "u", "")}
    assert found.unexpected + found.duplicated + Counter(first) == Counter(out)
    assert set(found.lost) == {key for key, end in operations if end == "o"} - set(out)
    assert set(found.recovered) == {key for key in first if how[key] != "o"}


@given(OPERATIONS, st.data())
def test_platform_that_does_all_it_said_and_some_of_what_it_did_not_is_right(
    operations: list[tuple[str, str]], data: st.DataObject
) -> None:
    said = {key for key, how in operations if how == "o"}
    unsaid = [key for key, how in operations if how in ("u", "")]
    out = said | data.draw(st.sets(st.sampled_from(unsaid)) if unsaid else st.just(set()))
    made = history(*(f"{key}:{how}" for key, how in operations))
    assert total_queue(made, out).holds
    assert whole_set(made, out).holds
    if said:
        assert not total_queue(made, out - {min(said)}).holds
        assert not total_queue(made, [*out, min(said)]).holds


def test_history_is_refused_that_cannot_be_one() -> None:
    made = history("a:")
    with pytest.raises(ValueError, match="'a' is invoked while it is open"):
        made.note(Kind.INVOKE, "a")
    with pytest.raises(ValueError, match="'b' is ok without being invoked"):
        made.note(Kind.OK, "b")
    made.note(Kind.OK, "a")
    with pytest.raises(ValueError, match="'a' is ok without being invoked"):
        made.note(Kind.OK, "a")
    assert [event.at for event in made.events] == sorted(event.at for event in made.events)


def row(key: str, debit: int, credit: int) -> dict[str, object]:
    return {"effect_key": key, "debit_cents": debit, "credit_cents": credit}


def test_money_is_conserved_in_every_entry_and_in_all() -> None:
    balanced = [row("a", 5, 0), row("a", 0, 5), row("b", 7, 0), row("b", 0, 3), row("b", 0, 4)]
    assert (conservation(balanced).entries, conservation(balanced).total) == ({}, 0)
    assert conservation(balanced[1:]).entries == {"a": -5}
    assert conservation(balanced[1:]).total == -5
    hidden = conservation([row("a", 5, 0), row("b", 0, 5)])
    assert (hidden.entries, hidden.total) == ({"a": 5, "b": -5}, 0), "two wrongs are no right"


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([0.5, 1.5, 2.5, 3.5, 4.5, 5.5], 0.0),
        ([7.0, 8.0, 9.0, 10.0, 11.0, 12.0], 7.0),
        ([0.5, 7.0, 7.1, 7.2, 10.0, 12.8, 12.9], 7.0),
        ([7.0, 7.1, 7.2, 7.3, 7.4, 7.5, 7.6], None),
        ([7.0, 7.1, 7.2, 10.1, 13.1, 13.2, 13.3, 16.4], None),
        ([0.5, 1.5, 9.0], None),
        ([], None),
        ([-3.0, -2.0, -1.0], None),
        ([15.0, 15.1, 15.2, 18.0, 18.5, 19.5], None),
    ],
)
def test_recovery_is_at_the_first_of_two_whole_windows_at_the_rate(ends: list[float], expected: float | None) -> None:
    assert recovery(ends, since=0.0, until=20.0, rate=1.0, window=3.0) == expected
