"""`proctor cassettes` against the real proxy, as a process, with commands that really ask it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from loopback import ROOT
from recorder import ADMIN, Proxy, chat

KEY = ADMIN["X-Admin-Key"]
ASK = """
import httpx, sys
from recorder import chat
for text in sys.argv[2:]:
    url, headers = sys.argv[1] + "/v1/chat/completions", {"X-Proctor-Mode": "GOLDEN"}
    httpx.post(url, json=chat(text), headers=headers, timeout=30).raise_for_status()
"""


def argv(cassette: Proxy, *arguments: str) -> list[str]:
    """The command; the proxy's address goes before the command that is recorded."""
    here = arguments.index("--") if "--" in arguments else len(arguments)
    where = ("--url", cassette.url)
    return [sys.executable, "-m", "proctor.cli.main", "cassettes", *arguments[:here], *where, *arguments[here:]]


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT / "operator"), str(ROOT / "tests/bazaar"), str(ROOT / "images/bazaar")])
    return {"PATH": os.environ["PATH"], "PYTHONPATH": path, "PROCTOR_TARGET_ADMIN_KEY": KEY, **more}


def proctor(cassette: Proxy, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        argv(cassette, *arguments), env=environment(**more), capture_output=True, text=True, timeout=100, check=False
    )
    assert KEY not in done.stdout + done.stderr
    return done


def asking(cassette: Proxy, *texts: str) -> list[str]:
    return [sys.executable, "-c", ASK, cassette.url, *texts]


def record(cassette: Proxy, file: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    return proctor(cassette, "record", "one", "--file", str(file), "--", *command)


def state(cassette: Proxy) -> Any:
    return cassette.admin("GET", "/cassettes").json()


def test_a_recording_is_what_the_command_asked_for_and_nothing_older(cassette: Proxy, tmp_path: Path) -> None:
    file = tmp_path / "files" / "one.jsonl"
    file.parent.mkdir()
    first = record(cassette, file, *asking(cassette, "One?", "Two?", "Three?"))
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"{file}: 3 interactions, 3 new, 0 gone, 0 changed\n"
    lines = file.read_text().splitlines()
    lines[0] = lines[0].replace('"parts": ["', '"parts": ["was another')
    file.write_text("\n".join(lines) + "\n")
    kept = [json.loads(line)["request"]["body"]["messages"][-1]["content"] for line in lines]
    second = record(cassette, file, *asking(cassette, kept[0], kept[1], "Four?"))
    assert second.stdout == f"{file}: 3 interactions, 1 new, 1 gone, 1 changed\n"
    assert file.read_bytes() == cassette.admin("GET", "/cassettes/one").content
    assert state(cassette) == {"recording": None, "cassettes": [{"name": "one", "interactions": 3}]}
    assert cassette.call(chat("Four?")).status_code == 200
    assert cassette.call(chat(kept[2])).json()["code"] == "cassette-miss"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("earlier", [True, False], ids=["with an earlier one", "the first"])
def test_a_command_that_fails_leaves_file_and_proxy_as_they_were(
    cassette: Proxy, tmp_path: Path, earlier: bool
) -> None:
    file = tmp_path / "kept.jsonl"
    if earlier:
        cassette.record([chat("One?")])
        file.write_bytes(cassette.admin("GET", "/cassettes/one").content)
    before, text = state(cassette), file.read_text() if earlier else None
    command = [sys.executable, "-c", ASK + "\nsys.exit(3)", cassette.url, "Two?"]
    failed = record(cassette, file, *command)
    assert failed.returncode == 3
    assert f"ended with 3: {file} is as it was" in failed.stdout
    assert (file.read_text() if file.exists() else None) == text
    assert state(cassette) == before
    assert cassette.call(chat("Two?")).json()["code"] == "cassette-miss"


def test_a_command_that_asks_for_nothing_is_told(cassette: Proxy, tmp_path: Path) -> None:
    file = tmp_path / "one.txt"
    file.write_text('{"id": "a", "response": {}}\n')
    done = record(cassette, file, "true")
    assert done.returncode == 5
    assert "Did it run in mode GOLDEN?" in done.stderr
    assert file.read_text() == '{"id": "a", "response": {}}\n'
    assert state(cassette) == {"recording": None, "cassettes": []}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_recording_is_ended(cassette: Proxy, tmp_path: Path, number: signal.Signals) -> None:
    file = tmp_path / "new.jsonl"
    with subprocess.Popen(
        argv(cassette, "record", "one", "--file", str(file), "--", "sleep", "100"),
        env=environment(),
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        try:
            deadline = time.monotonic() + 30
            while _children(process.pid) != ["sleep"] and time.monotonic() < deadline:
                time.sleep(0.05)
            assert state(cassette)["recording"] == "one"
            # A terminal sends SIGINT to the whole group; a scheduler sends SIGTERM to the one process that it knows.
            (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
            assert process.wait(timeout=30) == 130
            assert _children(process.pid) == []
        finally:
            process.kill()
    assert state(cassette) == {"recording": None, "cassettes": []}
    assert not file.exists()


def _children(pid: int) -> list[str]:
    done = subprocess.run(["ps", "-o", "comm=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.split()


def test_two_recordings_at_a_time_are_refused(cassette: Proxy, tmp_path: Path) -> None:
    cassette.admin("POST", "/recording", json={"cassette": "others"}).raise_for_status()
    done = record(cassette, tmp_path / "one.jsonl", *asking(cassette, "One?"))
    assert done.returncode == 5
    assert "others is being recorded already" in done.stderr
    assert state(cassette)["recording"] == "others", "that recording goes on"


@pytest.mark.parametrize("what", ["one", "FILE"])
def test_verify_tells_what_the_upstream_says_now(cassette: Proxy, tmp_path: Path, what: str) -> None:
    cassette.record([chat("One?"), chat("Two?")])
    content = cassette.admin("GET", "/cassettes/one").text
    file = tmp_path / "kept.jsonl"
    name = str(file) if what == "FILE" else what
    file.write_text(content)
    fine = proctor(cassette, "verify", name)
    assert (fine.returncode, fine.stdout) == (0, f"{name}: 2 the same, 0 different, 0 without an answer\n")
    first, rest = content.split("\n", 1)
    file.write_text(first.replace('"parts": ["', '"parts": ["was another') + "\n" + rest)
    if what != "FILE":
        cassette.admin("PUT", "/cassettes/one", content=file.read_bytes()).raise_for_status()
    before = state(cassette)
    different = proctor(cassette, "verify", name)
    assert different.returncode == 1
    told, total = different.stdout.splitlines()
    assert told.startswith(f"{json.loads(first)['id']}: parts[0] was 'was another")
    assert total == f"{name}: 1 the same, 1 different, 0 without an answer"
    assert state(cassette) == before, "a file that is verified does not stay in the proxy"


def test_verify_of_nothing_is_no_success(cassette: Proxy, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    done = proctor(cassette, "verify", str(tmp_path / "empty.jsonl"))
    assert (done.returncode, done.stdout) == (5, "")
    assert "nothing was verified" in done.stderr
    absent = proctor(cassette, "verify", "absent")
    assert (absent.returncode, absent.stderr.count("not-found: there is no cassette absent")) == (5, 1)


def test_list_tells_what_nobody_asked_for(cassette: Proxy) -> None:
    cassette.record([chat("One?"), chat("Two?")], "some-name")
    cassette.call(chat("One?")).raise_for_status()
    done = proctor(cassette, "list")
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["NAME", "INTERACTIONS", "UNUSED"],
        ["some-name", "2", "1"],
        ["no", "recording", "is", "on"],
    ]
    cassette.admin("POST", "/recording", json={"cassette": "next"}).raise_for_status()
    assert proctor(cassette, "list").stdout.splitlines()[-1] == "next is being recorded"


def test_a_wrong_key_is_told_with_where_it_is_from(cassette: Proxy) -> None:
    done = proctor(cassette, "list", PROCTOR_TARGET_ADMIN_KEY="another-key-altogether")
    assert done.returncode == 5
    assert "refuses the admin key from the environment (PROCTOR_TARGET_ADMIN_KEY)" in done.stderr
    assert "another-key" not in done.stderr
    without = proctor(cassette, "list", PROCTOR_TARGET_ADMIN_KEY="")
    assert "set PROCTOR_TARGET_ADMIN_KEY" in without.stderr
