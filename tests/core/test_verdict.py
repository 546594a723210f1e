"""Verdicts, conditions, dropped fields: small pure functions by table."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import at
from proctor.api import names
from proctor.api.scalars import OnFlaky, Verdict
from proctor.core import conditions, fields, verdict
from proctor.core.results import Failure, Trouble
from proctor.core.verdict import Judgment


@pytest.mark.parametrize("order", list(itertools.permutations(Verdict, 2)))
def test_worst_is_by_rank_whatever_the_order(order: tuple[Verdict, Verdict]) -> None:
    rank = ["Failed", "Error", "Inconclusive", "Passed"]
    found = verdict.worst(Judgment(one, "", "") for one in order)
    assert found is not None
    assert found.verdict == min(order, key=rank.index)


def test_worst_is_the_first_among_equals_and_none_of_none() -> None:
    first, second = Judgment(Verdict.ERROR, "A", ""), Judgment(Verdict.ERROR, "B", "")
    assert verdict.worst([Judgment(Verdict.PASSED, "", ""), first, second]) is first
    assert verdict.worst([]) is None


@pytest.mark.parametrize(
    ("counts", "trouble", "on_flaky", "want", "says"),
    [
        ({"passed": 3}, None, "Pass", "Passed", "3 tests passed"),
        ({"passed": 3, "skipped": 2}, None, "Pass", "Passed", "3 tests passed"),
        ({"passed": 3, "failed": 2}, None, "Pass", "TestsFailed", "2 of 5 tests failed: t: it broke"),
        ({"failed": 1, "error": 1}, None, "Pass", "TestsFailed", "1 of 2 tests failed"),
        ({"failed": 1}, Trouble("OOMKilled", "boom"), "Pass", "TestsFailed", "also OOMKilled: boom"),
        ({"passed": 9}, Trouble("OOMKilled", "boom"), "Pass", "OOMKilled", "boom"),
        ({"passed": 1, "error": 2}, None, "Pass", "TestErrors", "2 of 3 tests broke outside the test itself"),
        ({"passed": 1, "flaky": 2}, None, "Pass", "PassedWithFlakes", "2 of 3 tests failed, then passed"),
        ({"passed": 1, "flaky": 2}, None, "Fail", "FlakyTests", "2 of 3 tests failed, then passed"),
        ({"flaky": 1, "error": 1}, None, "Fail", "TestErrors", "1 of 2"),
        ({}, None, "Pass", "NoTestsExecuted", "no test was executed (none was collected)"),
        ({"skipped": 4}, None, "Pass", "NoTestsExecuted", "(4 skipped)"),
        ({"skipped": 4, "quarantined": 1}, None, "Pass", "NoTestsExecuted", "(4 skipped, 1 quarantined)"),
        ({"skipped": 4}, Trouble("Evicted", "gone"), "Pass", "Evicted", "gone"),
    ],
)
def test_a_step_is_judged_with_its_numbers(
    counts: dict[str, int], trouble: Trouble | None, on_flaky: str, want: str, says: str
) -> None:
    failures = [Failure("t", "failed", "it broke")]
    found = verdict.judge_step(counts, failures, trouble, OnFlaky(on_flaky), evidence={}, minimum={})
    assert found.reason == want
    assert says in found.message


@pytest.mark.parametrize(
    ("counts", "trouble", "on_flaky", "evidence", "want", "says"),
    [
        ({"passed": 3}, None, "Pass", {"requests": 200, "tenants": 5}, "Passed", "3 tests passed"),
        ({"passed": 3}, None, "Pass", {"requests": 999, "tenants": 5, "other": 1}, "Passed", "3 tests passed"),
        (
            {"passed": 3},
            None,
            "Pass",
            {"requests": 199, "tenants": 5},
            "InsufficientEvidence",
            "evidence requests: 199 of at least 200",
        ),
        (
            {"passed": 3},
            None,
            "Pass",
            {"request": 200},
            "InsufficientEvidence",
            "evidence requests: 0 of at least 200, tenants: 0 of at least 5",
        ),
        ({"passed": 3, "flaky": 1}, None, "Pass", {"tenants": 5}, "InsufficientEvidence", "requests: 0 of at least"),
        ({"passed": 3, "flaky": 1}, None, "Pass", {"requests": 200, "tenants": 5}, "PassedWithFlakes", "1 of 4"),
        # What is worse is told instead.
        ({"passed": 3, "flaky": 1}, None, "Fail", {}, "FlakyTests", "1 of 4"),
        ({"passed": 3, "failed": 1}, None, "Pass", {}, "TestsFailed", "1 of 4"),
        ({"passed": 3, "error": 1}, None, "Pass", {}, "TestErrors", "1 of 4"),
        ({"passed": 3}, Trouble("OOMKilled", "boom"), "Pass", {}, "OOMKilled", "boom"),
        ({"skipped": 3}, None, "Pass", {}, "NoTestsExecuted", "3 skipped"),
    ],
)
def test_a_step_must_have_seen_enough(
    counts: dict[str, int], trouble: Trouble | None, on_flaky: str, evidence: dict[str, int], want: str, says: str
) -> None:
    minimum = {"tenants": 5, "requests": 200}
    found = verdict.judge_step(counts, [], trouble, OnFlaky(on_flaky), evidence=evidence, minimum=minimum)
    assert found.reason == want
    assert says in found.message
    if want == "InsufficientEvidence":
        assert found.verdict is Verdict.INCONCLUSIVE


@given(
    counts=st.fixed_dictionaries(
        {name: st.integers(0, 3) for name in ("passed", "failed", "error", "skipped", "flaky", "quarantined")}
    ),
    trouble=st.sampled_from([None, Trouble("Evicted", "gone")]),
    on_flaky=st.sampled_from(OnFlaky),
    evidence=st.dictionaries(st.sampled_from("ab"), st.integers(0, 2)),
    minimum=st.dictionaries(st.sampled_from("ab"), st.integers(1, 2)),
)
def test_a_pass_needs_an_executed_test_enough_evidence_and_nothing_bad(
    counts: dict[str, int],
    trouble: Trouble | None,
    on_flaky: OnFlaky,
    evidence: dict[str, int],
    minimum: dict[str, int],
) -> None:
    found = verdict.judge_step(counts, [], trouble, on_flaky, evidence=evidence, minimum=minimum).verdict
    enough = all(evidence.get(name, 0) >= least for name, least in minimum.items())
    clean = not counts["failed"] and not counts["error"] and trouble is None
    may_pass = clean and counts["passed"] + counts["flaky"] > 0 and not (counts["flaky"] and on_flaky is OnFlaky.FAIL)
    assert (found is Verdict.PASSED) == (may_pass and enough)
    assert may_pass <= (found in (Verdict.PASSED, Verdict.INCONCLUSIVE))
    if counts["failed"]:
        assert found is Verdict.FAILED


def put(before: Any, status: Any, reason: str, now: float, message: str = "") -> Any:
    return conditions.put(before, names.STARTED, status, reason, message, now=at(now), generation=int(now))


def test_conditions_keep_the_time_of_their_last_change() -> None:
    first = put([], "False", "Waiting", 1)
    again = put(first, "False", "Pulling", 2)
    assert (again[0].last_transition_time, again[0].reason, again[0].observed_generation) == (at(1), "Pulling", 2)
    changed = put(again, "True", "Started", 3)
    assert changed[0].last_transition_time == at(3)


def test_conditions_stay_in_place_and_cut_long_messages() -> None:
    other = conditions.put([], names.ACCEPTED, "True", "x", "", now=at(0), generation=1)
    both = put(put(other, "True", "a", 1), "False", "b", 2, "m" * 5000)
    assert [condition.type for condition in both] == [names.ACCEPTED, names.STARTED]
    assert len(both[1].message) == 1000
    assert both[1].message.endswith("...")
    assert conditions.get(both, names.FINISHED) is None


@pytest.mark.parametrize(
    ("applied", "stored", "lost"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 1, "defaulted": 2}, []),
        ({"a": 1, "typo": 1}, {"a": 1}, ["spec.typo"]),
        ({"a": {"b": {"typo": 1}}}, {"a": {"b": {}}}, ["spec.a.b.typo"]),
        ({"s": [{"name": "x"}, {"shard": 2}]}, {"s": [{"name": "x"}, {}]}, ["spec.s[1].shard"]),
        ({"gone": None}, {}, []),
        ({"z": 1, "b": {}}, {}, ["spec.b", "spec.z"]),
        ({"args": ["a"]}, {"args": ["a"]}, []),
    ],
)
def test_dropped_fields_are_found_by_path(applied: Any, stored: Any, lost: list[str]) -> None:
    text = json.dumps({"kind": "TestSuite", "spec": applied})
    assert fields.dropped({names.ANNOTATION_LAST_APPLIED: text}, stored) == lost


@pytest.mark.parametrize("text", [None, "", "not json", "[]", "null", "3", '{"spec": 3}', "{}"])
def test_an_annotation_that_says_nothing_accuses_nobody(text: str | None) -> None:
    annotations = {} if text is None else {names.ANNOTATION_LAST_APPLIED: text}
    assert fields.dropped(annotations, {"a": 1}) == []
