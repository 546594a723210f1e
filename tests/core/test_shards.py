"""The partition of a collection: complete, disjoint, the same for every pod, and near the best makespan."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proctor.core.shards import part

ids = st.lists(st.text(max_size=6), max_size=30)
seconds = st.floats(0, 1e6, allow_nan=False)


@settings(deadline=None)
@given(ids, st.dictionaries(st.text(max_size=6), seconds, max_size=20), st.integers(1, 6))
def test_parts_are_complete_disjoint_and_keep_the_order(
    node_ids: list[str], durations: dict[str, float], shards: int
) -> None:
    parts = [part(node_ids, durations, shards, index) for index in range(shards)]
    assert sorted(one for mine in parts for one in mine) == sorted(node_ids)
    assert sum(len(set(mine)) for mine in parts) == len(set(node_ids))
    for mine in parts:
        kept = set(mine)
        assert mine == [one for one in node_ids if one in kept]


@settings(deadline=None)
@given(ids, st.dictionaries(st.text(max_size=6), seconds, max_size=20), st.integers(1, 6), st.randoms())
def test_the_order_of_collection_does_not_matter(
    node_ids: list[str], durations: dict[str, float], shards: int, random: Any
) -> None:
    shuffled = list(node_ids)
    random.shuffle(shuffled)
    for index in range(shards):
        assert set(part(shuffled, durations, shards, index)) == set(part(node_ids, durations, shards, index))


@given(st.lists(st.integers(1, 100), min_size=1, max_size=7), st.integers(2, 3))
@settings(deadline=None)  # The machine may be busy, and the best partition is searched by trying all.
def test_the_longest_shard_is_within_a_third_of_the_best(lengths: list[int], shards: int) -> None:
    durations = {f"t{n}": float(length) for n, length in enumerate(lengths)}
    ours = max(sum(durations[one] for one in part(list(durations), durations, shards, i)) for i in range(shards))
    best = min(
        max(sum(length for length, shard in zip(lengths, choice, strict=True) if shard == i) for i in range(shards))
        for choice in product(range(shards), repeat=len(lengths))
    )
    assert ours <= best * (4 / 3 - 1 / (3 * shards)) + 1e-9


@pytest.mark.parametrize(
    ("durations", "shards", "expected"),
    [
        ({}, 1, ["abcdef"]),
        ({}, 2, ["ace", "bdf"]),
        ({}, 3, ["ad", "be", "cf"]),
        ({"f": 5.0, "a": 1.0, "b": 1.0}, 2, ["f", "abcde"]),
        ({"a": 10.0, "b": 6.0, "c": 5.0, "d": 4.0, "e": 3.0, "f": 2.0}, 2, ["adf", "bce"]),
        ({}, 8, ["a", "b", "c", "d", "e", "f", "", ""]),
    ],
)
def test_examples(durations: dict[str, float], shards: int, expected: list[str]) -> None:
    assert ["".join(part(list("abcdef"), durations, shards, index)) for index in range(shards)] == expected


def test_a_test_without_a_duration_counts_as_the_median() -> None:
    # With a mean of 34 s `x` would be alone; with the median of 1 s it shares a shard.
    durations = {"a": 100.0, "b": 1.0, "c": 1.0}
    assert part(["a", "b", "c", "x"], durations, 2, 1) == ["b", "c", "x"]


@pytest.mark.parametrize(("shards", "index"), [(1, 1), (2, -1), (0, 0)])
def test_a_shard_that_does_not_exist_is_an_error(shards: int, index: int) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        part(["a"], {}, shards, index)
