"""What tests count of what they saw: summed over cases, by the attempt that counts, in record, end and summary."""

from pathlib import Path

import pytest

from runner.conftest import Pod

ROOT = Path(__file__).parents[2]


def test_counts_of_every_outcome_are_added_up(pod: Pod) -> None:
    pod.write(
        test_a="""
        import pytest

        def count(record_property, *counts):
            for number in counts:
                record_property("evidence:requests", number)

        @pytest.fixture
        def late(record_property):
            yield
            record_property("evidence:closed", 1)

        @pytest.fixture
        def broken(record_property):
            record_property("evidence:requests", 100_000)
            raise RuntimeError("no platform")

        def test_pass(record_property, late): count(record_property, 1, 2)
        def test_fail(record_property):
            count(record_property, 10)
            assert False
        def test_skip(record_property):
            count(record_property, 100)
            pytest.skip("inconclusive: no upstream")
        def test_error(broken): pass
        def test_quarantined(record_property): count(record_property, 1_000_000)
        def test_other(record_property):
            record_property("seconds", 1.5)
            record_property("evidence:none-yet", 0)
        """
    )
    pod.step["quarantine"] = ["test_a.py::test_quarantined"]
    ran = pod.run()
    assert ran.counts == {"passed": 2, "failed": 1, "skipped": 1, "error": 1, "quarantined": 1}
    assert ran.summary.evidence == {"requests": 100_113, "closed": 1, "none-yet": 0}
    assert ran.of_kind("end")[0]["evidence"] == ran.summary.evidence
    by_test = {record["test"].split("::")[1]: record["evidence"] for record in ran.of_kind("attempt")}
    assert by_test["test_pass"] == {"requests": 3, "closed": 1}
    assert by_test["test_quarantined"] == {"requests": 1_000_000}


@pytest.mark.parametrize("arguments", [[], ["-p", "xdist", "-n", "2"]], ids=["alone", "xdist"])
def test_the_last_attempt_is_what_counts(pod: Pod, arguments: list[str]) -> None:
    pod.write(
        test_a="""
        import os, pathlib
        def test_flaky(record_property):
            mark = pathlib.Path("been-here")
            record_property("evidence:requests", 1 if mark.exists() else 1000)
            fine = mark.exists()
            mark.touch()
            assert fine
        def test_never(record_property):
            record_property("evidence:requests", 10)
            assert False
        """
    )
    pod.step |= {"retry": {"attempts": 3, "backoffSeconds": 0, "factor": 2, "maxBackoffSeconds": 1}, "args": arguments}
    ran = pod.run()
    assert ran.counts == {"flaky": 1, "failed": 1}, ran.stderr
    assert ran.summary.evidence == {"requests": 11}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("evidence:requests", "-1", "the property 'evidence:requests' is -1: evidence is a whole number"),
        ("evidence:requests", "1.0", "is 1.0"),
        ("evidence:requests", "True", "is True"),
        ("evidence:requests", "None", "is None"),
        ("evidence:requests", "'20'", "is '20'"),
        ("evidence:requests", "10**9 + 1", "is 1000000001"),
        ("evidence:Requests", "1", "evidence is named like"),
        ("evidence:", "1", "evidence is named like"),
        ("evidence:" + "r" * 33, "1", "evidence is named like"),
    ],
)
def test_what_is_no_count_breaks_its_test(pod: Pod, name: str, value: str, says: str) -> None:
    pod.write(
        test_a=f"""
        def test_wrong(record_property): record_property({name!r}, {value})
        def test_right(record_property): record_property("evidence:requests", 4)
        """
    )
    ran = pod.run()
    assert ran.counts == {"passed": 1, "error": 1}
    outcome, line = ran.failures["test_a.py::test_wrong"]
    assert outcome == "error"
    assert says in line
    assert ran.summary.evidence == {"requests": 4}
    assert ran.summary.trouble is None


def test_many_names_leave_room_for_those_with_a_minimum(pod: Pod) -> None:
    pod.write(
        test_a="""
        def test_a(record_property):
            for n in range(40):
                record_property(f"evidence:a{n:02}" + "x" * 28, 10**9)
            record_property("evidence:wanted", 3)
        """
    )
    pod.step["evidence"] = ["wanted", "unseen"]
    ran = pod.run()
    assert ran.counts == {"passed": 1}
    assert len(ran.summary.evidence) == 16
    assert ran.summary.evidence["wanted"] == 3
    assert len(ran.message) <= 3500


def test_a_test_that_died_has_counted_nothing(pod: Pod) -> None:
    pod.write(
        test_a="""
        import os
        def test_a(record_property): record_property("evidence:requests", 3)
        def test_b(record_property):
            record_property("evidence:requests", 100)
            os._exit(1)
        """
    )
    ran = pod.run()
    assert ran.counts == {"passed": 1, "error": 1}
    assert ran.summary.evidence == {"requests": 3}


def test_the_fixture_of_the_suites_counts_what_the_runner_reads(pod: Pod) -> None:
    (pod.suites / "evidence.py").write_bytes((ROOT / "suites/_fixtures/evidence.py").read_bytes())
    pod.write(
        conftest="pytest_plugins = ['evidence']",
        test_a="""
        def test_a(evidence):
            evidence("requests", 20)
            evidence("requests")
            evidence("tenants")
        """,
    )
    pod.env["PYTHONPATH"] = f"{ROOT / 'operator'}:{pod.suites}"
    assert pod.run().summary.evidence == {"requests": 21, "tenants": 1}
