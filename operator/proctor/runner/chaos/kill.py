"""Kills the target's processes, and sees that they are gone."""

import signal

from proctor.api import names
from proctor.runner.chaos.account import Account, Refused
from proctor.runner.chaos.victims import gone, send, victims
from proctor.runner.processes import below

_PATIENCE = 5.0


def kill(account: Account) -> None:
    """SIGKILL all processes below PID 1.

    When PID 1 ends by that, the kernel ends its whole namespace and this agent with it (exit code 137): then the
    trace that was written before is the report. Raises Refused.
    """
    found = victims()
    account.injecting(killed=tuple(process.name for process in found))
    send(found, signal.SIGKILL)
    late = below(1)  # What was forked between the look and the signal.
    send(late, signal.SIGKILL)
    left = gone([*found, *late], _PATIENCE)
    if left:
        told = ", ".join(f"{process.pid} ({process.name}, state {process.state})" for process in left)
        raise Refused(names.STILL_ALIVE, f"alive {_PATIENCE:g} s after SIGKILL: {told}")
