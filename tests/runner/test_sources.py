"""Where tests come from: ConfigMaps as the kubelet mounts them, archives, and git."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from proctor.core.results import decode
from proctor.runner.git import GitFailed, check_out, commit_of
from runner.conftest import POD, UID, Pod


def test_prepare_copies_a_runner_that_runs_alone(pod: Pod) -> None:
    assert pod.run("prepare").code == 0
    folder = pod.root / "proctor/work/runner"
    copied = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert {"__main__.py", "proctor/core/results.py", "proctor/runner/plugin.py", "proctor/api/names.py"} <= copied
    assert not any(
        "pydantic" in (folder / file).read_text() for file in copied - {"proctor/api/names.py"} if ".py" in file
    )
    pod.write(test_a="def test_a(): pass\n")
    process = subprocess.run(
        [sys.executable, "-S", folder, "--root", pod.root, "run"],
        env={"PROCTOR_STEP": "step", "PROCTOR_POD_UID": POD, "TMPDIR": str(pod.root / "tmp")},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    summary = decode(pod.termination_log.read_text(), run=UID, step="step", index=0, pod=POD)
    assert summary.counts["passed"] == 1, process.stderr


def _mount(pod: Pod, files: dict[str, bytes]) -> None:
    """Lay files out as the kubelet does: a dated folder, `..data` pointing at it, and links through `..data`."""
    mounted = pod.root / "proctor/configmap"
    dated = mounted / "..2026_01_01_00_00_00.1"
    dated.mkdir(parents=True)
    (mounted / "..data").symlink_to(dated.name)
    for name, content in files.items():
        (dated / name).write_bytes(content)
        (mounted / name).symlink_to(Path("..data", name))
    pod.step["source"] = {"kind": "ConfigMap"}


def _archive(members: dict[str, bytes], *others: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o755 if name.endswith(".sh") else 0o644
            tar.addfile(member, io.BytesIO(content))
        for member in others:
            tar.addfile(member)
    return buffer.getvalue()


def test_flat_files_of_a_config_map(pod: Pod) -> None:
    _mount(pod, {"test_a.py": b"from helper import x\ndef test_a(): assert x\n", "helper.py": b"x = 1\n"})
    assert pod.run("prepare").code == 0
    source = pod.root / "proctor/work/source"
    assert sorted(file.name for file in source.iterdir()) == ["helper.py", "test_a.py"]
    assert not any(file.is_symlink() for file in source.iterdir())
    assert [test for test, *_ in pod.run().attempts] == ["test_a.py::test_a"]


def _other(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def test_an_archive_in_a_config_map(pod: Pod) -> None:
    folder = _other("empty", tarfile.DIRTYPE)
    _mount(pod, {"suite.tgz": _archive({"deep/test_a.py": b"def test_a(): pass\n", "tool.sh": b"#!/bin/sh\n"}, folder)})
    assert pod.run("prepare").code == 0
    source = pod.root / "proctor/work/source"
    assert (source / "empty").is_dir()
    assert os.access(source / "tool.sh", os.X_OK)
    assert not (source / "deep/test_a.py").stat().st_mode & 0o111
    assert pod.run().counts == {"passed": 1}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"suite.tgz": _archive({"../../evil.py": b"x"})}, "outside the destination"),
        ({"suite.tgz": _archive({"/proctor/evil.py": b"x"})}, "outside the destination"),
        ({"suite.tgz": _archive({}, _other("out", tarfile.SYMTYPE, "/"))}, "'out' is no file and no folder"),
        ({"suite.tgz": _archive({}, _other("out", tarfile.LNKTYPE, "/etc/passwd"))}, "'out' is no file and no folder"),
        ({"suite.tgz": _archive({}, _other("out", tarfile.FIFOTYPE))}, "'out' is no file and no folder"),
        ({"suite.tgz": b"not an archive"}, "cannot be extracted"),
        ({"suite.tgz": _archive({"a.py": b"x" * 1000})[:-20]}, "cannot be extracted"),
        ({}, "has no files"),
    ],
    ids=["traversal", "absolute", "symbolic-link", "hard-link", "pipe", "junk", "cut", "empty"],
)
def test_a_bad_config_map_is_an_unavailable_source(pod: Pod, files: dict[str, bytes], words: str) -> None:
    _mount(pod, files)
    ran = pod.run("prepare")
    assert ran.code == 1
    assert ran.summary.trouble is not None
    assert ran.summary.trouble.reason == "SourceUnavailable"
    assert words in ran.summary.trouble.message
    assert not ran.summary.complete
    assert not list(pod.root.rglob("evil.py"))


@dataclass
class Repository:
    folder: Path
    url: str

    def git(self, *arguments: str) -> str:
        who = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(self.folder), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, body: str) -> str:
        (self.folder / "sub").mkdir(exist_ok=True)
        (self.folder / "sub/test_a.py").write_text(body)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "change")
        self.git("update-server-info")
        return self.git("rev-parse", "HEAD")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(params=["git", "http"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Repository]:
    """A repository behind `git daemon`, which gives out single commits, or plain files by HTTP, which cannot."""
    folder = tmp_path / "served/repo"
    folder.mkdir(parents=True)
    port = _free_port()
    if request.param == "git":
        command = ["git", "daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}"]
        command += [f"--base-path={folder.parent}", str(folder.parent)]
        repository = Repository(folder, f"git://127.0.0.1:{port}/repo")
    else:
        command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "-d", str(folder.parent), str(port)]
        repository = Repository(folder, f"http://127.0.0.1:{port}/repo/.git")
    subprocess.run(["git", "init", "-q", "-b", "main", str(folder)], check=True)
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield repository
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_a_branch_that_moves_is_run_at_the_pinned_commit(pod: Pod, repository: Repository) -> None:
    repository.commit("def test_old(): pass\n")
    pinned = repository.commit("def test_pinned(): pass\n")
    pod.step["source"] = {"kind": "Git", "url": repository.url, "ref": "main", "path": "sub"}
    assert _resolve(pod) == (0, {"commit": pinned})
    repository.commit("def test_moved(): pass\n")
    pod.env["PROCTOR_COMMIT"] = pinned
    prepared = pod.run("prepare")
    assert prepared.code == 0, prepared.stderr
    assert not (pod.root / "proctor/work/source/.git").exists()
    assert [test for test, *_ in pod.run().attempts] == ["test_a.py::test_pinned"]


def test_refs_are_resolved_branch_first_and_tags_are_peeled(repository: Repository, tmp_path: Path) -> None:
    first = repository.commit("1")
    repository.git("tag", "-a", "v1", "-m", "annotated")
    repository.git("tag", "both")
    repository.git("update-ref", "refs/odd/place", "HEAD")
    second = repository.commit("2")
    repository.git("branch", "both")
    repository.git("branch", "deep/v1")
    repository.git("update-server-info")
    secret = tmp_path / "none"
    assert commit_of(repository.url, "v1", secret) == first
    assert commit_of(repository.url, "both", secret) == second
    assert commit_of(repository.url, "refs/odd/place", secret) == first
    assert commit_of(repository.url, "main", secret) == second
    assert commit_of("git://127.0.0.1:1/nowhere", first, secret) == first
    with pytest.raises(GitFailed, match="no branch, tag or ref 'absent'"):
        commit_of(repository.url, "absent", secret)


def test_a_commit_that_the_ref_has_lost_is_named(repository: Repository, tmp_path: Path) -> None:
    repository.commit("1")
    with pytest.raises(GitFailed, match="any more"):
        check_out(repository.url, "main", "f" * 40, tmp_path / "none", tmp_path / "out")


def test_an_unreachable_repository_is_one_sentence_without_credentials(pod: Pod) -> None:
    url = f"http://someone:hunter2@127.0.0.1:{_free_port()}/repo"
    pod.step["source"] = {"kind": "Git", "url": url, "ref": "main", "path": "."}
    code, answer = _resolve(pod)
    assert code == 1
    assert "git ls-remote failed" in answer["error"]
    pod.env["PROCTOR_COMMIT"] = "a" * 40
    ran = pod.run("prepare")
    assert ran.code == 1
    assert ran.summary.trouble is not None
    assert ran.summary.trouble.reason == "SourceUnavailable"
    for text in (answer["error"], ran.message, ran.stderr):
        assert "hunter2" not in text


@pytest.mark.parametrize("command", ["resolve", "prepare"])
def test_who_is_told_to_stop_while_a_repository_is_mute_says_so_at_once(pod: Pod, command: str) -> None:
    pod.env["PROCTOR_COMMIT"] = "a" * 40
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"git://127.0.0.1:{mute.getsockname()[1]}/repo"
        pod.step["source"] = {"kind": "Git", "url": url, "ref": "main", "path": "."}
        process = pod.start(command)
        mute.settimeout(30)
        connection, _ = mute.accept()
        with connection:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=5)
    assert process.returncode == 1
    assert f"told to stop while git waited for {url}" in pod.termination_log.read_text()


def test_an_ssh_key_without_known_hosts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ssh-privatekey").write_text("key")
    with pytest.raises(GitFailed, match="known_hosts"):
        commit_of("ssh://git@127.0.0.1:1/repo", "main", tmp_path)


def test_basic_credentials_reach_the_server_and_nothing_else(tmp_path: Path) -> None:
    """A server that wants a password and then knows no repository: what it was sent is what counts."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "username").write_text("robot")
    (secret / "password").write_text("s3cret words\n")
    log = tmp_path / "seen"
    port = _free_port()
    script = f"""
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        given = self.headers.get("Authorization")
        open({str(log)!r}, "a").write(str(given) + "\\n")
        self.send_response(404 if given else 401)
        self.send_header("WWW-Authenticate", 'Basic realm="r"')
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", {port}), Handler).serve_forever()
"""
    server = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        with pytest.raises(GitFailed) as raised:
            commit_of(f"http://127.0.0.1:{port}/repo", "main", secret)
    finally:
        server.kill()
        server.wait()
    assert "s3cret" not in str(raised.value)
    assert "Basic cm9ib3Q6czNjcmV0IHdvcmRz\n" in log.read_text()


def test_a_path_out_of_the_source_is_refused(pod: Pod) -> None:
    pod.step["source"] = {"kind": "Git", "url": "git://127.0.0.1/x", "ref": "main", "path": "../../.."}
    ran = pod.run("prepare")
    assert ran.summary.trouble is not None
    assert "leads out of it" in ran.summary.trouble.message


def _resolve(pod: Pod) -> tuple[int, dict[str, str]]:
    process = pod.start("resolve")
    out, _ = process.communicate(timeout=50)
    answer = json.loads(pod.termination_log.read_text())
    assert json.loads(out) == answer
    return process.returncode, answer
