"""What is said when pytest, a test or the pod comes to a bad end."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from proctor.runner import processes
from runner.conftest import Pod

CRASHES = """
import os, signal, time
def test_before(): pass
def test_victim(): {crash}
def test_after(): pass
"""


@pytest.mark.parametrize(
    ("crash", "line"),
    [
        ("os._exit(0)", "the process exited with code 0 while this test was running"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by signal 9 while this test was running"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "was killed by signal 11 while this test was running"),
    ],
)
def test_a_test_that_ends_the_process_is_named(pod: Pod, crash: str, line: str) -> None:
    pod.write(test_a=CRASHES.format(crash=crash))
    ran = pod.run()
    assert ran.code == 0
    assert ran.summary.complete
    assert ran.counts == {"passed": 1, "error": 1}
    assert ran.failures == {"test_a.py::test_victim": ("error", line)}
    assert ran.summary.trouble is not None
    assert ran.summary.trouble.reason == "RunnerCrashed"
    assert "test_victim" in ran.summary.trouble.message
    assert ran.attempts[-1] == ("test_a.py::test_victim", 1, "error", True)
    assert ran.of_kind("end")[0]["trouble"]["reason"] == "RunnerCrashed"


def test_death_in_a_second_attempt_does_not_hide_the_failure_of_the_first(pod: Pod) -> None:
    pod.write(
        test_a="""
        import os, pathlib
        def test_victim(tmp_path_factory):
            mark = pathlib.Path(os.environ["TMPDIR"], "mark")
            if mark.exists():
                os._exit(3)
            mark.touch()
            assert False, "seen"
        """
    )
    pod.step["retry"]["attempts"] = 3
    ran = pod.run()
    assert [(number, outcome) for _, number, outcome, _ in ran.attempts] == [(1, "failed"), (2, "error")]
    assert ran.failures == {"test_a.py::test_victim": ("failed", "seen")}


def test_oom_is_told_by_the_kernels_counter(pod: Pod) -> None:
    events = pod.root / "sys/fs/cgroup/memory.events"
    events.parent.mkdir(parents=True)
    events.write_text("low 0\noom 1\noom_kill 1\n")
    count = f"open({str(events)!r}, 'w').write('oom_kill 2')"
    pod.write(test_a=CRASHES.format(crash=f"{count}, os.kill(os.getpid(), signal.SIGKILL)"))
    ran = pod.run()
    assert ran.summary.trouble is not None
    assert ran.summary.trouble.reason == "OOMKilled"
    assert ran.counts == {"passed": 1, "error": 1}


def test_oom_of_a_child_process_is_told_though_pytest_ended_well(pod: Pod) -> None:
    events = pod.root / "sys/fs/cgroup/memory/memory.oom_control"
    events.parent.mkdir(parents=True)
    events.write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n")
    pod.write(test_a=f"def test_a(): open({str(events)!r}, 'w').write('oom_kill 5')\n")
    ran = pod.run()
    assert ran.counts == {"passed": 1}
    assert ran.summary.trouble is not None
    assert (ran.summary.trouble.reason, ran.summary.trouble.message) == (
        "OOMKilled",
        "a child process was killed for memory",
    )


def test_the_watchdog_names_the_hanging_test_and_shows_its_stack(pod: Pod, alive: Callable[[int], bool]) -> None:
    pod.write(
        test_a="""
        import os, pathlib, subprocess, time
        def test_before(): pass
        def hang_here(): time.sleep(300)
        def test_hang():
            child = subprocess.Popen(["sleep", "300"], start_new_session=True)
            pathlib.Path(os.environ["TMPDIR"], "child").write_text(str(child.pid))
            hang_here()
        """
    )
    pod.step["timeoutSeconds"] = 3
    began = time.monotonic()
    ran = pod.run()
    assert time.monotonic() - began < 30
    assert ran.code == 0
    assert ran.failures == {"test_a.py::test_hang": ("error", "timed out after 3s while this test was running")}
    assert ran.counts == {"passed": 1, "error": 1}
    assert ran.summary.trouble is not None
    assert ran.summary.trouble.reason == "DeadlineExceeded"
    assert "test_a.py::test_hang" in ran.summary.trouble.message
    assert "hang_here" in ran.stderr
    assert not alive(int((pod.root / "tmp/child").read_text()))


def test_a_test_that_ignores_every_signal_is_killed(pod: Pod) -> None:
    pod.write(
        test_a="""
        import signal, time
        def test_stubborn():
            for number in (signal.SIGTERM, signal.SIGABRT, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            while True:
                time.sleep(1)
        """
    )
    pod.step["timeoutSeconds"] = 2
    ran = pod.run()
    assert ran.code == 0
    assert ran.counts == {"error": 1}


def test_a_hanging_collection_meets_the_deadline(pod: Pod) -> None:
    pod.write(test_a="import time\ntime.sleep(300)\n")
    pod.step["timeoutSeconds"] = 2
    ran = pod.run()
    assert ran.summary.trouble is not None
    assert ran.summary.trouble.reason == "DeadlineExceeded"
    assert ran.summary.collection is None


def test_a_thread_that_outlives_the_tests_does_not_hold_the_report(pod: Pod) -> None:
    pod.write(
        test_a="""
        import threading, time
        def test_a(): threading.Thread(target=time.sleep, args=(300,)).start()
        """
    )
    ran = pod.run()
    assert ran.counts == {"passed": 1}
    assert ran.summary.trouble is None
    assert "has not exited" in ran.stderr


def test_sigterm_leaves_what_was_finished(pod: Pod, alive: Callable[[int], bool]) -> None:
    pod.write(
        test_a="""
        import os, pathlib, time
        def test_done(): pass
        def test_running():
            pathlib.Path(os.environ["TMPDIR"], "running").write_text(str(os.getpid()))
            time.sleep(300)
        """
    )
    process = pod.start()
    file = pod.root / "tmp/running"
    _wait_for(lambda: file.exists() and file.read_text() != "")
    process.send_signal(signal.SIGTERM)
    ran = pod.finish(process)
    assert ran.code == 128 + signal.SIGTERM
    assert not ran.summary.complete
    assert ran.counts == {"passed": 1}
    assert ran.summary.in_flight == "test_a.py::test_running"
    assert ran.summary.trouble is not None
    assert (ran.summary.trouble.reason, ran.summary.trouble.message) == ("Evicted", "the pod was told to stop")
    assert not alive(int(file.read_text()))


def test_the_summary_is_whole_wherever_the_runner_is_stopped_and_survives_sigkill(pod: Pod) -> None:
    pod.write(
        test_a="""
        import pytest, time
        @pytest.mark.parametrize("n", range(60))
        def test_n(n): assert n % 2, "x" * (n * 37 % 500)
        def test_last(): time.sleep(300)
        """
    )
    pod.step["args"] = ["--tb=no", "-q"]
    process = pod.start()
    seen = set()
    deadline = time.monotonic() + 40
    while "test_last" not in pod.termination_log.read_text():
        assert time.monotonic() < deadline
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        seen.add(pod.termination_log.read_text())
        process.send_signal(signal.SIGCONT)
        time.sleep(0.005)
    process.kill()
    ran = pod.finish(process)
    assert ran.counts == {"passed": 30, "failed": 30}
    assert not ran.summary.complete
    assert ran.summary.in_flight == "test_a.py::test_last"
    assert len(seen) > 3
    for text in seen - {""}:
        assert not replace(ran, message=text).summary.complete
    for pid in _processes_in(pod.root):
        os.kill(pid, signal.SIGKILL)


def test_a_forged_termination_log_is_overwritten(pod: Pod) -> None:
    forged = "forged " * 2000
    pod.write(test_a=f"def test_a(): open({str(pod.termination_log)!r}, 'w').write({forged!r})\ndef test_b(): pass\n")
    ran = pod.run()
    assert ran.counts == {"passed": 2}
    assert "forged" not in ran.message


def test_no_process_is_left_behind(pod: Pod, alive: Callable[[int], bool]) -> None:
    pod.write(
        test_a="""
        import os, pathlib, subprocess
        def test_a():
            script = 'trap "" TERM; (setsid sleep 300 & echo $! > $TMPDIR/deep); sleep 300'
            subprocess.Popen(["sh", "-c", script], start_new_session=True)
            while not (pathlib.Path(os.environ["TMPDIR"]) / "deep").exists(): pass
        """
    )
    ran = pod.run()
    assert ran.counts == {"passed": 1}
    assert "left behind" in ran.stderr
    assert not alive(int((pod.root / "tmp/deep").read_text()))


def test_pytest_exit_and_maxfail_do_not_pass_for_the_whole(pod: Pod) -> None:
    pod.write(test_a="import pytest\ndef test_a(): pass\ndef test_b(): pytest.exit('enough')\ndef test_c(): pass\n")
    ran = pod.run()
    assert ran.counts == {"passed": 1, "error": 1}
    assert ran.summary.trouble is not None
    assert ran.summary.trouble.reason == "IncompleteReport"
    assert "enough" in ran.summary.trouble.message
    pod.write(test_a="def test_a(): assert False\ndef test_b(): pass\n")
    pod.step |= {"args": ["-x"], "quarantine": ["test_a.py::test_a"]}
    ran = pod.run()
    assert ran.counts == {"quarantined": 1}
    assert ran.summary.trouble is not None
    assert ran.summary.trouble.reason == "IncompleteReport"


def test_an_internal_error_is_told(pod: Pod) -> None:
    pod.write(
        conftest="def pytest_runtest_logfinish(nodeid): raise OSError('disk')\n",
        test_a="def test_a(): pass\ndef test_b(): pass\n",
    )
    ran = pod.run()
    assert ran.summary.trouble is not None
    assert ran.summary.trouble.reason == "RunnerCrashed"
    assert "disk" in ran.summary.trouble.message


def test_collection_errors_stop_the_step(pod: Pod) -> None:
    pod.write(test_a="import nothing_like_it\n", test_b="def test_b(): pass\n", test_c="def test_c(:\n")
    ran = pod.run()
    assert ran.code == 0
    assert ran.counts == {}
    assert ran.summary.collection is None
    assert ran.summary.trouble is not None
    assert ran.summary.trouble.reason == "CollectionError"
    assert ran.summary.trouble.message == "test_a.py: ModuleNotFoundError: No module named 'nothing_like_it'"
    assert ran.failures["test_a.py"] == ("error", "ModuleNotFoundError: No module named 'nothing_like_it'")
    assert ran.failures["test_c.py"][1].startswith("SyntaxError")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
        (["absent.py"], "file or directory not found"),
    ],
)
def test_usage_errors_are_told_in_pytests_words(pod: Pod, args: list[str], words: str) -> None:
    pod.step["args"] = args
    ran = pod.run()
    assert ran.code == 0
    assert ran.summary.trouble is not None
    assert ran.summary.trouble.reason == "CollectionError"
    assert words in ran.summary.trouble.message


def test_a_conftest_that_cannot_be_imported_is_told(pod: Pod) -> None:
    pod.write(conftest="import nothing_like_it\n", test_a="def test_a(): pass\n")
    ran = pod.run()
    assert ran.summary.trouble is not None
    assert ran.summary.trouble.reason == "CollectionError"
    assert "No module named 'nothing_like_it'" in ran.summary.trouble.message


def test_junk_in_the_pipe_does_no_harm(pod: Pod) -> None:
    pod.write(
        test_a="""
        import os
        def test_a():
            for line in (b'junk', b'[]', b'{"kind": "attempt"}', b'{"kind": "collected", "collection": 1}', b'\\xff'):
                os.write(int(os.environ["PROCTOR_RECORDS_FD"]), line + b"\\n")
        """
    )
    ran = pod.run()
    assert ran.code == 0
    assert ran.counts == {"passed": 1}
    assert ran.summary.trouble is None


def _wait_for(condition: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _processes_in(root: Path) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"PROCTOR_ROOT={root}".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_oom_counter_is_none_where_the_kernel_does_not_tell(tmp_path: Path) -> None:
    assert processes.oom_kills(tmp_path) is None
