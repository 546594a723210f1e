"""The host's side of the local cluster: its state folder, the keeper process, and what a hard stop leaves behind.

The folder carries a marker, and nothing without the marker is ever removed. A hard stop leaves only files and empty
cgroups (namespaces end with their processes), so cleaning up is removing those two.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.keeper import process_identity
from cluster.node import CGROUP, CGROUPS
from cluster.progress import ClusterError, output, wait_for
from cluster.settings import HOST_LINK, ROOT, STATE, cache_dir

MARKER = "proctor-cluster"


@contextmanager
def lock() -> Iterator[None]:
    """One `up`, `down` or image load at a time, whatever checkout it comes from."""
    path = cache_dir() / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another `python -m cluster` is at work; waiting for it to end ...", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def running_keeper(state: Path = STATE) -> dict[str, Any] | None:
    """The keeper of `state` as it recorded itself, or None when that process is gone (pids are reused, starts not)."""
    try:
        record: dict[str, Any] = json.loads((state / "keeper.json").read_text())
    except (OSError, ValueError):
        return None
    return record if process_identity(record["pid"]) == record["identity"] else None


def inside(argv: list[str], state: Path = STATE) -> list[str]:
    """`argv` run in the node's namespaces. ClusterError when no cluster runs."""
    keeper = running_keeper(state)
    if keeper is None:
        raise ClusterError("The cluster is not running. Start it with `python -m cluster up`.")
    return ["nsenter", "--target", str(keeper["node"]), "--mount", "--net", "--pid", "--uts", "--", *argv]


def claim(state: Path = STATE) -> None:
    """Make `state` ours and empty. ClusterError when it, or our link on the host, belongs to someone else."""
    remove_leftovers(state)
    if output(["ip", "link", "show", HOST_LINK]) is not None:
        raise ClusterError(
            f"Interface {HOST_LINK} exists, but its cluster is not the one in {state}: another Proctor cluster runs on "
            "this machine. End it with `python -m cluster down` as the user and from the checkout that started it."
        )
    state.mkdir(parents=True)
    (state / MARKER).write_text("made by `python -m cluster up`; `python -m cluster down` removes it\n")


def remove_leftovers(state: Path = STATE, cgroups: Path = CGROUPS) -> None:
    """Remove the files and cgroups of a cluster that no longer runs. Does nothing when there are none."""
    if running_keeper(state) is not None:
        raise ClusterError(f"The cluster in {state} is running; `python -m cluster down` ends it first.")
    if state.exists():
        if not (state / MARKER).exists() and any(state.iterdir()):
            raise ClusterError(f"{state} exists and was not made by us. Move it away, then try again.")
        mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        below = [path for path in mounted if Path(path).is_relative_to(state)]
        if below:
            raise ClusterError(f"{below[0]} is still mounted; unmount it, then try again.")
        shutil.rmtree(state)
    for group in [cgroups / CGROUP, *cgroups.glob(f"*/{CGROUP}")]:
        for folder, _, _ in os.walk(group, topdown=False):
            os.rmdir(folder)


def start_keeper(spec: dict[str, Any], state: Path = STATE) -> str:
    """Start the keeper and wait until the node has its namespaces, mounts and network."""
    (state / "keeper-spec.json").write_text(json.dumps(spec))
    with (state / "log" / "keeper.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cluster.keeper", str(state)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            start_new_session=True,
        )

    def up() -> bool:
        if process.poll() is not None:
            tail = (state / "log" / "keeper.log").read_text()[-2000:]
            raise ClusterError(f"The cluster's keeper ended at once:\n{tail}\nWhole log: {state}/log/keeper.log")
        return (state / "node-ready").exists() and running_keeper(state) is not None

    wait_for(up, "the node's namespaces", timeout=30, hint=f"read {state}/log/keeper.log")
    return f"process {process.pid}"


def stop_keeper(state: Path = STATE) -> bool:
    """End the keeper and with it the whole cluster. False when none runs."""
    keeper = running_keeper(state)
    if keeper is None:
        return False
    os.kill(keeper["pid"], signal.SIGTERM)
    try:
        wait_for(lambda: _gone(keeper), "the cluster to end", timeout=40, hint="")
    except ClusterError:
        os.kill(keeper["pid"], signal.SIGKILL)
        hint = f"look at process {keeper['node']}"
        wait_for(lambda: _gone(keeper), "the killed cluster to end", timeout=20, hint=hint)
    return True


def _gone(keeper: dict[str, Any]) -> bool:
    processes = [(keeper["pid"], keeper["identity"]), (keeper["node"], keeper["node_identity"])]
    return all(process_identity(pid) != identity for pid, identity in processes)
