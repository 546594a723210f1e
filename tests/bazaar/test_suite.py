"""The suite t03_journeys against this platform: silent on a healthy one, and exact about a planted fault."""

import re
from collections import Counter
from pathlib import Path

import httpx
import pytest
from loopback import Platform, free_port, roles
from suiterun import CONSTANT, NOTHING, Answers, null_platform, properties, run_suite

import cards

SUITE = "t03_journeys"
CARD = cards.read("idempotency_ignored")


def test_healthy_platform_passes(bazaar: Platform, tmp_path: Path) -> None:
    outcomes = run_suite(SUITE, bazaar.suite_environment(seed=11), tmp_path / "report.xml")
    assert len(outcomes) >= 24
    assert Counter(outcomes.values()) == {"passed": len(outcomes)}, outcomes


def test_cassette_answers_every_call(bazaar: Platform, tmp_path: Path) -> None:
    """In GOLDEN no model is asked, with another seed neither, and nothing is in the cassette that nobody asks for."""
    cassette = httpx.Client(base_url=bazaar.urls["cassette"], headers={"X-Admin-Key": bazaar.admin_key})
    before = [httpx.get(f"{bazaar.urls[model]}/ledger").json() for model in ("model", "model-second")]
    outcomes = run_suite(SUITE, bazaar.suite_environment(seed=11) | {"TEST_MODE": "GOLDEN"}, tmp_path / "report.xml")
    assert Counter(outcomes.values()) == {"passed": len(outcomes)}, outcomes
    assert [httpx.get(f"{bazaar.urls[model]}/ledger").json() for model in ("model", "model-second")] == before
    used = cassette.get("/cassettes/journeys/usage").json()
    assert (used["interactions"] > 300, used["unused"]) == (True, [])


def test_planted_fault_is_caught_and_named(bazaar: Platform, tmp_path: Path) -> None:
    environment = {**bazaar.environment, "FAULTS": CARD.id}
    with roles({"gateway": free_port()}, tmp_path, environment) as urls:
        faulty = {**bazaar.suite_environment(seed=11), "PROCTOR_ENDPOINT_GATEWAY": urls["gateway"]}
        outcomes = run_suite(SUITE, faulty, tmp_path / "report.xml", "-k", "test_retries or retry or cancel")
    caught = properties(outcomes)
    assert sorted(caught) == [
        "test_journey[retry-with-the-same-key]",
        "test_retries_at_the_same_time",
        "test_retry_with_the_same_key",
        "test_same_key_with_another_body",
    ]
    expected = "AssertionError: effect-once: 2 orders for one Idempotency-Key, expected 1"
    assert outcomes["test_retry_with_the_same_key"] == expected
    assert set(caught.values()) == set(CARD.properties)


def test_blind_oracle_is_noticed(bazaar: Platform, tmp_path: Path) -> None:
    """A suite that sees no rows must not take that for rows that are right."""
    card = cards.read("oracle_blind")
    healthy = bazaar.suite_environment(seed=11)
    # As Kubernetes does it: $(NAME) is the value of another variable.
    blind = {
        name: re.sub(r"\$\((\w+)\)", lambda other: healthy[other[1]], value)
        for name, value in card.plant["environment"].items()
    }
    assert blind == {"PROCTOR_TARGET_OPS_DSN": bazaar.app_dsn}
    outcomes = run_suite(SUITE, healthy | blind, tmp_path / "report.xml")
    assert "passed" not in outcomes.values()
    assert set(properties(outcomes).values()) >= set(card.properties)


def test_missing_environment_is_an_error(tmp_path: Path) -> None:
    outcomes = run_suite(f"{SUITE}/test_access.py", {}, tmp_path / "report.xml")
    assert outcomes
    assert all("PROCTOR_ENDPOINT_GATEWAY" in line for line in outcomes.values())


def test_absent_platform_is_an_error(bazaar: Platform, tmp_path: Path) -> None:
    environment = bazaar.suite_environment(seed=1) | {"PROCTOR_ENDPOINT_GATEWAY": f"http://127.0.0.1:{free_port()}"}
    outcomes = run_suite(f"{SUITE}/test_access.py", environment, tmp_path / "report.xml")
    assert outcomes
    assert all("does not answer" in line for line in outcomes.values())


@pytest.mark.parametrize("answers", [CONSTANT, NOTHING], ids=["constant answers", "501 to all"])
def test_null_platform_passes_nothing(bazaar: Platform, tmp_path: Path, answers: Answers) -> None:
    with null_platform(answers) as url:
        environment = bazaar.suite_environment(seed=1) | {"PROCTOR_ENDPOINT_GATEWAY": url}
        outcomes = run_suite(SUITE, environment, tmp_path / "report.xml")
    assert len(outcomes) >= 24
    assert "passed" not in outcomes.values()


def test_platform_without_orchestrators_passes_nothing(bazaar: Platform, tmp_path: Path) -> None:
    """A gateway of the second arm, whose tasks nobody takes. The tests wait together, else it would take minutes."""
    card = cards.read("orchestrators_zero")
    with roles({"gateway": free_port()}, tmp_path, {**bazaar.environment, "BAZAAR_ARM": "b"}) as urls:
        environment = bazaar.suite_environment(seed=1) | {"PROCTOR_ENDPOINT_GATEWAY": urls["gateway"]}
        outcomes = run_suite(SUITE, environment, tmp_path / "report.xml", "-n", "8")
    assert len(outcomes) >= 24
    assert "passed" not in outcomes.values()
    assert set(properties(outcomes).values()) == set(card.properties)
