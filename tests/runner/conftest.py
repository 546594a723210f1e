"""A pod on this machine: a folder with the layout that a step's pod has, in which the real runner is started."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from proctor.core.results import Summary, decode

OPERATOR = Path(__file__).parents[2] / "operator"
UID = "11111111-2222-3333-4444-555555555555"
POD = "99999999-8888-7777-6666-555555555555"


@dataclass
class Ran:
    """What one container left behind."""

    code: int
    records: list[dict[str, Any]]
    stderr: str
    message: str
    index: int = 0

    @property
    def summary(self) -> Summary:
        return decode(self.message, run=UID, step="step", index=self.index, pod=POD)

    @property
    def counts(self) -> dict[str, int]:
        return {name: count for name, count in self.summary.counts.items() if count}

    @property
    def failures(self) -> dict[str, tuple[str, str]]:
        return {failure.test: (failure.outcome, failure.line) for failure in self.summary.failures}

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["kind"] == kind]

    @property
    def attempts(self) -> list[tuple[str, int, str, bool]]:
        return [(r["test"], r["attempt"], r["outcome"], r["final"]) for r in self.of_kind("attempt")]


@dataclass
class Pod:
    """The folder, and what differs from a plain step. PROCTOR_TEST_PYTHON names another image's Python with pytest."""

    root: Path
    python: str = os.environ.get("PROCTOR_TEST_PYTHON", sys.executable)
    env: dict[str, str] = field(default_factory=dict)
    step: dict[str, Any] = field(default_factory=dict)
    endpoints: list[dict[str, str]] = field(default_factory=list)
    seed: int = 7
    run_name: str = "run-1"
    patience: float = 50
    """Seconds until a container that has not ended is killed."""

    def version_of(self, module: str) -> str:
        command = [self.python, "-c", f"import {module}; print({module}.__version__)"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    @property
    def suites(self) -> Path:
        return self.root / "suites"

    @property
    def termination_log(self) -> Path:
        return self.root / "dev/termination-log"

    def write(self, **files: str) -> None:
        """Write test files into the image's suites; `test_a` is test_a.py, `ini` is pytest.ini."""
        for name, text in files.items():
            file = self.suites / ("pytest.ini" if name == "ini" else f"{name}.py")
            file.write_text(dedent(text), encoding="utf-8")

    def durations(self, known: dict[str, float]) -> None:
        (self.root / "proctor/plan/durations.json.gz").write_bytes(gzip.compress(json.dumps(known).encode()))

    def start(self, command: str = "run", *, index: int = 0) -> "subprocess.Popen[bytes]":
        plan = {
            "version": 1,
            "run": {"uid": UID, "name": self.run_name, "namespace": "shop", "suite": "suite"},
            "seed": self.seed,
            "mode": "MOCK",
            "target": {"name": "bazaar", "endpoints": self.endpoints},
            "steps": [{"name": "other"}, self.step],
            "spec": {"ignored": True},
        }
        (self.root / "proctor/plan/plan.json").write_text(json.dumps(plan))
        env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "COV_", "PROCTOR"))}
        env |= {"PROCTOR_STEP": "step", "PROCTOR_POD_UID": POD, "JOB_COMPLETION_INDEX": str(index)}
        env |= {"PYTHONPATH": str(OPERATOR), "TMPDIR": str(self.root / "tmp")} | self.env
        return subprocess.Popen(
            [self.python, "-m", "proctor.runner", "--root", str(self.root), command],
            cwd=self.root,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def finish(self, process: "subprocess.Popen[bytes]", *, index: int = 0) -> Ran:
        try:
            out, err = process.communicate(timeout=self.patience)
        finally:
            process.kill()
        stderr = err.decode(errors="replace")
        records = [json.loads(line) for line in out.decode().splitlines()]
        return Ran(process.returncode, records, stderr, self.termination_log.read_text(), index)

    def run(self, command: str = "run", *, index: int = 0) -> Ran:
        return self.finish(self.start(command, index=index), index=index)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    root = tmp_path / "pod"
    for folder in ("proctor/plan", "proctor/work", "suites", "dev", "tmp"):
        (root / folder).mkdir(parents=True)
    (root / "dev/termination-log").touch()
    step = {
        "name": "step",
        "path": ".",
        "args": [],
        "shards": 1,
        "timeoutSeconds": 40,
        "retry": {"attempts": 1, "backoffSeconds": 0, "factor": 2, "maxBackoffSeconds": 1},
        "source": {"kind": "Image"},
        "quarantine": [],
        "evidence": [],
    }
    # The image's other plugins are not what these tests are about, and take half a second to import.
    return Pod(root, step=step, env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})


@pytest.fixture
def alive() -> Callable[[int], bool]:
    def is_alive(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True

    return is_alive
