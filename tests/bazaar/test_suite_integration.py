"""The suite integration against this platform: silent on a healthy one, and exact about a planted fault."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import Platform, free_port, roles
from suiterun import CONSTANT, NOTHING, Answers, null_platform, properties, run_suite

import cards

SUITE = "integration"
PARTS = ("--ignore=suites/integration/k8s", "-n", "2")
"""All but what looks at a cluster, as two shards would run it."""
CARD = cards.read("quota_race")


@pytest.fixture(scope="module")
def environment(bazaar: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What the suite is told of this platform, which has a second gateway for it."""
    with roles({"gateway": free_port()}, tmp_path_factory.mktemp("second"), bazaar.environment) as second:
        told = bazaar.suite_environment(seed=11)
        pods = {"_PODS": bazaar.urls["gateway"], "_PODS_2": second["gateway"]}
        yield told | {f"PROCTOR_ENDPOINT_GATEWAY{name}": url for name, url in pods.items()}


def test_healthy_platform_passes(environment: dict[str, str], tmp_path: Path) -> None:
    outcomes = run_suite(SUITE, environment, tmp_path / "report.xml", *PARTS)
    assert len(outcomes) >= 100
    assert not {test: line for test, line in outcomes.items() if line != "passed"}


def test_one_gateway_is_inconclusive_and_not_enough(bazaar: Platform, tmp_path: Path) -> None:
    told = bazaar.suite_environment(seed=11) | {"PROCTOR_ENDPOINT_GATEWAY_PODS": bazaar.urls["gateway"]}
    outcomes = run_suite(f"{SUITE}/api_gateway/test_replicas.py", told, tmp_path / "report.xml")
    assert len(outcomes) == 3
    assert all(line.startswith("skipped: inconclusive:") for line in outcomes.values())


def test_planted_fault_is_caught_and_named(bazaar: Platform, environment: dict[str, str], tmp_path: Path) -> None:
    planted = {**bazaar.environment, "FAULTS": CARD.id}
    with roles({"gateway": free_port()}, tmp_path, planted) as urls:
        faulty = environment | {"PROCTOR_ENDPOINT_GATEWAY": urls["gateway"]}
        outcomes = run_suite(f"{SUITE}/api_gateway/test_limits.py", faulty, tmp_path / "report.xml")
    assert properties(outcomes) == {"test_quota_admits_exactly_its_number": CARD.properties[0]}


def test_missing_cluster_is_an_error_that_says_what_to_set(environment: dict[str, str], tmp_path: Path) -> None:
    outcomes = run_suite(f"{SUITE}/k8s", environment, tmp_path / "report.xml")
    assert outcomes
    assert all("PROCTOR_KUBE_URL" in line and not line.startswith("skipped") for line in outcomes.values())


@pytest.mark.parametrize("answers", [CONSTANT, NOTHING], ids=["constant answers", "501 to all"])
def test_null_platform_passes_nothing(environment: dict[str, str], tmp_path: Path, answers: Answers) -> None:
    with null_platform(answers) as url:
        told = {n: url if re.search("ENDPOINT_GATEWAY(_PODS)?$", n) else value for n, value in environment.items()}
        outcomes = run_suite(SUITE, told, tmp_path / "report.xml", *PARTS)
    assert len(outcomes) >= 100
    assert not [test for test, line in outcomes.items() if line == "passed"]
