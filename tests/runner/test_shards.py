"""A sharded run is the whole run: nothing lost, nothing twice, no result changed."""

import re
import subprocess
import xml.etree.ElementTree as ET

import pytest

from proctor.core.results import add_up
from runner.conftest import Pod

SUITE = """
import pytest

@pytest.fixture(scope="module")
def shared(): return []

@pytest.mark.parametrize("n", range(12))
def test_n(n, shared):
    shared.append(n)
    assert n % 5, f"{n} is bad"

class TestB:
    def test_skip(self): pytest.skip("no")
    @pytest.mark.xfail
    def test_xfail(self): assert False
    def test_out(self, capsys):
        print("x")
        assert capsys.readouterr().out == "x\\n"
    @pytest.mark.slow
    def test_slow(self): pass
"""


@pytest.mark.parametrize("shards", [1, 2, 3, 4])
def test_shards_make_the_whole_and_agree_with_plain_pytest(pod: Pod, shards: int) -> None:
    pod.write(
        test_a=SUITE,
        test_b="def test_one(): pass\ndef test_two(): assert 0\n",
        ini="[pytest]\nmarkers = slow: takes long\n",
    )
    pod.durations({"test_a.py::test_n[3]": 9.0, "test_b.py::test_one": 4.0, "gone": 1.0})
    pod.step |= {"shards": shards, "args": ["-m", "not slow"]}
    ran = [pod.run(index=index) for index in range(shards)]
    parts = [one.summary.part for one in ran if one.summary.part is not None]
    assert len(parts) == shards
    assert {one.summary.collection for one in ran} == {add_up(parts)}
    assert all(one.summary.trouble is None for one in ran)
    outcomes = {test: outcome for one in ran for test, _, outcome, _ in one.attempts}
    assert len(outcomes) == sum(len(one.attempts) for one in ran)
    assert outcomes == _plain(pod)
    if shards > 1:
        assert sum(f"shard {one.index} of {shards}" in one.stderr for one in ran) == shards
        assert max(len(one.attempts) for one in ran) < len(outcomes)


def test_plain_results_order_and_exit_status_are_unchanged(pod: Pod) -> None:
    pod.write(test_a=SUITE, conftest="def pytest_collection_modifyitems(items): items.reverse()\n")
    pod.step["args"] = ["-v", "-m", "not slow", "-W", "ignore"]
    ran = pod.run()
    plain = subprocess.run(
        [pod.python, "-m", "pytest", "-p", "no:cacheprovider", *pod.step["args"]],
        cwd=pod.suites,
        env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.of_kind("end")[0]["exitstatus"] == plain.returncode == 1

    def said(text: str) -> list[str]:
        lines = text[text.index("collected") : text.index("short test summary")].splitlines()
        return [re.sub(r"0x[0-9a-f]+", "", line) for line in lines if not line.startswith("proctor:")]

    assert said(ran.stderr) == said(plain.stdout)


def test_imports_see_what_plain_pytest_sees(pod: Pod) -> None:
    """Neither the folder of the runner nor the supervisor's working directory comes first."""
    (pod.suites / "plan.py").write_text("HERE = True\n")
    pod.write(
        test_a="""
        import os, sys
        def test_a():
            import plan
            assert plan.HERE
            assert not any(path.endswith("proctor/runner") for path in sys.path)
            assert sys.path[0] == os.getcwd() == os.path.dirname(__file__)
        """
    )
    assert pod.run("prepare").code == 0
    process = subprocess.run(
        [pod.python, pod.root / "proctor/work/runner", "--root", pod.root, "run"],
        env={**pod.env, "PROCTOR_STEP": "step", "PYTHONPATH": "", "TMPDIR": str(pod.root / "tmp")},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert '"passed":1' in process.stdout, process.stderr


def _plain(pod: Pod) -> dict[str, str]:
    file = pod.root / "tmp/plain.xml"
    subprocess.run(
        [pod.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", f"--junitxml={file}"],
        cwd=pod.suites,
        env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
    )
    words = {"failure": "failed", "error": "error", "skipped": "skipped"}
    outcomes = {}
    for case in ET.parse(file).iter("testcase"):
        module, *klass = str(case.get("classname")).split(".")
        children = [words[child.tag] for child in case if child.tag in words]
        outcomes["::".join([f"{module}.py", *klass, str(case.get("name"))])] = children[0] if children else "passed"
    return outcomes
