"""The suite t03_journeys against this platform: silent on a healthy one, and exact about a planted fault."""

import json
import os
import re
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from loopback import ROOT, Platform, free_port, roles
from typing_extensions import override

CARD = yaml.safe_load((ROOT / "images/bazaar/faults/idempotency_ignored.yaml").read_text(encoding="utf-8"))


def run_suite(environment: dict[str, str], report: Path, part: str = "") -> dict[str, str]:
    """Run the suite as a user would; gives each test's outcome: "passed", or its failure's first line."""
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    run = subprocess.run(
        [*argv, f"suites/t03_journeys/{part}"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        timeout=120,
        capture_output=True,
        text=True,
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    outcomes: dict[str, str] = {}
    for case in ET.parse(report).iter("testcase"):
        bad = case.find("failure") if case.find("failure") is not None else case.find("error")
        line = "passed" if bad is None else bad.attrib["message"].splitlines()[0]
        # A test that failed and whose teardown broke too is there twice; the failure is what it says.
        if outcomes.get(case.attrib["name"], "passed") == "passed":
            outcomes[case.attrib["name"]] = line
    return outcomes


def test_healthy_platform_passes(bazaar: Platform, tmp_path: Path) -> None:
    outcomes = run_suite(bazaar.suite_environment(seed=11), tmp_path / "report.xml")
    assert len(outcomes) >= 12
    assert Counter(outcomes.values()) == {"passed": len(outcomes)}, outcomes


def test_planted_fault_is_caught_and_named(bazaar: Platform, tmp_path: Path) -> None:
    environment = {**bazaar.environment, "FAULTS": CARD["id"]}
    with roles({"gateway": free_port()}, tmp_path, environment) as urls:
        faulty = {**bazaar.suite_environment(seed=11), "PROCTOR_ENDPOINT_GATEWAY": urls["gateway"]}
        outcomes = run_suite(faulty, tmp_path / "report.xml", "test_retries.py")
    failed = {test: line for test, line in outcomes.items() if line != "passed"}
    assert sorted(failed) == [
        "test_retries_at_the_same_time",
        "test_retry_with_the_same_key",
        "test_same_key_with_another_body",
    ]
    expected = "AssertionError: effect-once: 2 orders for one Idempotency-Key, expected 1"
    assert failed["test_retry_with_the_same_key"] == expected
    caught = {line.removeprefix("AssertionError: ").split(":")[0] for line in failed.values()}
    assert caught == set(CARD["properties"])


def test_blind_oracle_is_noticed(bazaar: Platform, tmp_path: Path) -> None:
    """A suite that sees no rows must not take that for rows that are right."""
    card = yaml.safe_load((ROOT / "images/bazaar/faults/oracle_blind.yaml").read_text(encoding="utf-8"))
    healthy = bazaar.suite_environment(seed=11)
    # As Kubernetes does it: $(NAME) is the value of another variable.
    blind = {
        name: re.sub(r"\$\((\w+)\)", lambda other: healthy[other[1]], value)
        for name, value in card["plant"]["environment"].items()
    }
    assert blind == {"PROCTOR_TARGET_OPS_DSN": bazaar.app_dsn}
    outcomes = run_suite(healthy | blind, tmp_path / "report.xml")
    assert "passed" not in outcomes.values()
    caught = {line.removeprefix("AssertionError: ").split(":")[0] for line in outcomes.values()}
    assert caught >= set(card["properties"])


def test_missing_environment_is_an_error(tmp_path: Path) -> None:
    outcomes = run_suite({}, tmp_path / "report.xml", "test_access.py")
    assert outcomes
    assert all("PROCTOR_ENDPOINT_GATEWAY" in line for line in outcomes.values())


def test_absent_platform_is_an_error(bazaar: Platform, tmp_path: Path) -> None:
    environment = bazaar.suite_environment(seed=1) | {"PROCTOR_ENDPOINT_GATEWAY": f"http://127.0.0.1:{free_port()}"}
    outcomes = run_suite(environment, tmp_path / "report.xml", "test_access.py")
    assert outcomes
    assert all("does not answer" in line for line in outcomes.values())


CONSTANT: dict[str, tuple[int, object]] = {
    "POST /v1/admin/tenants": (
        201,
        {"tenant_id": str(uuid4()), "users": [{"name": n, "key": f"key-of-{n}"} for n in ("alice", "bob")]},
    ),
    "POST /v1/documents:batch": (200, {"stored": 3}),
    "POST /v1/messages": (202, {"episode_id": str(uuid4()), "conversation": 1}),
    "GET /v1/episodes": (
        200,
        {"episode_id": str(uuid4()), "conversation": 1, "state": "done", "intent": "faq", "reply": "", "error": None},
    ),
    "GET /v1/orders": (200, {"orders": []}),
    "DELETE /v1/admin/tenants": (204, None),
}
"""A platform that answers every operation well and does nothing."""


@pytest.mark.parametrize("answers", [CONSTANT, {}], ids=["constant answers", "501 to all"])
def test_null_platform_passes_nothing(bazaar: Platform, tmp_path: Path, answers: dict[str, tuple[int, object]]) -> None:
    class Null(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            called = f"{self.command} {self.path}"
            status, body = next((a for operation, a in answers.items() if called.startswith(operation)), (501, None))
            data = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = answer

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Null) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        outcomes = run_suite(bazaar.suite_environment(seed=1) | {"PROCTOR_ENDPOINT_GATEWAY": url}, tmp_path / "r.xml")
        server.shutdown()
    assert len(outcomes) >= 12
    assert "passed" not in outcomes.values()
