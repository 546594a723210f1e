"""The pytest plugin: takes this shard's part of the collection, tries tests repeatedly, and sends records.

Loaded by the supervisor with `-p proctor.runner.plugin`, and by xdist in its workers. The workers run the attempts,
the main process sends the records. It changes no result of a suite: not order, fixtures, capture or exit status.
"""

import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import proctor
from proctor.core.results import digest_of
from proctor.core.shards import part
from proctor.runner.attempts import ENV_TRACEPARENT, Attempts
from proctor.runner.chaos_fixture import chaos
from proctor.runner.evidence import counted
from proctor.runner.junit import add_attempts
from proctor.runner.pipe import Pipe
from proctor.runner.plan import Assignment, durations, load
from proctor.runner.records import attempt_record, identity, is_rerun, judge, line, reason_of, told

__all__ = ["chaos"]

ENV_SCRATCH = "PROCTOR_SCRATCH"
_ATTEMPTS = pytest.StashKey[Attempts]()


def pytest_configure(config: pytest.Config) -> None:
    """Register what this process has to do."""
    assignment = load(Path(os.environ["PROCTOR_ROOT"]), os.environ)
    worker: str | None = config.workerinput["workerid"] if hasattr(config, "workerinput") else None
    shard = _Shard(config, assignment, worker)
    config.pluginmanager.register(shard, "proctor-shard")
    attempts = Attempts(assignment.retry, assignment.run["uid"], worker, shard.identify)
    config.stash[_ATTEMPTS] = attempts
    config.pluginmanager.register(attempts, "proctor-attempts")
    if worker is None:
        config.pluginmanager.register(_Recorder(config, assignment, shard, Pipe.inherited()), "proctor-recorder")


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Run one test. A hook of this early module comes after those of other plugins and lets them take a test over."""
    item.config.stash[_ATTEMPTS].run(item, nextitem)
    return True


# As the last of all it comes after the finalizers of fixtures, which may count too.
@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Break a test whose evidence cannot be counted."""
    if wrong := counted(item.user_properties)[1]:
        pytest.fail(wrong, pytrace=False)


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Show earlier attempts as reruns."""
    return ("rerun", "R", ("RERUN", {"yellow": True})) if is_rerun(report) else None


@pytest.fixture
def traceparent() -> str:
    """Return the W3C trace context of this attempt, to be sent along with the test's requests."""
    return os.environ[ENV_TRACEPARENT]


@pytest.fixture(scope="session")
def proctor_seed() -> int:
    """Return the run's seed, the same in all its pods."""
    return int(os.environ["PROCTOR_SEED"])


class _Shard:
    """Reduces the collection to this shard's part."""

    def __init__(self, config: pytest.Config, assignment: Assignment, worker: str | None) -> None:
        self._assignment = assignment
        self._worker = worker
        # xdist's main process knows it as `dist`, its workers as `loadgroup`.
        self._grouped = config.getoption("dist", "no") == "loadgroup" or config.getoption("loadgroup", False)
        self.collected: dict[str, object] | None = None

    def identify(self, item: pytest.Item) -> str:
        return self.identify_id(item.nodeid)

    def identify_id(self, node_id: str) -> str:
        """Return a node id's identity. With --dist=loadgroup xdist has appended @group, which is no part of it."""
        if self._grouped and "@" in node_id.rpartition("]")[2].rpartition("::")[2]:
            node_id = node_id.rpartition("@")[0]
        return identity(node_id)

    # As the outermost wrapper it comes after all other hooks, so it sees what -k, -m and conftest files have left.
    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> Iterator[None]:
        yield
        whole = [self.identify(item) for item in items]
        assignment = self._assignment
        mine = whole
        if assignment.shards > 1:
            mine = part(whole, durations(assignment.root), assignment.shards, assignment.index)
            kept = set(mine)
            items[:] = [item for item, test in zip(items, whole, strict=True) if test in kept]
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            return  # Pytest will run nothing, and what was collected is not the whole.
        self.collected = {
            "kind": "collected",
            "collection": asdict(digest_of(whole)),
            "part": asdict(digest_of(mine)),
        }
        if self._worker is not None:
            file = Path(os.environ[ENV_SCRATCH], f"{self._worker}.json")
            file.write_text(json.dumps(self.collected), encoding="utf-8")

    def pytest_report_collectionfinish(self) -> str | None:
        if self._assignment.shards == 1 or self.collected is None:
            return None
        counts = [self.collected[name]["count"] for name in ("part", "collection")]  # type: ignore[index]
        return f"proctor: shard {self._assignment.index} of {self._assignment.shards} runs {counts[0]} of {counts[1]}"


class _Recorder:
    """Sends what happens to the supervisor."""

    def __init__(self, config: pytest.Config, assignment: Assignment, shard: _Shard, pipe: Pipe) -> None:
        self._config = config
        self._assignment = assignment
        self._shard = shard
        self._pipe = pipe
        self._stopped = ""
        self._sent_collected = False
        self._earlier: dict[str, list[tuple[dict[str, Any], str]]] = {}
        self._foreign: dict[str, list[pytest.TestReport]] = {}
        pipe.write(
            {
                "kind": "start",
                "run": assignment.run,
                "step": assignment.step,
                "index": assignment.index,
                "pod": assignment.pod,
                "seed": assignment.seed,
                "mode": assignment.mode,
                "versions": {
                    "runner": proctor.__version__,
                    "python": platform.python_version(),
                    "pytest": pytest.__version__,
                },
            }
        )

    def _send_collected(self, record: dict[str, object] | None) -> None:
        if record is not None and not self._sent_collected:
            self._sent_collected = True
            self._pipe.write(record)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self) -> None:
        self._send_collected(self._shard.collected)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        file = Path(os.environ[ENV_SCRATCH], f"{node.gateway.id}.json")
        if file.exists():
            self._send_collected(json.loads(file.read_text(encoding="utf-8")))

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            reason = told(str(report.longrepr))
            self._pipe.write({"kind": "collection-error", "test": identity(report.nodeid), "reason": reason})

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._pipe.write({"kind": "begin", "test": self._shard.identify_id(nodeid), "time": time.time()})

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = self._shard.identify_id(report.nodeid)
        if not hasattr(report, "proctor"):
            self._record_foreign(test, report)
            return
        record: dict[str, Any] | None = report.proctor
        if record is None:
            return
        self._foreign.pop(test, None)
        if record["final"]:
            add_attempts(self._config, report, self._earlier.pop(test, ()))
        else:
            self._earlier.setdefault(test, []).append((record, str(report.longrepr)))
        self._pipe.write(record)

    def _record_foreign(self, test: str, report: pytest.TestReport) -> None:
        """Record an attempt that another plugin ran: pytest-rerunfailures, or xdist for a worker that crashed."""
        reports = self._foreign.setdefault(test, [])
        reports.append(report)
        crashed = report.when not in ("setup", "call", "teardown")
        if not crashed and report.when != "teardown" and not is_rerun(report):
            return
        duration = sum(getattr(one, "duration", 0.0) for one in reports)
        earlier = self._earlier.setdefault(test, [])
        record = attempt_record(
            test,
            len(earlier) + 1,
            ("error", "call", reason_of(report.longrepr)) if crashed else judge(reports),
            final=not is_rerun(report),
            start=time.time() - duration,
            duration=duration,
            evidence=counted(report.user_properties)[0],
            run=self._assignment.run["uid"],
            worker=report.node.gateway.id if hasattr(report, "node") else None,
        )
        del self._foreign[test]
        if record["final"]:
            del self._earlier[test]
        else:
            earlier.append((record, ""))
        self._pipe.write(record)

    def pytest_internalerror(self, excrepr: object) -> None:
        self._stopped = reason_of(excrepr)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        self._stopped = line(excinfo.exconly())

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        yield
        stopped = self._stopped or str(session.shouldfail or session.shouldstop or "")
        self._pipe.write({"kind": "end", "exitstatus": int(session.exitstatus), "stopped": line(stopped)})
