"""Runs each test as a series of attempts: pytest's own protocol, repeated while it fails and tries are left.

A test's function-scoped fixtures are made anew for each attempt, those of wider scopes stay. Only the last attempt's
reports are pytest's results; of an earlier one a single report with outcome `rerun` is logged. A report that ends an
attempt carries its record in `proctor`, where xdist takes it along.
"""

import os
import time
from collections.abc import Callable, Iterator
from inspect import signature
from typing import Any

import pytest
from _pytest.runner import call_and_report, show_test_item

from proctor.runner.evidence import counted
from proctor.runner.plan import Retry
from proctor.runner.records import attempt_record, judge, traceparent

ENV_TRACEPARENT = "PROCTOR_TRACEPARENT"
# Newer versions of pytest want to be told.
_SHOW: dict[str, Any] = {"add_space": True} if "add_space" in signature(show_test_item).parameters else {}


class Attempts:
    """What replaces pytest's protocol in one process. `identify` gives an item's identity."""

    def __init__(self, retry: Retry, run: str, worker: str | None, identify: Callable[[pytest.Item], str]) -> None:
        self._retry = retry
        self._run = run
        self._worker = worker
        self._identify = identify
        self._others: list[pytest.TestReport] | None = None

    def run(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Run one test with its attempts."""
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        properties = list(item.user_properties)
        for attempt in range(1, self._retry.attempts + 1):
            last = attempt == self._retry.attempts
            if not self._attempt(item, nextitem, attempt, last):
                break
            time.sleep(self._retry.pause(attempt))
            _make_anew(item, properties)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note failures that are reported from inside a test: those of its subtests."""
        if self._others is not None and not hasattr(report, "proctor") and report.failed:
            self._others.append(report)

    def _attempt(self, item: pytest.Item, nextitem: pytest.Item | None, attempt: int, last: bool) -> bool:
        """Run one attempt and log its reports; return whether the test is to be tried again."""
        test = self._identify(item)
        start, clock = time.time(), time.perf_counter()
        reports: list[pytest.TestReport] = []
        self._others = []

        def may_retry() -> bool:
            return not last and not item.session.shouldfail and not item.session.shouldstop

        def next_node() -> pytest.Item | pytest.Collector | None:
            if may_retry() and judge([*reports, *(self._others or ())])[0] in ("failed", "error"):
                return item.parent  # Tears down what is the item's own and keeps what it shares.
            # A session that is about to end tears everything down, or errors of wide fixtures would get lost.
            return None if item.session.shouldfail or item.session.shouldstop else nextitem

        os.environ[ENV_TRACEPARENT] = traceparent(self._run, test, attempt)
        try:
            for report in _phases(item, next_node):
                _attach(report, None)
                reports.append(report)
                # Without further attempts results are logged as they come, just as pytest does.
                if last and report.when != "teardown":
                    item.ihook.pytest_runtest_logreport(report=report)
        finally:
            os.environ.pop(ENV_TRACEPARENT, None)
            others, self._others = self._others, None
        judged = judge([*reports, *others])
        again = may_retry() and judged[0] in ("failed", "error")
        record = attempt_record(
            test,
            attempt,
            judged,
            final=not again,
            start=start,
            duration=time.perf_counter() - clock,
            evidence=counted(item.user_properties)[0],
            run=self._run,
            worker=self._worker,
        )
        _attach(reports[-1], record)
        if again:
            report = next((report for report in reports if report.failed), reports[-1])
            report.outcome = "rerun"  # type: ignore[assignment]  # as pytest-rerunfailures does; others know it
            _attach(report, record)
            if report.when == "teardown":
                report.when = "call"  # A teardown report would close the test for pytest's JUnit file.
            reports = [report]
        for report in reports[-1:] if last else reports:
            item.ihook.pytest_runtest_logreport(report=report)
        return again


def _phases(item: Any, next_node: Callable[[], pytest.Item | pytest.Collector | None]) -> Iterator[pytest.TestReport]:
    """Yield the reports of setup, call and teardown. As pytest's runtestprotocol, but the next node is asked late."""
    has_request = hasattr(item, "_request")
    if has_request and not item._request:
        item._initrequest()
    try:
        setup = call_and_report(item, "setup", log=False)
        yield setup
        if setup.passed:
            setup_only = item.config.getoption("setuponly", False)
            if item.config.getoption("setupshow", False):
                show_test_item(item, **_SHOW)
            if not setup_only:
                yield call_and_report(item, "call", log=False)
        yield call_and_report(item, "teardown", log=False, nextitem=next_node())
    finally:
        if has_request:
            item._request = False
            item.funcargs = None


def _attach(report: pytest.TestReport, record: dict[str, object] | None) -> None:
    """Mark a report as ours, with the record of the attempt that it ends."""
    vars(report)["proctor"] = record


def _make_anew(item: Any, properties: list[tuple[str, object]]) -> None:
    """Make the item as it was before its first attempt: no instance, no captured output, no failed fixtures."""
    item._report_sections.clear()
    item.user_properties = list(properties)
    if isinstance(item, pytest.Function) and isinstance(item.parent, pytest.Class):
        for name in ("_obj", "_instance"):
            vars(item).pop(name, None)
    if not hasattr(item, "_request"):
        return
    item._initrequest()
    for definition in (one for found in item._fixtureinfo.name2fixturedefs.values() for one in found):
        # A wider fixture whose setup failed keeps its exception for all its tests; trying again means making it.
        if definition.cached_result is not None and definition.cached_result[2] is not None:
            definition.finish(item._request)
