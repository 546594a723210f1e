"""The suite t01_scaffolding against this platform: silent on a healthy one, and exact about each planted fault."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from loopback import ROOT, Platform, cassette, free_port, roles
from suiterun import CONSTANT, NOTHING, Answers, null_platform, properties, run_suite

import cards

SUITE = "t01_scaffolding"
HTTP = ("GATEWAY", "CASSETTE", "MODEL", "MODEL_SECOND")
NULL: Answers = {
    **CONSTANT,
    "GET /cassettes/": (200, {"interactions": 0, "unused": []}),
    "GET /cassettes": (200, {"recording": None, "cassettes": []}),
    "PUT /cassettes": (204, None),
    "DELETE /cassettes": (204, None),
    "POST /cassettes": (200, {"same": 0, "different": [], "failed": []}),
    "POST /recording": (204, None),
    "DELETE /recording": (204, None),
    "GET /live": (200, {"calls": 0, "tokens": 0, "max_calls": 100, "max_tokens": 200_000}),
    "DELETE /live": (204, None),
    "GET /v1/models": (200, {"object": "list", "data": []}),
    "POST /v1/chat/completions": (200, {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}]}),
    "GET /ledger": (200, {"boot_id": "0", "calls": []}),
}
OF_THE_FACTORIES_ALONE = {"test_same_seeds_make_the_same_objects", "test_order_of_making_does_not_count"}
"""They ask nothing of the platform."""
OF_A_FREE_UPSTREAM = {"test_ceiling_of_calls", "test_ceiling_of_tokens"}
"""They are skipped unless a ledger shows that the live upstream costs nobody anything."""


def test_healthy_platform_passes(bazaar: Platform, tmp_path: Path) -> None:
    outcomes = run_suite(SUITE, bazaar.suite_environment(seed=11), tmp_path / "report.xml")
    assert len(outcomes) >= 20
    assert Counter(outcomes.values()) == {"passed": len(outcomes)}, outcomes


def test_committed_cassette_is_replayed_in_golden(bazaar: Platform, tmp_path: Path) -> None:
    environment = bazaar.suite_environment(seed=12) | {"TEST_MODE": "GOLDEN"}
    outcomes = run_suite(f"{SUITE}/test_modes.py", environment, tmp_path / "report.xml")
    assert set(outcomes.values()) == {"passed"}
    assert "test_committed_cassette_is_still_what_is_asked" in outcomes
    assert "test_ceiling_of_calls" not in outcomes, "it is marked mock_only"


def test_live_smoke_runs_what_is_marked(bazaar: Platform, tmp_path: Path) -> None:
    environment = bazaar.suite_environment(seed=13) | {"TEST_MODE": "LIVE_SMOKE"}
    outcomes = run_suite(SUITE, environment, tmp_path / "report.xml")
    assert outcomes == {"test_live_smoke_asks_the_live_upstream": "passed"}


@contextmanager
def proxy(bazaar: Platform, folder: Path, model: str | None = None, **environment: str) -> Iterator[str]:
    """A proxy of its own in front of the platform's models."""
    settings = {"CASSETTE_ADMIN_KEY": bazaar.admin_key, **environment}
    with cassette(folder, model or bazaar.urls["model"], bazaar.urls["model-second"], **settings) as (url, _):
        yield url


def test_no_upstream_or_ceiling_is_inconclusive(bazaar: Platform, tmp_path: Path) -> None:
    live = bazaar.suite_environment(seed=14) | {"TEST_MODE": "LIVE_SMOKE"}
    for settings, why in (
        ({"CASSETTE_LIVE_URL": ""}, "no-live-upstream"),
        ({"CASSETTE_MAX_CALLS": "5"}, "live calls are left"),
        ({"CASSETTE_MAX_CALLS": "0"}, "ceiling-reached"),
    ):
        with proxy(bazaar, tmp_path, **settings) as url:
            environment = live | {"PROCTOR_ENDPOINT_CASSETTE": url}
            (outcome,) = run_suite(SUITE, environment, tmp_path / "report.xml").values()
        assert outcome.startswith("skipped: inconclusive"), outcome
        assert why in outcome
        (tmp_path / "live.json").unlink(missing_ok=True)


def test_golden_without_cassettes_or_proxy_is_an_error(bazaar: Platform, tmp_path: Path) -> None:
    """The folder of this suite has cassettes, and the proxy to put them into is not named."""
    golden = bazaar.suite_environment(seed=15) | {"TEST_MODE": "GOLDEN"}
    del golden["PROCTOR_ENDPOINT_CASSETTE"]
    outcomes = run_suite(f"{SUITE}/test_factories.py", golden, tmp_path / "report.xml")
    told = {line for test, line in outcomes.items() if test not in OF_THE_FACTORIES_ALONE}
    assert told == {'failed on setup with "RuntimeError: not set: PROCTOR_ENDPOINT_CASSETTE (see suites/README.md)"'}


@pytest.mark.parametrize(
    "fault", ["cassette_key_ignores_body", "cassette_miss_goes_live", "cassette_stores_secret", "stream_chunk_lost"]
)
def test_planted_fault_of_the_proxy_or_the_model_is_caught(bazaar: Platform, tmp_path: Path, fault: str) -> None:
    planted = {"FAULTS": fault}
    with ExitStack() as stack:
        model = None
        if fault == "stream_chunk_lost":
            ledger = {"BAZAAR_LEDGER_PATH": str(tmp_path / "calls.sqlite")}
            faulty = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "images/bazaar"), **ledger, **planted}
            model = stack.enter_context(roles({"model": free_port()}, tmp_path, faulty))["model"]
        url = stack.enter_context(proxy(bazaar, tmp_path, model, **planted))
        environment = bazaar.suite_environment(seed=16) | {"PROCTOR_ENDPOINT_CASSETTE": url}
        outcomes = run_suite(SUITE, environment, tmp_path / "report.xml", "-k", "test_replay or test_secrets")
    assert set(properties(outcomes).values()) & {*cards.read(fault).properties}, outcomes


def test_planted_clock_is_caught(bazaar: Platform, tmp_path: Path) -> None:
    """In the platform's second arm, which has the first one's models."""
    arm = {**bazaar.environment, "BAZAAR_ARM": "b", "FAULTS": "clock_in_prompt"}
    with roles({"gateway": free_port(), "orchestrator": free_port()}, tmp_path, arm) as urls:
        environment = bazaar.suite_environment(seed=17) | {"PROCTOR_ENDPOINT_GATEWAY": urls["gateway"]}
        outcomes = run_suite(f"{SUITE}/test_modes.py", environment, tmp_path / "report.xml", "-k", "mock or record")
    assert set(properties(outcomes).values()) == {*cards.read("clock_in_prompt").properties}, outcomes


@pytest.mark.parametrize("answers", [NULL, NOTHING], ids=["constant answers", "501 to all"])
def test_null_platform_passes_nothing(bazaar: Platform, tmp_path: Path, answers: Answers) -> None:
    with null_platform(answers) as url:
        null = {f"PROCTOR_ENDPOINT_{name}": url for name in HTTP}
        outcomes = run_suite(SUITE, bazaar.suite_environment(seed=1) | null, tmp_path / "report.xml")
    assert len(outcomes) >= 20
    assert {test for test, line in outcomes.items() if line == "passed"} <= OF_THE_FACTORIES_ALONE
    assert {test for test, line in outcomes.items() if line.startswith("skipped")} <= OF_A_FREE_UPSTREAM
