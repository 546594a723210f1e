"""The suite t02_contract against this platform: silent on a healthy one, and exact about planted faults."""

from collections import Counter
from pathlib import Path

import pytest
import yaml
from loopback import ROOT, Platform, free_port, roles
from suiterun import CONSTANT, NOTHING, Answers, null_platform, properties, run_suite

SUITE = "t02_contract"
TESTS = 110
DOCUMENT = {"test_no_breaking_change", "test_every_operation_is_pinned"}
DOCUMENT |= {"test_every_object_is_closed", "test_every_refusal_is_described"}
"""They are about the OpenAPI document only, so they need no orchestrator."""
CAUGHT_BY = {
    "extra_ignored": "test_unknown_field_is_refused[send_message]",
    "bigint_500": "test_huge_number_is_refused[9223372036854775808]",
    "enum_renamed": "test_no_breaking_change",
    "route_without_auth": "test_without_a_valid_key[none]",
    "error_path_not_redacted": "test_refusal_repeats_no_personal_data[send_message]",
    "pii_skips_replies": "test_answers_repeat_no_personal_data",
}
FILES = {
    "extra_ignored": "test_refusals.py",
    "bigint_500": "test_refusals.py",
    "enum_renamed": "test_baseline.py",
    "route_without_auth": "test_keys.py",
}


def test_healthy_platform_passes(bazaar: Platform, tmp_path: Path) -> None:
    outcomes = run_suite(SUITE, bazaar.suite_environment(seed=11), tmp_path / "report.xml", "-n", "2")
    assert len(outcomes) >= TESTS
    assert Counter(outcomes.values()) == {"passed": len(outcomes)}, outcomes


@pytest.mark.parametrize("name", sorted(CAUGHT_BY))
def test_planted_fault_is_caught_and_named(bazaar: Platform, tmp_path: Path, name: str) -> None:
    """By a second arm, so that its orchestrators are faulty too."""
    card = yaml.safe_load((ROOT / f"images/bazaar/faults/{name}.yaml").read_text(encoding="utf-8"))
    environment = {**bazaar.environment, "BAZAAR_ARM": "b", "FAULTS": name}
    with roles({role: free_port() for role in ("gateway", "orchestrator")}, tmp_path, environment) as urls:
        faulty = {**bazaar.suite_environment(seed=11), "PROCTOR_ENDPOINT_GATEWAY": urls["gateway"]}
        test = f"{SUITE}/{FILES.get(name, 'test_leaks.py')}::{CAUGHT_BY[name]}"
        outcomes = run_suite(test, faulty, tmp_path / "report.xml")
    assert list(properties(outcomes).values()) == card["properties"], outcomes


def test_absent_platform_is_an_error(bazaar: Platform, tmp_path: Path) -> None:
    environment = bazaar.suite_environment(seed=1) | {"PROCTOR_ENDPOINT_GATEWAY": f"http://127.0.0.1:{free_port()}"}
    outcomes = run_suite(SUITE, environment, tmp_path / "report.xml", "-n", "2")
    assert len(outcomes) >= TESTS
    assert {"passed"}.isdisjoint(outcomes.values())
    assert not any(line.startswith("skipped") for line in outcomes.values())


@pytest.mark.parametrize("answers", [CONSTANT, NOTHING], ids=["constant answers", "501 to all"])
def test_null_platform_passes_nothing(bazaar: Platform, tmp_path: Path, answers: Answers) -> None:
    with null_platform(answers) as url:
        environment = bazaar.suite_environment(seed=1) | {"PROCTOR_ENDPOINT_GATEWAY": url}
        outcomes = run_suite(SUITE, environment, tmp_path / "report.xml", "-n", "2")
    assert len(outcomes) >= TESTS
    assert "passed" not in outcomes.values(), outcomes


def test_platform_without_orchestrators_passes_nothing(bazaar: Platform, tmp_path: Path) -> None:
    """But what is about the document only. The tests wait together, else it would take half an hour."""
    with roles({"gateway": free_port()}, tmp_path, {**bazaar.environment, "BAZAAR_ARM": "b"}) as urls:
        environment = bazaar.suite_environment(seed=1) | {"PROCTOR_ENDPOINT_GATEWAY": urls["gateway"]}
        outcomes = run_suite(SUITE, environment, tmp_path / "report.xml", "-n", "12")
    assert len(outcomes) >= TESTS
    assert {test for test, line in outcomes.items() if line == "passed"} <= DOCUMENT, outcomes
