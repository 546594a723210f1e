"""Where the runner speaks: the termination log, which holds one summary, and stdout, which holds NDJSON records."""

import json
import os
import sys
from pathlib import Path


class TerminationLog:
    """A pod's termination log. It is bind-mounted, so it cannot be replaced by a rename; it is kept open instead."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def write(self, text: str) -> None:
        """Replace the content. One write covers all that was there, so a SIGKILL at any point leaves a whole one."""
        content = text.encode()
        size = os.fstat(self._file).st_size
        os.pwrite(self._file, content.ljust(min(size, 1 << 16)), 0)
        os.ftruncate(self._file, len(content))


class Records:
    """Standard output as one JSON object a line. Its loss is told once and does not end the run."""

    def __init__(self) -> None:
        self._lost = False

    def write(self, record: dict[str, object]) -> None:
        """Print one record."""
        if self._lost:
            return
        try:
            sys.stdout.write(json.dumps(record, separators=(",", ":")) + "\n")
            sys.stdout.flush()
        except OSError as error:
            self._lost = True
            say(f"stdout is lost ({error}): no further records are printed, the summary is still written")


def say(text: str) -> None:
    """Print one line for people to stderr."""
    print(f"proctor: {text}", file=sys.stderr, flush=True)
