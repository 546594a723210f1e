"""What the matrix concludes from what a suite said, and which rounds it has."""

import os
import subprocess
import sys

import pytest

import cards
from matrix.judge import Outcome, Seen, judge
from matrix.planting import ROOT
from matrix.rounds import only, rounds

PASSED = Seen("Passed", "Passed", ())
RIGHT = ("t.py::test_a", "effect-once: 2 orders, expected 1")
OTHER = ("t.py::test_b", "answer: no code")
ONCE = ("effect-once",)


@pytest.mark.parametrize(
    ("seen", "properties", "met", "outcome"),
    [
        (PASSED, None, None, Outcome.GREEN),
        (Seen("Passed", "PassedWithFlakes", (RIGHT,)), None, None, Outcome.GREEN),
        (Seen("Failed", "TestsFailed", (RIGHT,)), None, None, Outcome.FALSE_ALARM),
        (Seen("Inconclusive", "NoTestsExecuted", ()), None, None, Outcome.FALSE_ALARM),
        (Seen("Failed", "TestsFailed", (OTHER, RIGHT)), ONCE, 3, Outcome.CAUGHT),
        (Seen("Failed", "TestsFailed", (OTHER,)), ONCE, 3, Outcome.COLLATERAL),
        (Seen("Failed", "TestsFailed", (("t", "effect-oncemore: x"),)), ONCE, 3, Outcome.COLLATERAL),
        (PASSED, ONCE, 3, Outcome.SURVIVED),
        (PASSED, ONCE, None, Outcome.SURVIVED),
        (PASSED, ONCE, 0, Outcome.NOT_ACTIVATED),
        (Seen("Error", "ImagePullError", ()), ONCE, 0, Outcome.NOTHING),
    ],
)
def test_judgment(seen: Seen, properties: tuple[str, ...] | None, met: int | None, outcome: Outcome) -> None:
    assert judge(seen, properties, met)[0] is outcome


def test_only_a_caught_fault_and_a_green_healthy_round_are_good() -> None:
    assert [outcome for outcome in Outcome if outcome.good] == [Outcome.CAUGHT, Outcome.GREEN]


def test_a_fault_that_nobody_knows_is_told_with_its_neighbors() -> None:
    known = cards.load()
    assert [card.id for card in only(known, "quota_race")] == ["quota_race"]
    assert only(known, None) == known
    with pytest.raises(ValueError, match=r"no fault 'quota_rase'; near: quota_race"):
        only(known, "quota_rase")
    with pytest.raises(ValueError, match="near: none"):
        only(known, "zzzzzzzz")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["t03", "--only", "idempotency_ignore"], "near: idempotency_ignored"),
        (["t99"], "no suite 't99'"),
        (["t03", "--only", "quota_race", "--healthy", "0"], "no round"),
    ],
)
def test_a_wrong_question_is_answered_before_anything_is_planted(arguments: list[str], says: str) -> None:
    environment = {"PATH": "", "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT / "images/bazaar")])}
    command = [sys.executable, "-m", "matrix", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_fault_is_looked_at_by_the_suites_on_its_card() -> None:
    known = [card for card in cards.load() if card.id in ("idempotency_ignored", "quota_race")]
    plan = rounds(known, ["t03"], healthy=2)
    assert [(turn.name, turn.suites) for turn in plan] == [
        ("healthy-1", ("t03",)),
        ("healthy-2", ("t03",)),
        ("idempotency_ignored", ("t03",)),
    ]
    assert [turn.suites for turn in rounds(known, ["t03"], healthy=0, full=True)] == [("t03",), ("t03",)]
