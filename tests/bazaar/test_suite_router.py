"""The suite t05_router against this platform: silent on a healthy one, and exact about a planted fault."""

from collections import Counter
from pathlib import Path

import pytest
from loopback import Platform, free_port, roles
from suiterun import CONSTANT, NOTHING, Answers, null_platform, properties, run_suite

import cards

SUITE = "t05_router"
ROUTER = {
    "GET /model": {"model_version": "0", "labels": ["faq"], "temperature": 1, "threshold": 0.5, "card": {}},
    "POST /route": {"agent": "faq", "exit": True, "probabilities": {"faq": 1.0}, "model_version": "0"},
    "GET /metrics": "process_start_time_seconds 1.0",
    "GET /ledger": {"boot_id": "0", "calls": []},
}
CONSTANT_TOO: Answers = {**CONSTANT, **{operation: (200, body) for operation, body in ROUTER.items()}}
DOORS = ("GATEWAY", "ROUTER_PODS", "ORCHESTRATOR_PODS", "MODEL")


def test_healthy_platform_passes(bazaar: Platform, tmp_path: Path) -> None:
    outcomes = run_suite(SUITE, bazaar.suite_environment(seed=11), tmp_path / "report.xml")
    assert len(outcomes) >= 45
    assert Counter(outcomes.values()) == {"passed": len(outcomes)}, outcomes


def test_planted_fault_is_caught_and_named(bazaar: Platform, tmp_path: Path) -> None:
    card = cards.read("router_labels_swapped")
    # Whoever collects its spans and logs would only take time from it.
    quiet = {name: v for name, v in bazaar.environment.items() if name not in ("BAZAAR_OTLP_URL", "BAZAAR_LOGS_URL")}
    with roles({"router": free_port()}, tmp_path, {**quiet, "FAULTS": card.plant["faults"]}) as urls:
        faulty = bazaar.suite_environment(seed=11) | {"PROCTOR_ENDPOINT_ROUTER_PODS": urls["router"]}
        outcomes = run_suite(SUITE, faulty, tmp_path / "report.xml", "-k", "pair or golden_text")
    caught = {"test_every_golden_text_is_decided_as_it_was": "route-golden", "test_no_pair_is_confused": "route-cell"}
    assert properties(outcomes) == caught, outcomes
    assert {*caught.values()} == {*card.properties}


@pytest.mark.parametrize("answers", [CONSTANT_TOO, NOTHING], ids=["constant answers", "501 to all"])
def test_null_platform_passes_nothing(bazaar: Platform, tmp_path: Path, answers: Answers) -> None:
    with null_platform(answers) as url:
        null = {f"PROCTOR_ENDPOINT_{name}": url for name in DOORS}
        outcomes = run_suite(SUITE, bazaar.suite_environment(seed=1) | null, tmp_path / "report.xml")
    assert len(outcomes) >= 45
    assert "passed" not in outcomes.values(), outcomes
    assert not [line for line in outcomes.values() if line.startswith("skipped")]


def test_platform_without_orchestrators_routes_no_message(bazaar: Platform, tmp_path: Path) -> None:
    """The tests of messages fail in a gateway's second arm, whose tasks nobody takes; all others ask the router alone.

    The one that first asks for all decisions is left out: it sends its messages as the others do.
    """
    with roles({"gateway": free_port()}, tmp_path, {**bazaar.environment, "BAZAAR_ARM": "b"}) as urls:
        environment = bazaar.suite_environment(seed=1) | {"PROCTOR_ENDPOINT_GATEWAY": urls["gateway"]}
        path = f"{SUITE}/test_messages.py"
        outcomes = run_suite(path, environment, tmp_path / "report.xml", "-n", "6", "-k", "not cost")
    assert len(outcomes) >= 6
    assert set(properties(outcomes).values()) == {"episode-ends"}, outcomes
    assert "passed" not in outcomes.values()


def test_missing_environment_is_an_error(tmp_path: Path) -> None:
    outcomes = run_suite(f"{SUITE}/test_golden.py", {}, tmp_path / "report.xml")
    assert outcomes
    assert all("not set: PROCTOR_" in line for line in outcomes.values())
