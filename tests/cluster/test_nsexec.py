"""The stand-in for `nsexec`, which chaos-daemon calls: what of it becomes of nsenter's arguments."""

import os
import subprocess
from pathlib import Path

NSEXEC = Path(__file__).parents[2] / "images/chaos-mesh/nsexec"


def _nsexec(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    nsenter = folder / "nsenter"
    nsenter.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    nsenter.chmod(0o755)
    env = {"PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run([NSEXEC, *arguments], env=env, capture_output=True, text=True, timeout=10, check=False)


def test_namespaces_become_those_of_nsenter_and_the_command_stays_as_it_is(tmp_path: Path) -> None:
    command = ["iptables", "-w", "-m", "set", "--comment", "two  words", "-n"]
    done = _nsexec(tmp_path, "-n", "/proc/7/ns/net", "-m", "/proc/7/ns/mnt", "--", *command)
    assert done.stdout.splitlines() == ["-n/proc/7/ns/net", "-m/proc/7/ns/mnt", "--", *command]


def test_an_option_without_a_twin_is_refused(tmp_path: Path) -> None:
    done = _nsexec(tmp_path, "-l", "-m", "/proc/7/ns/mnt", "--", "true")
    assert (done.returncode, done.stdout) == (64, "")
    assert "-l is not supported" in done.stderr
