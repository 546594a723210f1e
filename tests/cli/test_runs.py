import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import FakeKubectl
from proctor.api.scalars import Verdict
from proctor.api.testrun import TestRun
from proctor.cli import kubectl as client
from proctor.cli.errors import CommandError
from proctor.cli.main import main
from proctor.cli.watch import EXIT_CODES, watch

ROOT = Path(__file__).parents[2]
MADE = {"metadata": {"namespace": "shop", "name": "nightly-x7k2p"}}
NOT_FOUND = {"error": 'Error from server (NotFound): testsuites.proctor.dev "nightli" not found'}
DOWN = {"error": "Unable to connect to the server: connection refused"}


def run(**status: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": "hello"}, "status": status}


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, str]:
    stamp = "2026-11-24T05:00:00Z"
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": stamp}


RUNNING = run(
    conditions=[condition("Accepted", "True", "Valid")],
    progress={"stepsDone": 1, "steps": 3, "shardsDone": 4, "shards": 9},
    counts={"passed": 12, "failed": 1},
    steps=[{"name": "smoke", "state": "Finished"}, {"name": "load", "state": "Running"}],
)
PASSED = run(verdict="Passed", reason="Passed", message="14 tests passed", counts={"passed": 14}, duration="31s")


def test_run_creates_a_testrun_that_the_models_take(kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]) -> None:
    kubectl.answers({}, MADE)
    code = main(
        ["run", "nightly", "-n", "shop", "--step", "smoke", "--step", "load", "--mode", "GOLDEN", "--seed", "7"]
    )
    assert code == 0
    assert capsys.readouterr().out == "testrun.proctor.dev/nightly-x7k2p created in shop\n"
    asked, made = kubectl.calls
    assert asked["argv"] == ["get", "testsuites.proctor.dev", "nightly", "--namespace", "shop", "-o", "json"]
    assert made["argv"] == ["create", "--namespace", "shop", "-o", "json", "-f", "-"]
    document = made["document"]
    assert document["metadata"] == {"generateName": "nightly-"}
    spec = TestRun.model_validate(document | {"metadata": {"name": "a"}}).spec
    assert spec.suite_ref is not None
    assert spec.suite_ref.name == "nightly"
    assert (spec.steps, spec.mode, spec.seed, spec.trigger) == (["smoke", "load"], "GOLDEN", 7, "Manual")


def test_run_of_no_suite_creates_nothing(kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]) -> None:
    kubectl.answers(NOT_FOUND)
    assert main(["run", "nightli"]) == 5
    assert "not found" in capsys.readouterr().err
    assert len(kubectl.calls) == 1


def test_run_can_wait_for_its_verdict_in_its_own_namespace(kubectl: FakeKubectl, no_pause: None) -> None:
    kubectl.answers({}, MADE, RUNNING, run(verdict="Inconclusive", reason="NoTestsExecuted"))
    assert main(["run", "nightly", "--wait"]) == 3
    last = kubectl.calls[-1]["argv"]
    assert last == ["get", "testruns.proctor.dev", "nightly-x7k2p", "--namespace", "shop", "-o", "json"]


SEEN = {"metadata": {"generation": 3}, "status": {"observedGeneration": 3}}
GOES_ON = {
    "metadata": {"namespace": "shop", "name": "nightly-1", "creationTimestamp": "2026-11-24T05:00:00Z"},
    "spec": {"suiteRef": {"name": "nightly"}},
}
ENDED = GOES_ON | {"status": {"verdict": "Passed"}}
ANOTHERS = GOES_ON | {"spec": {"suiteRef": {"name": "hourly"}}}


def test_join_takes_the_run_that_an_edit_has_just_started(
    kubectl: FakeKubectl, no_pause: None, capsys: pytest.CaptureFixture[str]
) -> None:
    not_yet = {"metadata": {"generation": 3}, "status": {"observedGeneration": 2}}
    kubectl.answers(not_yet, SEEN, {"items": [ENDED, ANOTHERS, GOES_ON]})
    assert main(["run", "nightly", "-n", "shop", "--join"]) == 0
    assert capsys.readouterr().out == "testrun.proctor.dev/nightly-1 goes on in shop\n"
    assert "create" not in [call["argv"][0] for call in kubectl.calls]


def test_join_starts_a_run_when_none_goes_on(kubectl: FakeKubectl, no_pause: None) -> None:
    kubectl.answers(SEEN, {"items": [ENDED, ANOTHERS]}, SEEN, MADE)
    assert main(["run", "nightly", "-n", "shop", "--join"]) == 0
    assert kubectl.calls[-1]["argv"][0] == "create"


@pytest.mark.parametrize("verdict", Verdict)
def test_the_verdict_is_the_exit_code(kubectl: FakeKubectl, verdict: Verdict) -> None:
    kubectl.answers(run(verdict=verdict.value, reason="Because"))
    wanted = {"Passed": 0, "Failed": 1, "Error": 2, "Inconclusive": 3}
    assert main(["watch", "hello"]) == EXIT_CODES[verdict] == wanted[verdict]


def test_progress_is_told_once_per_change(
    kubectl: FakeKubectl, no_pause: None, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = run(conditions=[condition("Accepted", "False", "InvalidSpec", "spec.steps: no")])
    held = run(
        conditions=[condition("Accepted", "True", "Valid"), condition("Started", "False", "WaitingForTarget", "busy")]
    )
    kubectl.answers(run(), refused, held, RUNNING, RUNNING, PASSED)
    assert main(["watch", "hello"]) == 0
    assert capsys.readouterr().out.splitlines()[:6] == [
        "hello: waiting for the operator",
        "hello: not accepted: InvalidSpec: spec.steps: no",
        "hello: 0/0 steps, 0/0 shards, 0 passed, WaitingForTarget: busy",
        "hello: 1/3 steps, 4/9 shards, 12 passed, 1 failed, running load",
        "hello: Passed (Passed) 14 tests passed",
        "  14 passed, 0 failed, 0 error, 0 skipped, 0 flaky, 0 quarantined in 31s",
    ]


def test_the_verdict_comes_with_a_table_of_steps_and_where_to_look(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
    smoke: dict[str, Any] = {
        "name": "smoke",
        "state": "Finished",
        "verdict": "Failed",
        "reason": "TestsFailed",
        "duration": "4s",
    }
    smoke |= {"counts": {"passed": 3, "failed": 1}, "shards": [{"index": 0, "state": "Reported"}]}
    smoke |= {"evidence": {"tenants": 3, "requests": 212}}
    load = {"name": "load", "state": "Skipped", "reason": "StepSkipped"}
    kubectl.answers(run(verdict="Failed", reason="TestsFailed", steps=[smoke, load]))
    assert main(["watch", "hello"]) == 1
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["STEP", "VERDICT", "REASON", "PASSED", "FAILED", "ERROR", "FLAKY", "SHARDS", "DURATION"] in said
    assert ["smoke", "Failed", "TestsFailed", "3", "1", "0", "0", "1", "4s"] in said
    assert ["load", "Skipped", "StepSkipped", "0", "0", "0", "0", "0"] in said
    assert [line for line in said if line[:1] == ["evidence"]] == [
        ["evidence", "of", "smoke:", "212", "requests,", "3", "tenants"]
    ]
    assert ["kubectl", "describe", "testruns.proctor.dev", "-n", "shop", "hello"] in said


def test_failures_are_listed(kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]) -> None:
    failure = {"test": "a.py::b", "step": "smoke", "outcome": "failed", "line": "assert 1 == 2"}
    kubectl.answers(
        run(
            verdict="Failed", reason="TestsFailed", failures=[failure], failuresOmitted=2, reportURL="http://ledger/r/1"
        )
    )
    assert main(["watch", "hello"]) == 1
    said = capsys.readouterr().out
    assert "failed: [smoke] a.py::b: assert 1 == 2\n  and 2 more\n  http://ledger/r/1" in said


def test_a_run_that_is_not_there_ends_the_watch(kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]) -> None:
    kubectl.answers(RUNNING, NOT_FOUND)
    assert main(["watch", "hello"]) == 5
    assert "not found" in capsys.readouterr().err


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_watch_ends_without_a_verdict(kubectl: FakeKubectl) -> None:
    kubectl.answers(RUNNING)
    clock = Clock()
    with pytest.raises(CommandError, match="no verdict in 5 s") as caught:
        watch("hello", namespace=None, timeout_seconds=5, clock=clock, sleep=clock.sleep)
    assert caught.value.code == 4
    assert len(kubectl.calls) == 5


def test_a_restart_of_the_api_server_is_survived(kubectl: FakeKubectl) -> None:
    kubectl.answers(RUNNING, DOWN, DOWN, PASSED)
    clock = Clock()
    assert watch("hello", namespace=None, timeout_seconds=60, clock=clock, sleep=clock.sleep) == 0


def test_an_api_server_that_stays_away_ends_the_watch(kubectl: FakeKubectl) -> None:
    kubectl.answers(DOWN)
    clock = Clock()
    with pytest.raises(CommandError, match="connection refused") as caught:
        watch("hello", namespace=None, timeout_seconds=3600, clock=clock, sleep=clock.sleep)
    assert caught.value.code == 5
    assert clock.now < 40


def test_ctrl_c_ends_a_watch_cleanly(kubectl: FakeKubectl) -> None:
    kubectl.answers(RUNNING)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "operator")}
    with subprocess.Popen(
        [sys.executable, "-m", "proctor.cli.main", "watch", "hello"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=kubectl.folder,
        # Shells start background jobs with SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "1/3 steps" in process.stdout.readline()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        assert process.stderr.read().strip() == "proctor: interrupted"


def test_without_kubectl_the_message_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandError, match="kubectl is not in PATH"):
        client.call(["get", "pods"], namespace=None)


def test_without_proctor_the_message_says_so(kubectl: FakeKubectl) -> None:
    kubectl.answers({"error": 'error: the server doesn\'t have a resource type "testruns"'})
    with pytest.raises(client.NotFound, match="Is Proctor installed"):
        client.call(["get", "testruns.proctor.dev", "a"], namespace=None)
