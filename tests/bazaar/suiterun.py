"""Run a suite as a user would, against a platform that is healthy, faulty, absent or null: who examines the examiners.

`loopback` has the real platforms. What is here is common to the tests of all suites.
"""

import json
import os
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

from loopback import ROOT
from typing_extensions import override

Answers = Mapping[str, tuple[int, object]]
"""Status and JSON by the beginning of "METHOD /path"; None is no body."""

CONSTANT: Answers = {
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
    "POST /v1/orders": (
        201,
        {"order_number": "1000-1", "sku": "mug", "quantity": 1, "total_cents": 790, "status": "placed"}
        | {"tracking_code": "TR1000-1", "shipment_status": "preparing"},
    ),
    "DELETE /v1/admin/tenants": (204, None),
}
"""A platform that answers well and does nothing."""
NOTHING: Answers = {}
"""A platform that implements nothing: 501 to all."""


def run_suite(path: str, environment: Mapping[str, str], report: Path, *options: str) -> dict[str, str]:
    """Run a path within suites/ with pytest; gives each test's outcome by its name.

    An outcome is "passed", "skipped: why", or the first line of the failure.
    Raises AssertionError with pytest's output if the tests could not be run.
    """
    # Plain tracebacks: pytest's own parse the source, which Python before 3.11.8 may fail at (gh-106905).
    argv = [sys.executable, "-m", "pytest", "-q", "--tb=native", "-p", "no:cacheprovider", f"--junitxml={report}"]
    run = subprocess.run(
        [*argv, *options, f"suites/{path}"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        timeout=300,
        capture_output=True,
        text=True,
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    outcomes: dict[str, str] = {}
    for case in ET.parse(report).iter("testcase"):
        line = _outcome(case)
        # A test that failed and whose teardown broke too is there twice; the failure is what it says.
        if outcomes.get(case.attrib["name"], "passed") == "passed":
            outcomes[case.attrib["name"]] = line
    return outcomes


def properties(outcomes: Mapping[str, str]) -> dict[str, str]:
    """The property that each failing test names; "" if it names none, as an error in a fixture does."""
    failed = {test: line for test, line in outcomes.items() if line != "passed" and not line.startswith("skipped: ")}
    lines = {test: line.removeprefix("AssertionError: ") for test, line in failed.items()}
    return {test: line.split(":")[0] if line != failed[test] else "" for test, line in lines.items()}


@contextmanager
def null_platform(answers: Answers) -> Iterator[str]:
    """A gateway that gives each operation one constant answer, and 501 where there is none; gives its URL."""

    class Null(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            called = f"{self.command} {self.path}"
            status, body = next((a for operation, a in answers.items() if called.startswith(operation)), (501, None))
            data = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Null) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def _outcome(case: ET.Element) -> str:
    for kind in ("failure", "error"):
        if (bad := case.find(kind)) is not None:
            return bad.attrib["message"].splitlines()[0]
    skipped = case.find("skipped")
    return "passed" if skipped is None else f"skipped: {skipped.attrib['message'].splitlines()[0]}"
