"""Processes below another: who they are, how they end, and whether the kernel killed one for memory."""

import ctypes
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_OOM_COUNTERS = ("sys/fs/cgroup/memory.events", "sys/fs/cgroup/memory/memory.oom_control")
"""Of cgroup v2 and v1, as a container sees its own group. Both hold a line `oom_kill N`."""
TERM_GRACE = 1.0
KILL_GRACE = 5.0


def adopt_orphans() -> None:
    """Make this process the parent of orphaned descendants, as PID 1 is anyway, so that none can get away."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap() -> dict[int, int]:
    """Return the exit codes of all children that have ended, by pid; minus the signal for the killed ones."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = os.waitstatus_to_exitcode(status)


@dataclass(frozen=True)
class Process:
    """A live process: one pid belongs to several in turn, and `started` (clock ticks since boot) tells them apart."""

    pid: int
    started: int
    parent: int
    state: str
    name: str


def below(pid: int) -> list[Process]:
    """Return all live processes below `pid`, parents before their children."""
    children: dict[int, list[Process]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = entry.read_text(errors="replace")
        except OSError:
            continue  # It ended meanwhile.
        before, _, after = text.rpartition(")")
        values = after.split()
        if values[0] not in "ZX":
            process = Process(
                int(entry.parent.name), int(values[19]), int(values[1]), values[0], before.partition("(")[2]
            )
            children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    front = [pid]
    met = {pid}
    while front:
        for process in children.get(front.pop(0), ()):
            if process.pid not in met:
                met.add(process.pid)
                found.append(process)
                front.append(process.pid)
    return found


def descendants() -> set[int]:
    """Return the pids of all live processes below this one."""
    return {process.pid for process in below(os.getpid())}


def send(pids: set[int], number: signal.Signals) -> None:
    """Send a signal to processes of which some may be gone."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def sweep() -> int:
    """End all descendants and reap them; return how many there were. They get TERM_GRACE seconds to end by SIGTERM."""
    met: set[int] = set()
    began = time.monotonic()
    while time.monotonic() - began < TERM_GRACE + KILL_GRACE:
        reap()
        left = descendants()
        if not left:
            break
        grown_old = time.monotonic() - began > TERM_GRACE
        send(left if grown_old else left - met, signal.SIGKILL if grown_old else signal.SIGTERM)
        met |= left
        time.sleep(0.02)
    reap()
    return len(met)


def oom_kills(root: Path) -> int | None:
    """Return how many processes of this container the kernel has killed for memory; None when it does not say."""
    for counter in _OOM_COUNTERS:
        try:
            lines = (root / counter).read_text().splitlines()
        except OSError:
            continue
        for one in lines:
            name, _, value = one.partition(" ")
            if name == "oom_kill" and value.strip().isdigit():
                return int(value)
    return None
