"""What tests can do, and the verdict, reason and counts that come of it."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from e2e.world import World, counts, one_step
from proctor.edge.client import Json

pytestmark = pytest.mark.e2e

FLAKY = """
def test_flaky(tmp_path_factory):
    mark = tmp_path_factory.getbasetemp() / "been-here"
    seen = mark.exists()
    mark.touch()
    assert seen, "not on the first try"
"""
ONCE_THEN_FINE = """
import pathlib
mark = pathlib.Path("/proctor/work/been-here")
def test_before(): pass
def test_dies_once():
    if not mark.exists():
        mark.touch()
        {death}
def test_after(): pass
"""


COUNTS = """
import pytest
@pytest.mark.parametrize("n", range(4))
def test_a(n, record_property):
    record_property("evidence:tenants", 1)
    if n == 3:
        record_property("evidence:requests", 1)
        pytest.skip("inconclusive: no upstream")
    record_property("evidence:requests", {count})
"""


@dataclass(frozen=True)
class Case:
    """Files of a suite, and what must come of them."""

    name: str
    files: dict[str, str]
    verdict: str
    reason: str
    counts: Json
    suite: dict[str, Any] = field(default_factory=dict)
    says: str = ""
    names_test: str = ""
    evidence: Json = field(default_factory=dict)


CASES = [
    Case("passing", {"test_a.py": "def test_a(): pass\ndef test_b(): pass"}, "Passed", "Passed", counts(passed=2)),
    Case(
        "failing",
        {"test_a.py": "def test_a(): pass\ndef test_b(): assert 1 + 1 == 3, 'arithmetic is broken'"},
        "Failed",
        "TestsFailed",
        counts(passed=1, failed=1),
        says="1 of 2 tests failed: test_a.py::test_b: arithmetic is broken",
        names_test="test_a.py::test_b",
    ),
    Case(
        "always-failing-with-retries-is-broken-not-flaky",
        {"test_a.py": "def test_a(): assert False, 'never'"},
        "Failed",
        "TestsFailed",
        counts(failed=1),
        suite={"step": {"retry": {"attempts": 3, "backoff": "0s"}}},
        names_test="test_a.py::test_a",
    ),
    Case(
        "flaky",
        {"test_a.py": FLAKY},
        "Passed",
        "PassedWithFlakes",
        counts(flaky=1),
        suite={"step": {"retry": {"attempts": 2, "backoff": "0s"}}},
        names_test="test_a.py::test_flaky",
    ),
    Case(
        "flaky-may-fail-the-run",
        {"test_a.py": FLAKY},
        "Failed",
        "FlakyTests",
        counts(flaky=1),
        suite={"onFlaky": "Fail", "step": {"retry": {"attempts": 2, "backoff": "0s"}}},
        names_test="test_a.py::test_flaky",
    ),
    Case(
        "quarantined",
        {"test_a.py": "def test_a(): pass\ndef test_b(): assert False, 'known'"},
        "Passed",
        "Passed",
        counts(passed=1, quarantined=1),
        suite={"quarantine": [{"test": "test_a.py::test_b", "reason": "r", "owner": "o", "expires": "2999-12-31"}]},
        names_test="test_a.py::test_b",
    ),
    Case(
        "expired-quarantine-counts",
        {"test_a.py": "def test_b(): assert False, 'known'"},
        "Failed",
        "TestsFailed",
        counts(failed=1),
        suite={"quarantine": [{"test": "test_a.py::test_b", "reason": "r", "owner": "o", "expires": "2020-01-31"}]},
    ),
    Case(
        "only-quarantined",
        {"test_a.py": "def test_b(): assert False, 'known'"},
        "Inconclusive",
        "NoTestsExecuted",
        counts(quarantined=1),
        suite={"quarantine": [{"test": "test_a.py::test_b", "reason": "r", "owner": "o", "expires": "2999-12-31"}]},
    ),
    Case("zero-tests", {"test_a.py": "x = 1"}, "Inconclusive", "NoTestsExecuted", counts()),
    Case(
        "all-skipped",
        {"test_a.py": "import pytest\n@pytest.mark.skip\ndef test_a(): pass"},
        "Inconclusive",
        "NoTestsExecuted",
        counts(skipped=1),
    ),
    Case(
        "too-little-evidence",
        {"test_a.py": COUNTS.format(count=2)},
        "Inconclusive",
        "InsufficientEvidence",
        counts(passed=3, skipped=1),
        suite={"step": {"shards": 2, "evidence": {"requests": 8, "tenants": 1}}},
        says="evidence requests: 7 of at least 8",
        evidence={"requests": 7, "tenants": 4},
    ),
    Case(
        "just-enough-evidence",
        {"test_a.py": COUNTS.format(count=3)},
        "Passed",
        "Passed",
        counts(passed=3, skipped=1),
        suite={"step": {"shards": 2, "evidence": {"requests": 8, "tenants": 1}}},
        evidence={"requests": 10, "tenants": 4},
    ),
    Case(
        "evidence-that-is-no-count",
        {"test_a.py": COUNTS.format(count=-1)},
        "Error",
        "TestErrors",
        counts(error=3, skipped=1),
        suite={"step": {"evidence": {"requests": 1}}},
        says="'evidence:requests' is -1: evidence is a whole number",
        evidence={"requests": 1, "tenants": 4},
    ),
    Case(
        "collection-error",
        {"test_a.py": "def test_a(): pass", "test_b.py": "import a_module_that_is_not_there"},
        "Error",
        "CollectionError",
        counts(),
        says="a_module_that_is_not_there",
    ),
    Case(
        "broken-fixture",
        {"test_a.py": "import pytest\n@pytest.fixture\ndef f(): 1/0\ndef test_a(f): pass"},
        "Error",
        "TestErrors",
        counts(error=1),
        names_test="test_a.py::test_a",
    ),
    Case(
        "os-exit-in-a-test-that-would-pass-on-a-second-try",
        {"test_a.py": ONCE_THEN_FINE.format(death="import os; os._exit(0)")},
        "Error",
        "RunnerCrashed",
        counts(passed=1, error=1),
        suite={"step": {"retry": {"attempts": 3, "backoff": "0s"}}},
        names_test="test_a.py::test_dies_once",
    ),
    Case(
        "out-of-memory-in-a-test-that-would-pass-on-a-second-try",
        {"test_a.py": ONCE_THEN_FINE.format(death="x = bytearray(400 * 2**20); x[::4096] = b'x' * len(x[::4096])")},
        "Error",
        "OOMKilled",
        counts(passed=1, error=1),
        suite={"runner": {"resources": {"limits": {"memory": "120Mi"}}}, "step": {"retry": {"attempts": 3}}},
        names_test="test_a.py::test_dies_once",
    ),
    Case(
        "a-child-out-of-memory",
        {
            "test_a.py": "import subprocess, sys\n"
            "def test_a():\n"
            "    code = \"x = bytearray(400 * 2**20); x[::4096] = b'x' * len(x[::4096])\"\n"
            "    subprocess.run([sys.executable, '-c', code])\n"
        },
        "Error",
        "OOMKilled",
        counts(passed=1),
        suite={"runner": {"resources": {"limits": {"memory": "120Mi"}}}},
        says="child",
    ),
    Case(
        "hang-until-timeout",
        {"test_a.py": "import time\ndef test_ok(): pass\ndef test_hangs(): time.sleep(600)"},
        "Error",
        "DeadlineExceeded",
        counts(passed=1, error=1),
        suite={"step": {"timeout": "5s"}},
        says="test_a.py::test_hangs",
        names_test="test_a.py::test_hangs",
    ),
    Case(
        "forged-summary",
        {
            "test_a.py": "def test_a():\n"
            "    with open('/dev/termination-log', 'w') as f:\n"
            '        f.write(\'{"v":1,"bytes":2,"sha256":"00","body":{"complete":true}}\')\n'
            "    assert False, 'the truth'\n"
        },
        "Failed",
        "TestsFailed",
        counts(failed=1),
        says="the truth",
    ),
    Case(
        "oversized-summary",
        {
            "test_a.py": "import pytest\n"
            "@pytest.mark.parametrize('n', range(500))\n"
            "def test_a(n): assert False, 'x' * 5000\n"
        },
        "Failed",
        "TestsFailed",
        counts(failed=500),
    ),
    Case(
        "shards-that-collect-differently",
        {
            "test_a.py": "import os, pytest\n"
            "@pytest.mark.parametrize('n', range(4))\n"
            "def test_a(n): pass\n"
            "if os.environ['JOB_COMPLETION_INDEX'] == '1':\n"
            "    def test_only_here(): pass\n"
        },
        "Error",
        "CollectionDiffers",
        counts(passed=4),
        suite={"step": {"shards": 2}},
    ),
    Case(
        "four-shards",
        {"test_a.py": "import pytest\n@pytest.mark.parametrize('n', range(10))\ndef test_a(n): assert n != 7, 'seven'"},
        "Failed",
        "TestsFailed",
        counts(passed=9, failed=1),
        suite={"parallelism": 2, "step": {"shards": 4}},
        names_test="test_a.py::test_a[7]",
    ),
    Case(
        "target-unreachable",
        {"test_a.py": "def test_a(): pass"},
        "Error",
        "TargetUnreachable",
        counts(),
        suite={"target": {"name": "gone", "endpoints": [{"name": "shop", "url": "http://127.0.0.1:9"}]}},
        says="shop",
    ),
]

ABSENT_SECONDS = 60.0
"""The runner's patience with a silent target is a third of it; the rest is for the pod."""


@pytest.mark.parametrize("kind", ["no Service", "a Service without endpoints"])
async def test_absent_platform_is_an_error_soon(world: World, kind: str) -> None:
    """Each test would fail alike: no test is tried, and the message names the address that does not answer."""
    if kind != "no Service":
        await world.kubectl("create", "service", "clusterip", "shop", "--tcp=8080")  # it selects pods that nobody made
    address = f"shop.{world.namespace}:8080"
    target = {"name": "gone", "endpoints": [{"name": "gateway", "url": f"http://{address}"}]}
    await world.files("absent", {"test_a.py": "def test_a(): pass"})
    await world.apply_run("absent", {"suite": one_step("absent", target=target)})
    status = await world.verdict("absent", ABSENT_SECONDS)
    assert (status["verdict"], status["reason"]) == ("Error", "TargetUnreachable"), status["message"]
    assert f"endpoint gateway at {address} accepted no connection" in status["message"]
    assert status["counts"] == counts()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_outcome(world: World, case: Case) -> None:
    status = await world.run("case", case.files, **dict(case.suite))
    assert (status["verdict"], status["reason"]) == (case.verdict, case.reason), status["message"]
    assert status["counts"] == case.counts
    assert case.says in status["message"]
    assert status["steps"][0].get("evidence", {}) == case.evidence
    if case.names_test:
        assert case.names_test in [failure["test"] for failure in status.get("failures", [])]
    finished = {c["type"]: c["status"] for c in status["conditions"]}
    assert finished["Finished"] == "True"
    assert finished["Succeeded"] == ("True" if case.verdict == "Passed" else "False")
