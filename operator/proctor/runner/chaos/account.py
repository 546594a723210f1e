"""What a fault agent says of itself, written down as it happens, so that even a killed agent leaves a trace."""

import signal
import time
from dataclasses import replace
from typing import Any

from proctor.api import names
from proctor.core.timeline import Deed, encode_deed
from proctor.runner.output import TerminationLog, say

_STOP = (signal.SIGTERM, signal.SIGINT)


class Refused(Exception):
    """The agent will not act, or could not finish. `reason` is one of api.names."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Account:
    """The deed of one agent. `not_after` (epoch seconds) is when it is too late to inject, None for healing."""

    def __init__(self, experiment: str, action: str, not_after: float | None, log: TerminationLog) -> None:
        self.deed = Deed(experiment, action)
        self._not_after = not_after
        self._log = log

    def injecting(self, **facts: Any) -> None:
        """State that the fault begins now. Raises Refused TooLate; then nothing may be done."""
        self.in_time()
        self.tell(injected_at=now(), **facts)

    def in_time(self) -> None:
        """Raise Refused when the time to inject is over: what was planned then may no longer be right."""
        late = 0 if self._not_after is None else time.time() - self._not_after
        if late > 0:
            raise Refused(names.TOO_LATE, f"it is {late:.1f} s past the time to inject: nothing was done")

    def tell(self, **facts: Any) -> None:
        """Add to the deed and write it to the termination log. Raises OSError."""
        self.deed = replace(self.deed, **facts)
        self._log.write(encode_deed(self.deed))


def now() -> int:
    """Return the time in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def hold_signals() -> None:
    """Keep SIGTERM and SIGINT until `wait` asks for them, so that no fault is left half injected or half healed."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)


def wait(seconds: float) -> None:
    """Wait `seconds`, or until the agent is told to stop."""
    told = signal.sigtimedwait(_STOP, max(0.0, seconds))
    if told is not None:
        say(f"told to stop by {signal.Signals(told.si_signo).name}: healing now")
