"""A test suite that somebody else wrote, and what plain pytest says about it.

more-itertools: 696 tests of unittest's style, one of them skipped, with thousands of subtests. The package comes as its
authors published it, by version and digest. As a program this file is plain pytest that writes outcomes to a file.
"""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ARGS = [
    # Together they take four fifths of the suite's time, and they show nothing that others do not.
    "--deselect=tests/test_recipes.py::PrimeFunctionTests::test_primes",
    "--deselect=tests/test_more.py::DiscreteFourierTransformTests::test_roundtrip",
]
Outcomes = dict[str, str]
"""Node id -> passed, failed, error or skipped."""

_NAME, _VERSION = "more-itertools", "10.8.0"
_SHA256 = "f638ddf8a1a0d134181275fb5d58b086ead7c6a72429ad725c67503f13ba30bd"
_CACHE = Path(__file__).parents[2] / "build" / "third-party"


def fetch(folder: Path) -> bytes:
    """Extract the package's source into the empty `folder`, and return it as a tar.gz without an outer folder."""
    published = _CACHE / f"{_NAME.replace('-', '_')}-{_VERSION}.tar.gz"
    if not published.exists() or hashlib.sha256(published.read_bytes()).hexdigest() != _SHA256:
        _download()
    with tarfile.open(published) as tar:
        tar.extractall(folder)  # No filter: Debian 12's tarfile has none, and the digest says what this is.
    (tree,) = folder.iterdir()
    for entry in tree.iterdir():
        entry.rename(folder / entry.name)
    tree.rmdir()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for entry in sorted(folder.iterdir()):
            tar.add(entry, entry.name)
    return packed.getvalue()


def _download() -> None:
    _CACHE.mkdir(parents=True, exist_ok=True)
    requirement = _CACHE / "requirements.txt"
    requirement.write_text(f"{_NAME}=={_VERSION} --hash=sha256:{_SHA256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    chosen = ["--no-binary", ":all:", "--require-hashes", "--requirement", str(requirement), "--dest", str(_CACHE)]
    subprocess.run([*pip, *chosen], check=True, timeout=180)


def plain_pytest(tree: Path, result: Path) -> Outcomes:
    """Run plain pytest in `tree` with ARGS and no plugins; `result` is a file to write to."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, __file__, str(result), "-p", "no:cacheprovider", "-q", *ARGS]
    subprocess.run(command, cwd=tree, env=environment, check=True, timeout=180)
    outcomes: Outcomes = json.loads(result.read_text())
    return outcomes


class _Listener:
    """The worst report of each test."""

    RANKS = ("passed", "skipped", "failed", "error")

    def __init__(self) -> None:
        self.outcomes: Outcomes = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome: str = report.outcome
        if outcome == "failed" and report.when != "call":
            outcome = "error"
        self.outcomes[report.nodeid] = max(outcome, self.outcomes.get(report.nodeid, "passed"), key=self.RANKS.index)


if __name__ == "__main__":
    listener = _Listener()
    code = pytest.main(sys.argv[2:], plugins=[listener])
    Path(sys.argv[1]).write_text(json.dumps(listener.outcomes))
    sys.exit(code)
