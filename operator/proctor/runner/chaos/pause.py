"""Stops the target's processes for a while. The resume is armed before the stop, in a process of its own.

Two processes know the deadline, and either resumes. The second one also resumes as soon as the first is dead: a
container runtime ends all processes of a container whose first one has died, some milliseconds later.
"""

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from proctor.api import names
from proctor.runner.chaos.account import Account, Refused, now, wait
from proctor.runner.chaos.victims import in_state, require_target, send, victims
from proctor.runner.chaos.victims import resume as resume_all

_PATIENCE = 5.0


def pause(account: Account, seconds: float) -> None:
    """SIGSTOP all processes below PID 1, and SIGCONT them after `seconds` or when told to stop. Raises Refused."""
    found = victims()
    account.in_time()
    with _resumer(seconds):
        until = time.monotonic() + seconds
        account.injecting(paused=tuple(process.name for process in found), deadline=now() + round(seconds * 1000))
        try:
            send(found, signal.SIGSTOP)
            running = in_state(stopped=True, patience=min(_PATIENCE, seconds))
            if not running:
                wait(until - time.monotonic())
        finally:
            resume(account)
    if running:
        told = ", ".join(f"{process.pid} ({process.name}, state {process.state})" for process in running)
        raise Refused(names.NOT_STOPPED, f"not stopped by SIGSTOP, so all were resumed: {told}")


def resume(account: Account) -> None:
    """SIGCONT everything, and see that nothing below PID 1 is stopped. Raises Refused."""
    require_target()
    resume_all()
    stopped = in_state(stopped=False, patience=_PATIENCE)
    if stopped:
        told = ", ".join(f"{process.pid} ({process.name})" for process in stopped)
        raise Refused(names.STILL_STOPPED, f"still stopped {_PATIENCE:g} s after SIGCONT: {told}")
    account.tell(healed_at=now())


@contextmanager
def _resumer(seconds: float) -> Iterator[None]:
    """Have a second process that resumes everything after `seconds`, or at once when this one is no more."""
    alive, life = os.pipe()
    confirmed, confirm = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(life)
            os.setsid()
            os.write(confirm, b"armed")
            select.select([alive], [], [], seconds)  # Readable means: the other end is closed.
            resume_all()
        finally:
            os._exit(0)
    os.close(alive)
    os.close(confirm)
    try:
        if not select.select([confirmed], [], [], _PATIENCE)[0] or os.read(confirmed, 16) != b"armed":
            raise Refused(names.NOT_STOPPED, "the resumer could not be armed: nothing was done")
        yield
    finally:
        os.close(confirmed)
        os.close(life)
        os.waitpid(pid, 0)  # It has nothing left to wait for.
