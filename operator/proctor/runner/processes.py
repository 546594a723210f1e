"""Processes below the supervisor: who they are, how they end, and whether the kernel killed one for memory."""

import ctypes
import os
import signal
import time
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


def descendants() -> set[int]:
    """Return the pids of all live processes below this one."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = entry.read_text(errors="replace")
        except OSError:
            continue  # It ended meanwhile.
        state, parent = text.rpartition(")")[2].split()[:2]
        if state not in "ZX":
            children.setdefault(int(parent), []).append(int(entry.parent.name))
    found: set[int] = set()
    front = [os.getpid()]
    while front:
        below = [pid for pid in children.get(front.pop(), ()) if pid not in found]
        found.update(below)
        front.extend(below)
    return found


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
