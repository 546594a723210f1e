"""What one pod says about its tests: each outcome, its line and its attempts."""

from runner.conftest import POD, UID, Pod


def test_every_outcome_is_counted_and_told_in_one_line(pod: Pod) -> None:
    pod.write(
        test_a="""
        import pytest

        def test_pass(): pass
        def test_fail(): assert False, "effect-once: 2 orders for one key, expected 1"
        def test_compare(): assert 1 == 2
        def test_bare(): raise AssertionError
        def test_raise(): raise ValueError("first line\\nsecond line")
        def test_pytest_fail(): pytest.fail("said so")
        def test_skip(): pytest.skip("not here")
        @pytest.mark.xfail
        def test_xfail(): assert False
        @pytest.mark.xfail
        def test_xpass(): pass
        @pytest.mark.xfail(strict=True, reason="known")
        def test_xpass_strict(): pass
        @pytest.mark.xfail(run=False)
        def test_xfail_not_run(): pass
        @pytest.fixture
        def bad_setup(): raise RuntimeError("no database")
        def test_setup_error(bad_setup): pass
        @pytest.fixture
        def bad_teardown():
            yield
            raise RuntimeError("cannot close")
        def test_teardown_error(bad_teardown): pass
        def test_fail_and_teardown_error(bad_teardown): assert False, "call failed"
        def test_missing_fixture(nothing): pass
        """
    )
    ran = pod.run()
    assert ran.code == 0, ran.stderr
    assert ran.counts == {"passed": 2, "failed": 7, "error": 3, "skipped": 3}
    assert ran.failures == {
        "test_a.py::test_fail": ("failed", "effect-once: 2 orders for one key, expected 1"),
        "test_a.py::test_compare": ("failed", "assert 1 == 2"),
        "test_a.py::test_bare": ("failed", "AssertionError at test_a.py:7"),
        "test_a.py::test_raise": ("failed", "ValueError: first line"),
        "test_a.py::test_pytest_fail": ("failed", "Failed: said so"),
        "test_a.py::test_xpass_strict": ("failed", "[XPASS(strict)] known"),
        "test_a.py::test_fail_and_teardown_error": ("failed", "call failed"),
        "test_a.py::test_setup_error": ("error", "RuntimeError: no database"),
        "test_a.py::test_teardown_error": ("error", "RuntimeError: cannot close"),
        "test_a.py::test_missing_fixture": ("error", "fixture 'nothing' not found"),
    }
    summary = ran.summary
    assert summary.complete
    assert summary.trouble is None
    assert summary.in_flight is None
    assert summary.omitted == 0
    assert summary.collection == summary.part
    assert summary.collection is not None
    assert summary.collection.count == 15
    phases = {record["test"].split("::")[1]: (record["phase"], record["reason"]) for record in ran.of_kind("attempt")}
    assert phases["test_setup_error"] == ("setup", "RuntimeError: no database")
    assert phases["test_teardown_error"] == ("teardown", "RuntimeError: cannot close")
    assert phases["test_fail_and_teardown_error"] == ("call", "call failed")
    assert phases["test_skip"] == ("call", "not here")
    assert phases["test_xfail"][1] == "xfail"
    assert phases["test_pass"] == ("call", None)


def test_stdout_holds_records_only_and_they_have_their_fields(pod: Pod) -> None:
    pod.write(
        test_a="""
        import os, sys
        def test_env(traceparent, proctor_seed):
            print("noise")
            os.write(1, b"more \\xff noise\\n")
            assert traceparent == os.environ["PROCTOR_TRACEPARENT"]
            assert (proctor_seed, os.environ["TEST_MODE"], os.environ["PROCTOR_SEED"]) == (7, "MOCK", "7")
            assert os.environ["PROCTOR_ENDPOINT_GATE_WAY"] == "http://127.0.0.1:1"
            assert os.environ["PYTHONHASHSEED"] == "0"
            assert sys.stdin.read(1) == ""
        """
    )
    pod.endpoints = [{"name": "gate-way", "url": "http://127.0.0.1:1"}]
    pod.env["PROCTOR_PREFLIGHT"] = "0"
    pod.step["args"] = ["-s"]
    ran = pod.run()
    assert ran.counts == {"passed": 1}, ran.stderr
    assert "noise" in ran.stderr
    assert [record["kind"] for record in ran.records] == ["start", "collected", "attempt", "end"]
    start, collected, attempt, end = ran.records
    assert (start["run"]["uid"], start["step"], start["index"], start["pod"]) == (UID, "step", 0, POD)
    assert start["versions"]["pytest"] == pod.version_of("pytest")
    assert collected["collection"]["count"] == 1
    assert attempt["traceparent"].startswith("00-")
    assert len(attempt["traceparent"]) == 55
    assert (attempt["reason"], attempt["reasonHash"], attempt["worker"]) == (None, None, None)
    assert attempt["start"] <= attempt["end"]
    assert attempt["start"].endswith("Z")
    assert len(attempt["start"]) == len("2026-01-01T00:00:00.000Z")
    assert (end["exitstatus"], end["trouble"], end["counts"]["passed"]) == (0, None, 1)


def test_zero_tests_is_a_complete_report_of_nothing(pod: Pod) -> None:
    ran = pod.run()
    assert (ran.code, ran.counts, ran.summary.trouble) == (0, {}, None), ran.stderr
    assert ran.summary.collection is not None
    assert ran.summary.collection.count == 0
    assert ran.of_kind("end")[0]["exitstatus"] == 5


def test_all_skipped(pod: Pod) -> None:
    pod.write(test_a="import pytest\npytestmark = pytest.mark.skip(reason='later')\ndef test_a(): 1/0\n")
    ran = pod.run()
    assert (ran.code, ran.counts, ran.summary.trouble) == (0, {"skipped": 1}, None)


def test_a_test_that_is_set_up_but_not_called_has_not_passed(pod: Pod) -> None:
    pod.write(test_a="def test_a(): pass\n")
    pod.step["args"] = ["--setup-only"]
    assert pod.run().counts == {"skipped": 1}


def test_collecting_only_is_not_a_report_of_the_shard(pod: Pod) -> None:
    pod.write(test_a="def test_a(): pass\n")
    pod.step["args"] = ["--collect-only"]
    ran = pod.run()
    assert ran.summary.trouble is not None
    assert ran.summary.trouble.reason == "IncompleteReport"


def test_quarantined_tests_run_but_are_counted_apart(pod: Pod) -> None:
    pod.write(
        test_a="""
        import pytest
        @pytest.mark.parametrize("n", [1, 2])
        def test_many(n): assert n == 1, f"n is {n}"
        def test_exact(): assert False, "known"
        def test_exactly_not(): assert False, "counts"
        """
    )
    pod.step["quarantine"] = ["test_a.py::test_many", "test_a.py::test_exact"]
    ran = pod.run()
    assert ran.counts == {"failed": 1, "quarantined": 3}
    assert ran.failures == {
        "test_a.py::test_exactly_not": ("failed", "counts"),
        "test_a.py::test_many[2]": ("quarantined", "n is 2"),
        "test_a.py::test_exact": ("quarantined", "known"),
    }
    assert len(ran.attempts) == 4


def test_user_arguments_select_before_the_shard_does(pod: Pod) -> None:
    pod.write(test_a="def test_yes(): pass\ndef test_no(): pass\n")
    pod.step["args"] = ["-k", "yes"]
    ran = pod.run()
    assert ran.counts == {"passed": 1}
    assert ran.summary.collection is not None
    assert ran.summary.collection.count == 1


def test_a_path_in_the_image_and_a_node_id(pod: Pod) -> None:
    (pod.root / "app/tests").mkdir(parents=True)
    (pod.root / "app/tests/test_x.py").write_text("def test_1(): pass\ndef test_2(): pass\n")
    pod.step["path"] = "/app/tests"
    assert [test for test, *_ in pod.run().attempts] == ["test_x.py::test_1", "test_x.py::test_2"]
    pod.step["path"] = "/app/tests/test_x.py::test_2"
    assert [test for test, *_ in pod.run().attempts] == ["test_x.py::test_2"]


def test_hostile_text_is_cut_and_escaped(pod: Pod) -> None:
    pod.write(
        conftest="""
        import pytest
        class Odd(pytest.Item):
            def runtest(self):
                raise ValueError("\\x1b[31mred\\x1b[0m \\x00 nul \\udc80 surrogate \\u2028 " + "x" * 10_000_000)
            def reportinfo(self): return self.path, 0, self.name
        class File(pytest.File):
            def collect(self):
                yield Odd.from_parent(self, name="nul\\x00 esc\\x1b[1m sur\\udc80 " + "y" * 5000)
                yield Odd.from_parent(self, name="twice")
                yield Odd.from_parent(self, name="twice")
        def pytest_collect_file(file_path, parent):
            if file_path.suffix == ".odd":
                return File.from_parent(parent, path=file_path)
        """
    )
    (pod.suites / "a.odd").touch()
    ran = pod.run()
    assert ran.code == 0, ran.stderr
    assert ran.counts == {"failed": 2}
    attempts = ran.of_kind("attempt")
    assert len(attempts) == 3
    assert all(record["reason"].startswith(r"ValueError: red \x00 nul \udc80 surrogate") for record in attempts)
    assert all(len(record["reason"]) <= 500 and record["reason"].isprintable() for record in attempts)
    assert attempts[0]["test"].startswith(r"a.odd::nul\x00 esc\x1b[1m sur\udc80 yyy")
    assert len(attempts[0]["test"]) <= 2000
    assert ran.summary.collection is not None
    assert ran.summary.collection.count == 2


def test_two_thousand_failures_fit(pod: Pod) -> None:
    pod.write(
        test_a="""
        import pytest
        @pytest.mark.parametrize("n", range(2000))
        def test_n(n): assert False, "long message " * 20
        """
    )
    pod.step["args"] = ["--tb=line"]
    ran = pod.run()
    assert ran.code == 0
    assert len(ran.message) <= 3500
    assert ran.counts == {"failed": 2000}
    assert ran.summary.failures
    assert ran.summary.omitted == 2000 - len(ran.summary.failures)
    assert len(ran.attempts) == 2000


def test_a_failing_subtest_fails_its_test(pod: Pod) -> None:
    pod.write(
        test_a="""
        import unittest
        class TestA(unittest.TestCase):
            def test_sub(self):
                for n in range(3):
                    with self.subTest(n=n):
                        self.assertNotEqual(n, 1)
        """
    )
    ran = pod.run()
    assert ran.counts == {"failed": 1}


def test_a_status_that_no_test_explains_is_trouble(pod: Pod) -> None:
    pod.write(
        conftest="""
        def pytest_sessionfinish(session): session.exitstatus = 1
        """,
        test_a="def test_a(): pass\n",
    )
    ran = pod.run()
    assert ran.counts == {"passed": 1}
    assert ran.summary.trouble is not None
    assert ran.summary.trouble.reason == "IncompleteReport"
    assert "status 1" in ran.summary.trouble.message
