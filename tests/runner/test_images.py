"""Any image: old and new interpreters, old pytest, no pytest, an unreachable target, a missing source."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from proctor.core.results import decode
from proctor.runner.old_python import refuse
from proctor.runner.plan import Endpoint
from proctor.runner.preflight import unreachable
from runner.conftest import OPERATOR, POD, UID, Pod

INTERPRETERS = sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions").glob("3.*/bin/python3"))


def _interpreter(minor: int) -> Path:
    for python in INTERPRETERS:
        if python.parts[-3].split(".")[1] == str(minor):
            return python
    pytest.skip(f"this machine has no Python 3.{minor}")


@pytest.mark.parametrize("minor", [6, 7, 8, 9])
def test_an_old_python_says_that_it_is_too_old(pod: Pod, minor: int) -> None:
    pod.python = str(_interpreter(minor))
    ran = pod.run()
    assert ran.code == 0, ran.stderr
    assert ran.summary.complete
    assert ran.summary.trouble is not None
    assert ran.summary.trouble.reason == "RunnerIncompatible"
    assert f"Python 3.{minor}" in ran.summary.trouble.message


def test_the_refusal_by_hand_is_a_summary(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.run()
    monkeypatch.setenv("PROCTOR_STEP", "step")
    monkeypatch.setenv("PROCTOR_POD_UID", POD)
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "3")
    assert refuse(["--root", str(pod.root), "run"], (99, 0)) == 0
    summary = decode(pod.termination_log.read_text(), run=UID, step="step", index=3, pod=POD)
    assert summary.trouble is not None
    assert "needs Python 99.0" in summary.trouble.message


@pytest.mark.parametrize("minor", [11, 12, 13])
def test_other_interpreters_run_the_tests(pod: Pod, minor: int) -> None:
    """With the pytest of this environment, which is pure Python: its folder is put on the other's path.

    Python 3.10 needs two backports that only its own environment has: see PROCTOR_TEST_PYTHON in conftest.py.
    """
    pod.python = str(_interpreter(minor))
    places = [str(OPERATOR), str(Path(pytest.__file__).parents[1])]
    pod.env["PYTHONPATH"] = os.pathsep.join(places)
    pod.write(
        test_a="""
        tries = []
        def test_flaky():
            tries.append(1)
            assert len(tries) == 2
        def test_b(): assert 0
        """
    )
    pod.step["retry"]["attempts"] = 2
    ran = pod.run()
    assert ran.counts == {"flaky": 1, "failed": 1}, ran.stderr
    assert ran.of_kind("start")[0]["versions"]["python"].startswith(f"3.{minor}.")


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("raise ImportError('no pytest here')", "pytest cannot be imported in this image: ImportError: no pytest here"),
        ("__version__, version_tuple = '7.3.2', (7, 3, 2)", "has pytest 7.3.2, and the runner needs pytest 7.4"),
    ],
)
def test_an_image_without_a_usable_pytest_says_so(pod: Pod, module: str, words: str) -> None:
    (pod.root / "fake").mkdir()
    (pod.root / "fake/pytest.py").write_text(module)
    pod.env["PYTHONPATH"] = f"{OPERATOR}{os.pathsep}{pod.root / 'fake'}"
    ran = pod.run()
    assert ran.code == 0
    assert ran.summary.trouble is not None
    assert ran.summary.trouble.reason == "RunnerIncompatible"
    assert words in ran.summary.trouble.message


def test_an_image_with_a_package_of_our_name_says_so(pod: Pod) -> None:
    (pod.root / "site/proctor").mkdir(parents=True)
    (pod.root / "site/proctor/__init__.py").touch()
    pod.run("prepare")
    process = subprocess.run(
        [sys.executable, pod.root / "proctor/work/runner", "--root", pod.root, "run"],
        env={"PROCTOR_STEP": "step", "PYTHONPATH": str(pod.root / "site"), "TMPDIR": str(pod.root / "tmp")},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert "RunnerIncompatible" in pod.termination_log.read_text()
    assert "hides the runner's" in process.stderr


def test_a_missing_path_is_a_missing_source(pod: Pod) -> None:
    pod.step["path"] = "t99_nothing"
    ran = pod.run()
    assert ran.code == 0
    assert ran.summary.trouble is not None
    assert ran.summary.trouble.reason == "SourceUnavailable"


def test_a_plan_that_cannot_be_read_ends_the_runner(pod: Pod) -> None:
    pod.env["PROCTOR_STEP"] = "unknown"
    ran = pod.run()
    assert ran.code == 1
    assert "no step 'unknown'" in ran.stderr


def test_a_lost_stdout_does_not_lose_the_summary(pod: Pod) -> None:
    pod.write(test_a="def test_a(): pass\n")
    process = pod.start()
    assert process.stdout is not None
    process.stdout.close()
    process.wait(timeout=40)
    assert '"passed":1' in pod.termination_log.read_text()


def test_a_target_that_listens_late_is_waited_for() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        timer = threading.Timer(0.5, server.listen)
        timer.start()
        assert unreachable([Endpoint("late", f"http://127.0.0.1:{port}/path")], patience=10) is None
        timer.join()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://user:secret@127.0.0.1:1", "endpoint gateway at 127.0.0.1:1 accepted no connection in 0.3s"),
        ("nats://127.0.0.2", "127.0.0.2:4222"),
        ("redis://127.0.0.2", "127.0.0.2:6379"),
        ("postgresql://127.0.0.2/db", "127.0.0.2:5432"),
        ("wss://127.0.0.2", "127.0.0.2:443"),
        ("odd://127.0.0.2", "no port"),
        ("http://127.0.0.1:99999", "no usable address"),
    ],
)
def test_a_silent_target_is_named_with_its_address(url: str, words: str) -> None:
    told = unreachable([Endpoint("gateway", url)], patience=0.3)
    assert told is not None
    assert words in told
    assert "secret" not in told


def test_the_runner_reports_a_silent_target(pod: Pod) -> None:
    pod.endpoints = [{"name": "gateway", "url": "odd://127.0.0.1"}]
    pod.write(test_a="def test_a(): pass\n")
    ran = pod.run()
    assert ran.code == 0
    assert ran.summary.trouble is not None
    assert ran.summary.trouble.reason == "TargetUnreachable"
    assert ran.attempts == []


def test_it_works_with_the_cache_switched_off_and_strict_configuration(pod: Pod) -> None:
    pod.write(test_a="def test_a(): pass\n", ini="[pytest]\naddopts = --strict-config -p no:cacheprovider\n")
    ran = pod.run()
    assert ran.counts == {"passed": 1}, ran.stderr
    assert list(pod.suites.rglob("__pycache__")) == []
    pod.write(ini="[pytest]\n")
    assert pod.run().counts == {"passed": 1}
    assert not (pod.suites / ".pytest_cache").exists()
    assert list((pod.root / "tmp").glob("proctor-*")) == []


def test_records_are_json_of_known_kinds(pod: Pod) -> None:
    pod.write(test_a="def test_a(): assert 0\n")
    assert {json.dumps(record["kind"]) for record in pod.run().records} == {
        '"start"',
        '"collected"',
        '"attempt"',
        '"end"',
    }
