"""The processes that a fault hits: those below PID 1 of the target's process namespace, which the agent has joined.

PID 1 itself cannot be hit from inside its namespace. The agent, and whatever `kubectl exec` or a probe has started,
have no parent in it, so they are not below PID 1.
"""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress

from proctor.api import names
from proctor.runner.chaos.account import Refused
from proctor.runner.processes import Process, below

_INIT = 1
_POLL = 0.02


def victims() -> list[Process]:
    """Return the processes to hit, parents before children.

    Raises Refused when there are none, when one belongs to another user, or when this is not the target's namespace.
    """
    require_target()
    found = below(_INIT)
    if not found:
        raise Refused(names.PID_ONE_TARGET, "nothing runs below PID 1, which only its deletion ends: use PodKill")
    for process in found:
        try:
            os.kill(process.pid, 0)
        except PermissionError as error:
            told = f"process {process.pid} ({process.name}) is not that of user {os.getuid()}, as whom the agent runs"
            raise Refused(names.NOT_PERMITTED, told) from error
        except ProcessLookupError:
            continue  # It ended meanwhile.
    return found


def require_target() -> None:
    """Raise Refused when PID 1 is above this process, so that an agent started by mistake harms no machine."""
    if os.getpid() == _INIT or os.getpid() in {process.pid for process in below(_INIT)}:
        told = "this process has joined no target: start it as an ephemeral container with targetContainerName"
        raise Refused(names.NOT_IN_TARGET, told)


def send(processes: Sequence[Process], number: signal.Signals) -> None:
    """Send a signal to processes of which some may be gone."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def resume() -> None:
    """Let everything run again. One call, that needs no list and no memory: it must work when all else has failed."""
    with suppress(ProcessLookupError):
        os.kill(-1, signal.SIGCONT)


def gone(processes: Sequence[Process], patience: float) -> list[Process]:
    """Wait until all `processes` have ended; return those that are alive after `patience` seconds."""
    identities = {(process.pid, process.started) for process in processes}
    until = time.monotonic() + patience
    while True:
        left = [process for process in below(_INIT) if (process.pid, process.started) in identities]
        if not left or time.monotonic() >= until:
            return left
        time.sleep(_POLL)


def in_state(stopped: bool, patience: float) -> list[Process]:
    """Wait until all processes below PID 1 are stopped, or none is; return the others after `patience` seconds."""
    until = time.monotonic() + patience
    while True:
        others = [process for process in below(_INIT) if (process.state == "T") is not stopped]
        if not others or time.monotonic() >= until:
            return others
        if stopped:
            send(others, signal.SIGSTOP)  # Also those that were forked since the last look.
        time.sleep(_POLL)
