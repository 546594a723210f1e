"""Attempts: what is tried again, with which fixtures, how it is recorded, with and without xdist."""

import xml.etree.ElementTree as ET

import pytest

from proctor.runner.plan import Retry
from proctor.runner.records import judge, line, reason_hash, told, traceparent, without_parameters
from runner.conftest import UID, Pod

FLAKY = """
import os, pathlib, pytest

def nth(name):
    file = pathlib.Path(os.environ["TMPDIR"], name)
    n = (int(file.read_text()) if file.exists() else 0) + 1
    file.write_text(str(n))
    return n

def test_pass(): pass
def test_flaky():
    n = nth("flaky")
    assert n == 3, f"attempt {n}"
def test_always(): assert nth("always") == 0, "never"
@pytest.fixture
def flaky_setup():
    if nth("setup") < 2: raise RuntimeError("not yet")
def test_setup(flaky_setup): pass
@pytest.fixture
def flaky_teardown():
    yield
    if nth("teardown") < 2: raise RuntimeError("not closed")
def test_teardown(flaky_teardown): pass
def test_skip_later():
    if nth("skip") < 2: assert False, "failed before it skipped"
    pytest.skip("now")
def test_skip(): pytest.skip("always")
"""
EXPECTED = [
    ("test_a.py::test_always", 1, "failed", False),
    ("test_a.py::test_always", 2, "failed", False),
    ("test_a.py::test_always", 3, "failed", True),
    ("test_a.py::test_flaky", 1, "failed", False),
    ("test_a.py::test_flaky", 2, "failed", False),
    ("test_a.py::test_flaky", 3, "passed", True),
    ("test_a.py::test_pass", 1, "passed", True),
    ("test_a.py::test_setup", 1, "error", False),
    ("test_a.py::test_setup", 2, "passed", True),
    ("test_a.py::test_skip", 1, "skipped", True),
    ("test_a.py::test_skip_later", 1, "failed", False),
    ("test_a.py::test_skip_later", 2, "skipped", True),
    ("test_a.py::test_teardown", 1, "error", False),
    ("test_a.py::test_teardown", 2, "passed", True),
]


@pytest.mark.parametrize(
    "args", [[], ["-n", "2"], ["-n", "2", "--dist", "loadgroup"]], ids=["plain", "xdist", "groups"]
)
def test_failing_tests_are_tried_again_and_every_attempt_is_recorded(pod: Pod, args: list[str]) -> None:
    marked = FLAKY.replace("def test_flaky", "@pytest.mark.xdist_group('g')\ndef test_flaky") if args[2:] else FLAKY
    pod.write(test_a=marked)
    if args:
        del pod.env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]
    pod.step["args"] = [*args, "-v"]
    pod.step["retry"]["attempts"] = 3
    ran = pod.run()
    assert ran.code == 0, ran.stderr
    assert ran.summary.trouble is None, ran.stderr
    assert sorted(ran.attempts) == EXPECTED
    assert ran.counts == {"passed": 1, "failed": 2, "flaky": 3, "skipped": 1}
    assert ran.failures == {
        "test_a.py::test_always": ("failed", "never"),
        "test_a.py::test_skip_later": ("failed", "failed before it skipped"),
        "test_a.py::test_flaky": ("flaky", "attempt 1"),
        "test_a.py::test_setup": ("flaky", "RuntimeError: not yet"),
        "test_a.py::test_teardown": ("flaky", "RuntimeError: not closed"),
    }
    assert "1 failed, 4 passed, 2 skipped, 7 rerun" in ran.stderr
    assert ran.summary.collection == ran.summary.part
    assert ran.summary.part is not None
    assert ran.summary.part.count == 7
    for record in ran.of_kind("attempt"):
        assert record["traceparent"] == traceparent(UID, record["test"], record["attempt"])
        assert (record["worker"] in ("gw0", "gw1")) if args else (record["worker"] is None)
    hashes = {r["reasonHash"] for r in ran.of_kind("attempt") if "test_flaky" in r["test"] and r["reason"]}
    assert len(hashes) == 1


def test_function_fixtures_are_made_anew_and_wider_ones_stay(pod: Pod) -> None:
    pod.write(
        test_a="""
        import pytest
        made = {"function": 0, "class": 0, "module": 0, "session": 0, "wide": 0}
        closed = []
        def fixture(scope):
            @pytest.fixture(scope=scope)
            def make():
                made[scope] += 1
                yield made[scope]
                closed.append(scope)
            return make
        f, c, m, s = (fixture(scope) for scope in ("function", "class", "module", "session"))
        @pytest.fixture(scope="module")
        def wide():
            made["wide"] += 1
            if made["wide"] < 2: raise RuntimeError("not yet")
            yield
        class TestA:
            tries = 0
            def test_a(self, f, c, m, s, record_property, capsys):
                assert not hasattr(self, "used")
                self.used = True
                TestA.tries += 1
                print("printed once")
                record_property("key", TestA.tries)
                assert capsys.readouterr().out == "printed once\\n"
                assert TestA.tries == 3
        def test_outside(wide): pass
        def test_seen():
            assert made == {"function": 3, "class": 1, "module": 1, "session": 1, "wide": 2}
            assert closed == ["function"] * 3 + ["class"]
        """
    )
    pod.step["retry"]["attempts"] = 3
    ran = pod.run()
    assert ran.counts == {"flaky": 2, "passed": 1}, ran.stderr


def test_unittest_and_asynchronous_setups_are_tried_again(pod: Pod) -> None:
    pod.write(
        test_a="""
        import unittest
        class TestA(unittest.TestCase):
            tries = 0
            def setUp(self):
                TestA.tries += 1
                self.fresh = True
            def tearDown(self): del self.fresh
            def test_a(self): self.assertEqual(TestA.tries, 2)
        """
    )
    pod.step["retry"]["attempts"] = 2
    assert pod.run().counts == {"flaky": 1}


def test_a_quarantined_flaky_test_is_not_counted_as_flaky(pod: Pod) -> None:
    pod.write(test_a=FLAKY)
    pod.step["retry"]["attempts"] = 3
    pod.step["path"] = "test_a.py::test_flaky"
    pod.step["quarantine"] = ["test_a.py::test_flaky"]
    ran = pod.run()
    assert ran.counts == {"quarantined": 1}
    assert ran.failures == {"test_a.py::test_flaky": ("quarantined", "attempt 1")}
    assert len(ran.attempts) == 3


def test_the_pause_between_attempts_grows_to_its_limit(pod: Pod) -> None:
    pauses = Retry(attempts=9, backoff=1, factor=3, max_backoff=10)
    assert [pauses.pause(attempt) for attempt in (1, 2, 3, 4, 5)] == [1, 3, 9, 10, 10]
    pod.write(
        test_a="""
        import time
        times = []
        def test_a():
            times.append(time.monotonic())
            assert len(times) == 3
        """,
        test_b="""
        from test_a import times
        def test_b(): assert times[1] - times[0] >= 0.2 and times[2] - times[1] >= 0.4
        """,
    )
    pod.step["retry"] = {"attempts": 3, "backoffSeconds": 0.2, "factor": 2, "maxBackoffSeconds": 1}
    assert pod.run().counts == {"flaky": 1, "passed": 1}


def test_a_crashed_xdist_worker_leaves_an_error_and_the_rest_runs(pod: Pod) -> None:
    del pod.env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"]
    pod.write(test_a="import os\ndef test_a(): pass\ndef test_die(): os._exit(1)\ndef test_z(): pass\n")
    pod.step["args"] = ["-n", "1"]
    ran = pod.run()
    assert ran.counts == {"passed": 2, "error": 1}, ran.stderr
    assert ran.failures["test_a.py::test_die"][0] == "error"
    assert "crashed" in ran.failures["test_a.py::test_die"][1]
    assert ran.summary.in_flight is None


def test_another_plugins_reruns_are_recorded(pod: Pod) -> None:
    """As pytest-rerunfailures does it: its own protocol, and reports with outcome `rerun`."""
    pod.write(
        conftest="""
        from _pytest.runner import runtestprotocol
        def pytest_runtest_protocol(item, nextitem):
            item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
            for left in (1, 0):
                reports = runtestprotocol(item, nextitem=nextitem, log=False)
                if left and any(report.failed for report in reports):
                    reports = [report for report in reports if report.failed][:1]
                    reports[0].outcome = "rerun"
                    left = -1
                for report in reports:
                    item.ihook.pytest_runtest_logreport(report=report)
                if left >= 0:
                    break
            item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
            return True
        """,
        test_a="""
        tries = []
        def test_a():
            tries.append(1)
            assert len(tries) == 2, 'once'
        def test_b(): pass
        """,
    )
    ran = pod.run()
    assert ran.attempts == [
        ("test_a.py::test_a", 1, "failed", False),
        ("test_a.py::test_a", 2, "passed", True),
        ("test_a.py::test_b", 1, "passed", True),
    ]
    assert ran.counts == {"flaky": 1, "passed": 1}


def test_junit_shows_attempts_inside_one_testcase(pod: Pod) -> None:
    pod.write(test_a=FLAKY)
    file = pod.root / "tmp/junit.xml"
    pod.step |= {"args": [f"--junitxml={file}"]}
    pod.step["retry"]["attempts"] = 3
    assert pod.run().summary.trouble is None
    cases: dict[str, list[str]] = {}
    for case in ET.parse(file).iter("testcase"):
        name = str(case.get("name"))
        assert name not in cases
        cases[name] = [child.tag for child in case]
    assert cases["test_pass"] == []
    assert cases["test_flaky"] == ["flakyFailure", "flakyFailure"]
    assert sorted(cases["test_always"]) == ["failure", "rerunFailure", "rerunFailure"]
    assert cases["test_setup"] == ["flakyError"]
    assert cases["test_teardown"] == ["flakyError"]
    flaky = next(iter(ET.parse(file).iter("flakyFailure")))
    assert flaky.get("message") == "attempt 1"
    assert "assert 1 == 3" in str(flaky.findtext("stackTrace"))


class _Report:
    def __init__(self, when: str, outcome: str, longrepr: object = "why") -> None:
        self.when, self.outcome, self.longrepr = when, outcome, longrepr


@pytest.mark.parametrize(
    ("phases", "judged"),
    [
        ("setup:passed call:passed teardown:passed", ("passed", "call")),
        ("setup:passed call:passed teardown:failed", ("error", "teardown")),
        ("setup:failed teardown:passed", ("error", "setup")),
        ("setup:failed teardown:failed", ("error", "setup")),
        ("setup:passed call:failed teardown:failed", ("failed", "call")),
        ("setup:passed call:skipped teardown:passed", ("skipped", "call")),
        ("setup:passed call:skipped teardown:failed", ("error", "teardown")),
        ("setup:skipped teardown:passed", ("skipped", "setup")),
        ("setup:passed teardown:passed", ("skipped", "setup")),
        ("setup:passed call:rerun", ("failed", "call")),
        ("setup:rerun", ("error", "setup")),
    ],
)
def test_an_attempt_is_judged_by_its_phases(phases: str, judged: tuple[str, str]) -> None:
    assert judge(_Report(*one.split(":")) for one in phases.split())[:2] == judged


def test_reasons_differ_only_by_what_is_stable() -> None:
    one = "order 17 at 0x7f3a failed after 1.5s for 6f1a4b1c-0000-4000-8000-123456789abc in 3f2a9c81d4e5"
    two = "order 4 at 0xdeadbeef failed after 22s for 00000000-1111-4222-8333-444444444444 in 99aa77bb66cc"
    assert reason_hash(one) == reason_hash(two)
    assert len(reason_hash(one)) == 12
    assert reason_hash(one) != reason_hash(one.replace("failed", "passed"))


def test_lines_are_printable_and_bounded() -> None:
    assert line("\n\n  \x1b[31mred\x1b[0m \x00 \n second") == r"red \x00"
    assert len(line("x" * 10_000)) == 500
    assert line("\x1b]0;title\x07text") == "text"
    assert told('noise\nE     File "x.py", line 1\nE       def (\nE   SyntaxError: invalid') == "SyntaxError: invalid"


def test_parameters_are_cut_from_the_function_only() -> None:
    assert without_parameters("a[b]/t.py::TestX::test_y[c::d[e]-1]") == "a[b]/t.py::TestX::test_y"
    assert without_parameters("t.py::test_y") == "t.py::test_y"
