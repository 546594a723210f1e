"""Steps a person can follow: what, how far, how long; and one way to run an external command.

Every command writes to a log file instead of the terminal. When one fails, the error carries the end of that log, its
path and what to do about it, so nobody has to reproduce a failure to learn what it was.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

TAIL_LINES = 20


class ClusterError(Exception):
    """What was wrong, where, and what to do: shown to the user as it is, without a traceback."""


class CommandFailed(ClusterError):
    """An external command ended with an error or ran out of time."""

    def __init__(self, argv: Sequence[str], why: str, log: Path, hint: str) -> None:
        tail = "\n".join(f"    {line}" for line in _tail(log))
        super().__init__(
            f"`{' '.join(argv[:4])}{' ...' if len(argv) > 4 else ''}` {why}.\n"
            f"The last lines of its log:\n{tail}\nWhole log: {log}\nWhat to do: {hint}"
        )


Step = tuple[str, Callable[[], object]]


def run_steps(steps: Sequence[Step]) -> None:
    """Run each step in order with one line each; the first exception ends it."""
    for number, (title, action) in enumerate(steps, start=1):
        print(f"[{number}/{len(steps)}] {title} ... ", end="", flush=True)
        start = time.monotonic()
        try:
            note = action()
        except BaseException:
            print(f"failed after {time.monotonic() - start:.1f} s", flush=True)
            raise
        print(f"{note if isinstance(note, str) else 'done'} ({time.monotonic() - start:.1f} s)", flush=True)


def run(
    argv: Sequence[str | Path],
    *,
    log: Path,
    timeout: float,
    hint: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run `argv` to its end with its output appended to `log`; `timeout` in seconds, `env` added to ours.

    Raises CommandFailed when it exits with another code than 0, cannot start, or takes longer than `timeout`.
    """
    words = [str(word) for word in argv]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        out.write(f"$ {' '.join(words)}\n".encode())
        out.flush()
        try:
            code = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            raise CommandFailed(words, f"did not end within {timeout:.0f} s", log, hint) from None
        except OSError as error:
            raise CommandFailed(words, f"could not start ({error})", log, hint) from None
    if code != 0:
        raise CommandFailed(words, f"failed with exit code {code}", log, hint)


def output(argv: Sequence[str | Path], *, timeout: float = 30, env: Mapping[str, str] | None = None) -> str | None:
    """The standard output of a short command, or None when it fails, is missing or is too slow."""
    try:
        done = subprocess.run(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **(env or {})},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def wait_for(condition: Callable[[], bool], what: str, *, timeout: float, hint: str, every: float = 0.2) -> None:
    """Poll until `condition()` holds; ClusterError naming `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise ClusterError(f"Waited {timeout:.0f} s for {what}, in vain.\nWhat to do: {hint}")
        time.sleep(every)


def warn(message: str) -> None:
    """A line for the person, out of the way of output that scripts read."""
    print(message, file=sys.stderr, flush=True)


def _tail(log: Path) -> list[str]:
    if not log.exists():
        return ["(no log was written)"]
    return log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
