"""A kubectl that answers from a script and writes down what it was asked."""

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

_PROGRAM = """\
#!{python}
import json, os, pathlib, sys, time
here = pathlib.Path(__file__).parent
calls = here / "calls.jsonl"
number = len(calls.read_text().splitlines()) if calls.exists() else 0
document = json.load(sys.stdin) if "-f" in sys.argv else None
with calls.open("a") as out:
    out.write(json.dumps({{"argv": sys.argv[1:], "document": document, "pid": os.getpid()}}) + "\\n")
answers = json.loads((here / "answers.json").read_text())
answer = answers[min(number, len(answers) - 1)]
if "error" in answer:
    sys.exit(answer["error"])
if "forward" in answer:
    print(f"Forwarding from 127.0.0.1:{{answer['forward']}} -> 8080", flush=True)
    time.sleep(100)
print(json.dumps(answer))
"""


class FakeKubectl:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def answers(self, *answers: dict[str, Any]) -> None:
        """Answer the first call with the first of these, and so on; the last one again and again."""
        (self.folder / "answers.json").write_text(json.dumps(answers))

    @property
    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "calls.jsonl").read_text().splitlines()]


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    program = tmp_path / "kubectl"
    program.write_text(_PROGRAM.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return FakeKubectl(tmp_path)


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proctor.cli.watch._PAUSE_SECONDS", 0.0)
