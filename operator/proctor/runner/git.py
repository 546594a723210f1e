"""The two things that are asked of git: which commit a ref is, and the files of one commit.

Credentials come from the files of a mounted Secret and reach git through files only, never through arguments or
logs; git asks nobody, each command has a limit of time, and all of it ends when the pod is told to stop.
"""

import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TIMEOUT = 240.0
"""Seconds for one git command."""

_SHA = re.compile(r"[0-9a-f]{40}")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
# The Secret's folder comes by environment, so that no quoting is needed.
_ASKPASS = """#!/bin/sh
case "$1" in
  Username*) file=username ;;
  *) file=password ;;
esac
test -f "$PROCTOR_GIT_SECRET/$file" && cat "$PROCTOR_GIT_SECRET/$file"
"""


class GitFailed(Exception):
    """Git could not do it. The text is one sentence without credentials."""


def commit_of(url: str, ref: str, secret: Path) -> str:
    """Return the commit (40 hexadecimal digits) that `ref` names now: branch before tag before exact name.

    A full commit id is itself. Annotated tags give the commit they point at. Raises GitFailed.
    """
    if _SHA.fullmatch(ref):
        return ref
    wanted = [f"refs/heads/{ref}", f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", f"{ref}^{{}}", ref]
    with _environment(url, secret) as environment:
        answer = _git(["ls-remote", "--", url, *wanted], environment)
    found = {name: commit for commit, _, name in (one.partition("\t") for one in answer.splitlines())}
    for name in wanted:
        if name in found:
            return found[name]
    raise GitFailed(f"{_redact(url)} has no branch, tag or ref {ref!r}")


def check_out(url: str, ref: str, commit: str, secret: Path, destination: Path) -> None:
    """Put the files of `commit` into `destination`, without history. Raises GitFailed.

    A server that does not give out single commits is asked for `ref`, whose history must then hold the commit.
    """
    if not _SHA.fullmatch(commit):
        raise GitFailed(f"the commit {commit!r} is not a full id of 40 hexadecimal digits")
    destination.mkdir(parents=True, exist_ok=True)
    with _environment(url, secret) as environment:
        here = ["-C", str(destination)]
        _git([*here, "init", "--quiet", "--template="], environment)
        try:
            _git([*here, "fetch", "--quiet", "--no-tags", "--depth=1", "--", url, commit], environment)
        except GitFailed:
            _git([*here, "fetch", "--quiet", "--no-tags", "--", url, ref or "HEAD"], environment)
        try:
            _git([*here, "checkout", "--quiet", "--force", "--detach", commit], environment)
        except GitFailed as error:
            raise GitFailed(f"commit {commit} is not in {ref!r} of {_redact(url)} any more: {error}") from None
    shutil.rmtree(destination / ".git")  # It names the URL, and the tests need no history.


@contextmanager
def _environment(url: str, secret: Path) -> Iterator[dict[str, str]]:
    """Yield git's environment: no configuration of the machine, no questions, credentials from `secret`.

    SIGTERM within is GitFailed: the pod's first process would ignore it until it is killed, with nothing said.
    """
    with tempfile.TemporaryDirectory(prefix="proctor-git-") as name:
        home = Path(name)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": name,
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file",
            **{key: os.environ[key] for key in _PROXIES if key in os.environ},
        }
        if (secret / "password").is_file() or (secret / "username").is_file():
            script = home / "askpass"
            script.write_text(_ASKPASS)
            script.chmod(stat.S_IRWXU)
            environment |= {"GIT_ASKPASS": str(script), "PROCTOR_GIT_SECRET": str(secret)}
        key = secret / "ssh-privatekey"
        if key.is_file():
            if not (secret / "known_hosts").is_file():
                raise GitFailed("the Secret has an ssh-privatekey but no known_hosts, so no server can be trusted")
            own = home / "key"  # ssh refuses a key that its group may read, as a mounted Secret's is.
            own.touch(mode=stat.S_IRUSR | stat.S_IWUSR)
            own.write_bytes(key.read_bytes())
            environment["GIT_SSH_COMMAND"] = (
                f"ssh -i {own} -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=20 "
                f"-o StrictHostKeyChecking=yes -o UserKnownHostsFile={secret / 'known_hosts'}"
            )
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            yield environment
        except KeyboardInterrupt:
            raise GitFailed(f"told to stop while git waited for {_redact(url)}") from None
        finally:
            signal.signal(signal.SIGTERM, before)


_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY", "GIT_SSL_CAINFO")


def _git(arguments: list[str], environment: dict[str, str]) -> str:
    process = subprocess.Popen(
        ["git", "-c", "core.hooksPath=/dev/null", *arguments],  # noqa: S607  # the image says where git is
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    what = next(one for one in arguments if one in ("ls-remote", "init", "fetch", "checkout"))
    try:
        output, errors = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise GitFailed(f"git {what} took longer than {TIMEOUT:g}s") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode:
        told = [one for one in errors.decode(errors="replace").splitlines() if one.strip()]
        why = next((one for one in told if one.startswith(("fatal:", "error:"))), told[0] if told else "no message")
        raise GitFailed(f"git {what} failed: {_redact(why)}")
    return output.decode(errors="replace")


def _redact(text: str) -> str:
    return _CREDENTIALS.sub("", text)
