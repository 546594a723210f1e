"""The suite t02_contract against this platform: silent on a healthy one, and exact about planted faults."""

from collections import Counter
from pathlib import Path

import pytest
from loopback import Platform, free_port, roles
from suiterun import CONSTANT, NOTHING, Answers, null_platform, properties, run_suite

import cards

SUITE = "t02_contract"
TESTS = 110
DOCUMENT = {"test_no_breaking_change", "test_every_operation_is_pinned"}
DOCUMENT |= {"test_every_object_is_closed", "test_every_refusal_is_described"}
"""They are about the OpenAPI document only, so they need no orchestrator."""
FAST = "test_baseline or test_keys or test_codes or test_operations"
"""Files whose tests wait for one message at most when nobody answers messages."""
HEALTHY = "test_baseline or test_keys or test_codes or test_refusals or test_streams or (test_pii and email)"
HEALTHY += " or ((test_operations or test_leaks) and (send_message or get_order)) or test_answers"
"""What the healthy platform is asked here: every kind of test, but few operations and types of personal data."""
CAUGHT_BY = {
    "extra_ignored": "test_refusals.py::test_unknown_field_is_refused[send_message]",
    "bigint_500": "test_refusals.py::test_huge_number_is_refused[9223372036854775808]",
    "route_without_auth": "test_keys.py::test_without_a_valid_key[none]",
    "error_path_not_redacted": "test_leaks.py::test_refusal_repeats_no_personal_data[send_message]",
    "pii_skips_replies": "test_leaks.py::test_answers_repeat_no_personal_data",
}
"""Faults that do not hide one another, so one arm may have them all."""


def test_healthy_platform_passes(bazaar: Platform, tmp_path: Path) -> None:
    """A part of the suite that stands for the whole, which `make matrix` runs."""
    outcomes = run_suite(SUITE, bazaar.suite_environment(seed=11), tmp_path / "report.xml", "-n", "2", "-k", HEALTHY)
    assert len(outcomes) >= 80
    assert Counter(outcomes.values()) == {"passed": len(outcomes)}, outcomes


def test_planted_faults_are_caught_and_named(bazaar: Platform, tmp_path: Path) -> None:
    """By a second arm, so that its orchestrators are faulty too. `make matrix` plants each alone."""
    environment = {**bazaar.environment, "BAZAAR_ARM": "b", "FAULTS": ",".join(CAUGHT_BY)}
    with roles({role: free_port() for role in ("gateway", "orchestrator")}, tmp_path, environment) as urls:
        faulty = {**bazaar.suite_environment(seed=11), "PROCTOR_ENDPOINT_GATEWAY": urls["gateway"]}
        first, *more = [f"{SUITE}/{test}" for test in CAUGHT_BY.values()]
        outcomes = run_suite(first, faulty, tmp_path / "report.xml", *(f"suites/{test}" for test in more))
    expected = {test.partition("::")[2]: cards.read(fault).properties for fault, test in CAUGHT_BY.items()}
    assert {test: [named] for test, named in properties(outcomes).items()} == expected, outcomes


def test_renamed_value_is_caught_and_named(bazaar: Platform, tmp_path: Path) -> None:
    """In an arm of its own, because requests with the old value are refused before anything else is seen."""
    environment = {**bazaar.environment, "BAZAAR_ARM": "b", "FAULTS": "enum_renamed"}
    with roles({"gateway": free_port()}, tmp_path, environment) as urls:
        faulty = {**bazaar.suite_environment(seed=11), "PROCTOR_ENDPOINT_GATEWAY": urls["gateway"]}
        outcomes = run_suite(f"{SUITE}/test_baseline.py", faulty, tmp_path / "report.xml")
    named = {test: [line] for test, line in properties(outcomes).items()}
    assert named == {"test_no_breaking_change": cards.read("enum_renamed").properties}, outcomes


def test_absent_platform_is_an_error(bazaar: Platform, tmp_path: Path) -> None:
    environment = bazaar.suite_environment(seed=1) | {"PROCTOR_ENDPOINT_GATEWAY": f"http://127.0.0.1:{free_port()}"}
    outcomes = run_suite(SUITE, environment, tmp_path / "report.xml")
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
    """But what is about the document only.

    Only the files whose tests fail with the common world: each test of the others waits 15 s for an answer.
    """
    with roles({"gateway": free_port()}, tmp_path, {**bazaar.environment, "BAZAAR_ARM": "b"}) as urls:
        environment = bazaar.suite_environment(seed=1) | {"PROCTOR_ENDPOINT_GATEWAY": urls["gateway"]}
        outcomes = run_suite(SUITE, environment, tmp_path / "report.xml", "-k", FAST)
    assert len(outcomes) >= 50
    assert {test for test, line in outcomes.items() if line == "passed"} <= DOCUMENT, outcomes
