"""Earlier attempts in pytest's JUnit file, as Maven Surefire writes them: one testcase, with what failed before.

A test that passed at last gets <flakyFailure> or <flakyError>, one that never passed <rerunFailure> or <rerunError>.
"""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

import pytest
from _pytest.junitxml import bin_xml_escape, xml_key

_MAX_TRACE = 20_000


def add_attempts(
    config: pytest.Config, report: pytest.TestReport, earlier: Sequence[tuple[dict[str, Any], str]]
) -> None:
    """Add the `earlier` attempts, each a record and its traceback, to the testcase of a final report."""
    xml = config.stash.get(xml_key, None)
    if xml is None or not earlier:
        return
    final: dict[str, Any] = report.proctor
    prefix = "flaky" if final["outcome"] == "passed" else "rerun"
    testcase = xml.node_reporter(report)
    for record, trace in earlier:
        kind = "Failure" if record["outcome"] == "failed" else "Error"
        reason = str(record["reason"] or "")
        element = ET.Element(prefix + kind, message=bin_xml_escape(reason), type=reason.partition(":")[0].split(" ")[0])
        ET.SubElement(element, "stackTrace").text = bin_xml_escape(trace[:_MAX_TRACE])
        testcase.append(element)
