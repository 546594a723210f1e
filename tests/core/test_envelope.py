"""The envelope: any body comes back as it was, and no damage goes unseen."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proctor.core.envelope import MAX_BYTES, IncompleteReport, canonical, seal, shortened, unseal

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
bodies = st.dictionaries(text, values, max_size=5).filter(lambda body: len(seal(body)) <= MAX_BYTES)


@settings(deadline=None)
@given(bodies, st.sampled_from(["", "\n", "  \n"]))
def test_a_body_comes_back_as_it_was(body: dict[str, Any], space: str) -> None:
    line = seal(body)
    assert "\n" not in line
    assert line.isascii()
    assert unseal(space + line + space) == body


@settings(deadline=None)
@given(bodies, st.data())
def test_a_changed_byte_never_makes_another_body(body: dict[str, Any], data: st.DataObject) -> None:
    content = bytearray(seal(body).encode())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
    with suppress(IncompleteReport):
        assert unseal(content.decode("utf-8", "replace")) == body


@settings(deadline=None)
@given(bodies, st.data())
def test_what_the_kubelet_cut_off_is_noticed(body: dict[str, Any], data: st.DataObject) -> None:
    line = seal(body)
    place = data.draw(st.integers(1, len(line) - 1))
    for part in (line[:place], line[place:]):
        with pytest.raises(IncompleteReport):
            unseal(part)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("killed", "is not a report"),
        ("{}", "is not a report"),
        ("[" * 3000, "is not a report"),
        (seal({}) + seal({}), "is not a report"),
        ("x" * (MAX_BYTES + 1), f"more than {MAX_BYTES}"),
        ("é" * (MAX_BYTES // 2 + 1), f"more than {MAX_BYTES}"),
        (seal({"a": 1}).replace('"v":1', '"v":2'), "version 2 is unknown"),
        (seal({"a": 1}).replace('"a":1', '"a":2'), "does not match"),
        (seal({"a": 1}).replace('"bytes":7', '"bytes":8'), "does not match"),
        (seal([1, 2]), "no object"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_report_is_refused_with_its_reason(message: str, says: str) -> None:
    with pytest.raises(IncompleteReport, match=says):
        unseal(message)


def test_the_order_of_keys_and_the_space_between_them_do_not_matter() -> None:
    envelope = json.loads(seal({"b": [1, {"d": 2, "c": 3}], "a": None}))
    loose = json.dumps(dict(reversed(envelope.items())), indent=1)
    assert unseal(loose) == {"a": None, "b": [1, {"c": 3, "d": 2}]}


@settings(deadline=None)
@given(st.text(max_size=80), st.integers(8, 60))
def test_a_shortened_text_fits_and_says_that_it_was_cut(whole: str, limit: int) -> None:
    short = shortened(whole, limit)
    assert len(canonical(short)) <= limit
    assert short == whole or (short.endswith("...") and whole.startswith(short[:-3]))
    if len(canonical(whole)) <= limit:
        assert short == whole
