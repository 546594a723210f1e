"""The way to the cassette proxy. What the commands do there is tested with the real proxy (tests/bazaar)."""

import base64
import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typing_extensions import override

from cli.conftest import FakeKubectl
from proctor.cli.main import main

KEY = "the-key-of-the-secret"
SECRET = {"data": {"ADMIN_KEY": base64.b64encode(KEY.encode()).decode()}}


@pytest.fixture
def keys() -> Iterator[tuple[int, list[str]]]:
    """The port of a proxy that has no cassette, and the keys that it was shown."""
    shown: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers["X-Admin-Key"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"recording": None, "cassettes": []}).encode())

        @override
        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port, shown
        server.shutdown()
        thread.join()


def test_in_a_cluster_the_way_is_a_port_forward_and_the_key_that_of_a_secret(
    kubectl: FakeKubectl,
    keys: tuple[int, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("PROCTOR_TARGET_ADMIN_KEY", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # it would not know a port of this machine
    port, shown = keys
    kubectl.answers(SECRET, {"forward": port})
    began = time.monotonic()
    assert main(["cassettes", "list", "-n", "shop", "--service", "tapes", "--secret", "oracle"]) == 0
    assert shown == [KEY]
    secret, forward = (call["argv"] for call in kubectl.calls)
    assert secret == ["get", "secret", "oracle", "--namespace", "shop", "-o", "json"]
    assert forward == ["port-forward", "service/tapes", ":http", "--namespace", "shop"]
    said = capfd.readouterr()
    assert "no recording is on" in said.out
    assert KEY not in said.out + said.err
    assert KEY not in json.dumps(kubectl.calls)
    assert time.monotonic() - began < 90, "the port-forward, which would take 100 s, is ended and not waited for"
    with pytest.raises(ProcessLookupError):
        os.kill(kubectl.calls[-1]["pid"], 0)  # nothing is left of the port-forward


def test_the_environments_key_comes_first(
    kubectl: FakeKubectl, keys: tuple[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, shown = keys
    monkeypatch.setenv("PROCTOR_TARGET_ADMIN_KEY", "ours")
    kubectl.answers({"forward": port})
    assert main(["cassettes", "list"]) == 0
    assert main(["cassettes", "list", "--url", f"http://127.0.0.1:{port}/"]) == 0
    assert shown == ["ours", "ours"]
    assert [call["argv"] for call in kubectl.calls] == [["port-forward", "service/cassette", ":http"]]


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([{"error": 'secrets "bazaar-oracle" not found (NotFound)'}], "not found"),
        ([{"data": {"OTHER": "eA=="}}], "Secret bazaar-oracle has no key ADMIN_KEY"),
        ([SECRET, {"error": 'services "cassette" not found'}], 'gave no port: services "cassette" not found'),
        ([SECRET, {"forward": "none"}], "gave no port"),
        ([SECRET, {"forward": 9}], "no answer from the cassette proxy at http://127.0.0.1:9"),
    ],
)
def test_no_way_is_told(
    kubectl: FakeKubectl,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answers: list[dict[str, object]],
    says: str,
) -> None:
    monkeypatch.delenv("PROCTOR_TARGET_ADMIN_KEY", raising=False)
    kubectl.answers(*answers)
    assert main(["cassettes", "list", "-n", "shop"]) == 5
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "content", "command", "says"),
    [
        ("gone/one.jsonl", None, ["true"], "is not a folder"),
        ("one.jsonl", "no cassette\n", ["true"], "every line is one interaction"),
        ("one.jsonl", None, ["a-program-that-is-not-there"], "is not a program in PATH"),
    ],
)
def test_what_cannot_become_a_file_is_told_before_anything_is_recorded(
    kubectl: FakeKubectl,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    content: str | None,
    command: list[str],
    says: str,
) -> None:
    target = tmp_path / file
    if content is not None:
        target.write_text(content)
    assert main(["cassettes", "record", "one", "--file", str(target), "--", *command]) == 5
    assert says in capsys.readouterr().err
    assert not (kubectl.folder / "calls.jsonl").exists()


@pytest.mark.parametrize(
    "argv",
    [
        ["cassettes"],
        ["cassettes", "play"],
        ["cassettes", "verify"],
        ["cassettes", "list", "--", "true"],
        ["cassettes", "record", "one", "--file", "f"],
        ["cassettes", "record", "one", "--file", "f", "--"],
        ["cassettes", "record", "one", "--", "true"],
        ["cassettes", "list", "-n", "a", "--url", "http://b"],
    ],
)
def test_wrong_usage_is_told(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 64
    assert "usage: proctor" in capsys.readouterr().err


def test_an_address_that_is_none_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cassettes", "list", "--url", "file:///etc/passwd"]) == 5
    assert "no address" in capsys.readouterr().err


def test_help_teaches_by_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["cassettes", "--help"])
    assert caught.value.code == 0
    said = capsys.readouterr().out
    for word in (
        "cassettes list",
        "cassettes verify",
        "cassettes record",
        "--mode GOLDEN",
        "TEST_MODE=GOLDEN",
        "Ctrl-C",
    ):
        assert word in said
