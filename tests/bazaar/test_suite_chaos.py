"""The suite t07_chaos against this platform: silent on a healthy one, exact about a planted fault."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import Platform, free_port, roles
from rehearsal import Stage, stage
from suiterun import CONSTANT, NOTHING, Answers, null_platform, properties, run_suite

import cards

SUITE = "t07_chaos"
PARTS = ("--ignore=suites/t07_chaos/faults", "-n", "2")
"""All but what makes faults, as two shards would run it."""
FAULTS = f"{SUITE}/faults"


@pytest.fixture(scope="module")
def ready() -> Iterator[Stage]:
    with stage() as running:
        yield running


def test_healthy_platform_passes(bazaar: Platform, tmp_path: Path) -> None:
    outcomes = run_suite(SUITE, bazaar.suite_environment(seed=11), tmp_path / "report.xml", *PARTS)
    assert len(outcomes) >= 20
    assert not {test: line for test, line in outcomes.items() if line != "passed"}


def test_faults_are_survived_and_counted(ready: Stage, tmp_path: Path) -> None:
    ran = ready.run(tmp_path / "pod", FAULTS, "-k", "middle and 1 or freeze or handler")
    assert ran.counts == {"passed": 3}, [record["reason"] for record in ran.of_kind("attempt")]
    seen = ran.summary.evidence
    assert (seen["faults"], seen["kills"], seen["poison"]) == (3, 1, 6)
    assert seen["redeliveries"] >= 14
    assert seen["tasks"] >= 162


def test_fault_that_finds_no_target_is_inconclusive(ready: Stage, tmp_path: Path) -> None:
    kept = ready.keeper.roles.pop("tools")
    try:
        ran = ready.run(tmp_path / "pod", f"{FAULTS}/test_effects.py")
    finally:
        ready.keeper.roles["tools"] = kept
    assert ran.counts == {"skipped": 1}
    (record,) = ran.of_kind("attempt")
    assert "TargetNotFound" in record["reason"]
    assert ran.summary.evidence == {}


@pytest.mark.parametrize(
    ("role", "fault", "test"),
    [
        ("orchestrator", "random_step", "test_exact_replay_is_identical"),
        ("orchestrator", "replay_echoes_record", "test_changed_byte_is_named_at_its_step"),
        ("dlq", "dlq_requeue_twice", "test_letter_that_is_requeued_is_done_once"),
    ],
)
def test_planted_fault_is_caught_and_named(bazaar: Platform, tmp_path: Path, role: str, fault: str, test: str) -> None:
    """Planted where the suite asks: in the orchestrator that replays, in the door of the dead letters."""
    planted = {**bazaar.environment, "FAULTS": fault, "BAZAAR_ARM": "b"}
    with roles({role: free_port()}, tmp_path, planted) as urls:
        behind = {
            **bazaar.environment,
            "BAZAAR_ORCHESTRATOR_URL": urls.get("orchestrator", bazaar.urls["orchestrator"]),
        }
        with roles({"gateway": free_port()}, tmp_path, behind) as gateway:
            told = bazaar.suite_environment(seed=11) | {"PROCTOR_ENDPOINT_GATEWAY": gateway["gateway"]}
            told |= {"PROCTOR_ENDPOINT_DLQ": urls["dlq"]} if role == "dlq" else {}
            outcomes = run_suite(SUITE, told, tmp_path / "report.xml", PARTS[0], "-k", test)
    caught = properties(outcomes)
    assert list(caught) == [test], outcomes
    assert caught[test] in cards.read(fault).properties


def test_effect_that_has_another_key_each_time_is_caught(tmp_path: Path) -> None:
    with stage("effect_key_per_delivery") as planted:
        ran = planted.run(tmp_path / "pod", f"{FAULTS}/test_effects.py")
    assert ran.counts == {"failed": 1}
    (failure,) = ran.failures.values()
    assert failure[1].split(":")[0] in cards.read("effect_key_per_delivery").properties


@pytest.mark.parametrize("answers", [CONSTANT, NOTHING], ids=["constant answers", "501 to all"])
def test_null_platform_passes_nothing(bazaar: Platform, tmp_path: Path, answers: Answers) -> None:
    with null_platform(answers) as url:
        told = bazaar.suite_environment(seed=11) | {"PROCTOR_ENDPOINT_GATEWAY": url}
        outcomes = run_suite(SUITE, told, tmp_path / "report.xml", *PARTS)
    assert len(outcomes) >= 20
    assert not [test for test, line in outcomes.items() if line == "passed" or line.startswith("skipped")]
