"""The suite t06_multitenant against this platform: silent on a healthy one, exact about planted faults.

`make matrix` runs all of it, and plants each fault alone.
"""

from pathlib import Path

import pytest
from loopback import Platform, free_port, roles
from suiterun import CONSTANT, NOTHING, Answers, null_platform, properties, run_suite

import cards

SUITE = "t06_multitenant"
TESTS = 55
HEALTHY = (
    "catalog or test_audit or test_erasure or test_users or test_quota_of or carry_nothing or readers"
    " or without_a_tenant or one_tenant and 2 or names_of_others and 3 or events"
)
"""What the healthy platform is asked here: nearly every kind of test, but few of those that are many."""
CAUGHT_BY = {
    "acl_ignored": "test_retrieval.py::test_new_readers_are_the_readers_from_then_on",
    "quota_race": "test_quota.py::test_quota_of_one_tenant_is_not_anothers",
    "audit_skips_payload": "test_audit.py::test_entries_at_the_same_time_are_one_chain",
}
"""Faults that do not hide one another, so one gateway may have them all."""
NEEDS_ANSWERS = "test_users or test_erasure or keep_to_the_readers or chains_verify or test_probes or unset"
WITHOUT_ANSWERS = {"test_refusals_tell_nothing_of_who_else_is_there", "test_tenants_may_have_equal_names"}
"""Of these the tests that pass without agents: they ask the gateway only."""


def test_healthy_platform_passes(bazaar: Platform, tmp_path: Path) -> None:
    outcomes = run_suite(SUITE, bazaar.suite_environment(seed=11), tmp_path / "report.xml", "-k", HEALTHY)
    assert len(outcomes) >= 36
    assert not {test: line for test, line in outcomes.items() if line != "passed"}


def test_planted_faults_are_caught_and_named(bazaar: Platform, tmp_path: Path) -> None:
    with roles({"gateway": free_port()}, tmp_path, {**bazaar.environment, "FAULTS": ",".join(CAUGHT_BY)}) as urls:
        first, *more = [f"{SUITE}/{test}" for test in CAUGHT_BY.values()]
        faulty = _behind(bazaar, urls["gateway"])
        outcomes = run_suite(first, faulty, tmp_path / "report.xml", *(f"suites/{test}" for test in more))
    expected = {test.partition("::")[2]: cards.read(fault).properties for fault, test in CAUGHT_BY.items()}
    assert {test: [named] for test, named in properties(outcomes).items()} == expected, outcomes


@pytest.mark.parametrize("answers", [CONSTANT, NOTHING], ids=["constant answers", "501 to all"])
def test_null_platform_passes_nothing(bazaar: Platform, tmp_path: Path, answers: Answers) -> None:
    with null_platform(answers) as url:
        outcomes = run_suite(SUITE, _behind(bazaar, url), tmp_path / "report.xml")
    assert len(outcomes) >= TESTS
    assert not [test for test, line in outcomes.items() if line == "passed" or line.startswith("skipped")]


def test_absent_platform_is_an_error(bazaar: Platform, tmp_path: Path) -> None:
    outcomes = run_suite(SUITE, _behind(bazaar, f"http://127.0.0.1:{free_port()}"), tmp_path / "report.xml")
    assert len(outcomes) >= TESTS
    assert not [test for test, line in outcomes.items() if line == "passed" or line.startswith("skipped")]


def test_platform_without_orchestrators_passes_nothing(bazaar: Platform, tmp_path: Path) -> None:
    """But what asks the gateway or the database alone, as most tests of catalog, churn, quotas and search do."""
    with roles({"gateway": free_port()}, tmp_path, {**bazaar.environment, "BAZAAR_ARM": "b"}) as urls:
        told = _behind(bazaar, urls["gateway"])
        outcomes = run_suite(SUITE, told, tmp_path / "report.xml", "-n", "2", "-k", NEEDS_ANSWERS)
    assert len(outcomes) >= 15
    assert {test for test, line in outcomes.items() if line == "passed"} == WITHOUT_ANSWERS, outcomes


def _behind(bazaar: Platform, gateway: str) -> dict[str, str]:
    """What the suite is told of the platform with another gateway."""
    doors = {"PROCTOR_ENDPOINT_GATEWAY": gateway, "PROCTOR_ENDPOINT_GATEWAY_PODS": gateway}
    return bazaar.suite_environment(seed=11) | doors
