"""Runs pytest as a child and tells the truth about it, whatever becomes of it.

The tests may exit, crash, hang, fork, or write where they should not; so the process that writes the summary runs
none of their code. It reads their records from a pipe and is the only writer of the summary and of stdout.
"""

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from proctor.api import names
from proctor.core.results import Trouble, encode
from proctor.runner import processes
from proctor.runner.conclude import Ending, conclude
from proctor.runner.output import Records, TerminationLog, say
from proctor.runner.pipe import ENV_DESCRIPTOR
from proctor.runner.plan import Assignment
from proctor.runner.records import timestamp
from proctor.runner.report import Report

_START_GRACE = 60.0
"""Seconds for the imports and the preflight before pytest begins."""
_TRACE_GRACE = 1.0
_STOP_GRACE = 3.0
_EXIT_GRACE = 10.0
"""Seconds between pytest's end record and its exit, for reports of other plugins and atexit functions."""
_CHUNK = 1 << 16
_MAX_RECORD = 1 << 20
_LAST_READS = 64
_TAIL = 40
"""Lines of pytest's output that are kept to quote from."""


def supervise(assignment: Assignment) -> int:
    """Run this pod's tests. Return 0 when the complete summary is written, whatever the tests said."""
    return _Supervisor(assignment).run()


class _Supervisor:
    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.report = Report(assignment)
        self.log = TerminationLog(assignment.at(names.TERMINATION_LOG))
        self.records = Records()
        self.told_to_stop: int | None = None
        self.stopping = False
        self.pid = 0
        self.status: int | None = None
        self.stopped = ""
        self.deadline: float | None = None
        self.timed_out = False
        self.due: list[tuple[float, signal.Signals]] = []
        self.tail: deque[str] = deque(maxlen=_TAIL)
        self.partial = {"records": b"", "output": b""}

    def run(self) -> int:
        self._save()
        source = self.assignment.source_root()
        path = source / self.assignment.target_path().partition("::")[0]
        if not path.exists():
            self.report.trouble = Trouble(names.SOURCE_UNAVAILABLE, f"{path} does not exist in this pod")
        else:
            try:
                self._pytest(source)
            except OSError as error:
                self.report.trouble = Trouble(names.RUNNER_CRASHED, f"pytest could not be run: {error}")
        self._save(complete=self.told_to_stop is None)
        trouble = self.report.trouble
        self.records.write(
            {
                "kind": "end",
                "counts": self.report.counts(),
                "evidence": self.report.evidence(),
                "exitstatus": self.status,
                "trouble": None if trouble is None else {"reason": trouble.reason, "message": trouble.message},
                "time": timestamp(time.time()),
            }
        )
        if trouble is not None:
            say(f"{trouble.reason}: {trouble.message}")
        return 0 if self.told_to_stop is None else 128 + self.told_to_stop

    def _pytest(self, source: Path) -> None:
        processes.adopt_orphans()
        oom_kills = processes.oom_kills(self.assignment.root)
        scratch = tempfile.mkdtemp(prefix="proctor-")
        try:
            code = self._watch(source, scratch)
            left = processes.sweep()
            if left:
                say(f"ended {left} processes that the tests had left behind")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if self.told_to_stop is not None:
            return
        now = processes.oom_kills(self.assignment.root)
        ending = Ending(
            code=code,
            status=self.status,
            stopped=self.stopped,
            timed_out=self.assignment.timeout if self.timed_out else None,
            out_of_memory=oom_kills is not None and now is not None and now > oom_kills,
            output=tuple(self.tail),
        )
        for record in conclude(self.report, ending, self.assignment.run["uid"]):
            self.records.write(record)

    def _watch(self, source: Path, scratch: str) -> int:
        """Start pytest, follow it to its end and return its exit code."""
        records, records_in = os.pipe()
        output, output_in = os.pipe()
        wake, wake_in = os.pipe()
        for descriptor in (records, output, wake, wake_in):
            os.set_blocking(descriptor, False)
        before = signal.set_wakeup_fd(wake_in, warn_on_full_buffer=False)
        handlers = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        selector = selectors.DefaultSelector()
        selector.register(records, selectors.EVENT_READ, "records")
        selector.register(output, selectors.EVENT_READ, "output")
        selector.register(wake, selectors.EVENT_READ, "wake")
        try:
            self._start(source, scratch, records_in, output_in)
            os.close(records_in)
            os.close(output_in)
            code = None
            while code is None:
                for key, _ in selector.select(self._pause()):
                    if not self._read(key.fd, key.data):
                        selector.unregister(key.fd)
                self._keep_time()
                code = processes.reap().get(self.pid)
            self.pid = 0
            for _ in range(_LAST_READS):  # Bounded: a process that the tests left behind may write on and on.
                self._read(records, "records")
                self._read(output, "output")
            return code
        finally:
            selector.close()
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before)
            for descriptor in (records, output, wake, wake_in):
                os.close(descriptor)

    def _start(self, source: Path, scratch: str, records_in: int, output_in: int) -> None:
        path = self.assignment.target_path()
        arguments = [
            sys.executable,
            str(Path(__file__).with_name("child.py")),
            *("-p", "proctor.runner.plugin", f"--rootdir={source}", "-o", f"cache_dir={scratch}/cache"),
            *([] if path == "." else [path]),
            *self.assignment.args,
        ]
        environment = {
            **os.environ,
            **self.assignment.environment(),
            "PROCTOR_ROOT": str(self.assignment.root),
            "PROCTOR_SCRATCH": scratch,
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            ENV_DESCRIPTOR: str(records_in),
        }
        process = subprocess.Popen(
            arguments,
            cwd=source,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output_in,
            stderr=output_in,
            pass_fds=[records_in],
            start_new_session=True,
        )
        self.pid = process.pid
        self.deadline = time.monotonic() + self.assignment.timeout + _START_GRACE
        process.returncode = 0  # It is reaped here along with its orphans; Popen must not wait for it too.

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number != signal.SIGCHLD and self.told_to_stop is None:
            self.told_to_stop = number

    def _pause(self) -> float:
        """Return the seconds until something is due."""
        times = [time for time, _ in self.due]
        if self.deadline is not None and not self.due:
            times.append(self.deadline)
        return max(0.0, min(times, default=time.monotonic() + 60) - time.monotonic())

    def _keep_time(self) -> None:
        now = time.monotonic()
        if self.told_to_stop is not None and not self.stopping:
            self.stopping = True
            self.report.trouble = Trouble(names.EVICTED, "the pod was told to stop")
            self._save()
            self.due = [(now, signal.SIGTERM), (now + _STOP_GRACE, signal.SIGKILL)]
        elif self.deadline is not None and now >= self.deadline and not self.due:
            if self.status is None:
                self.timed_out = True
                abort = (now, signal.SIGABRT)
                stop = now + _TRACE_GRACE
                self.due = [abort, (stop, signal.SIGTERM), (stop + _STOP_GRACE, signal.SIGKILL)]
            else:
                say(f"pytest has not exited {_EXIT_GRACE:g}s after its last test: it is killed")
                self.due = [(now, signal.SIGTERM), (now + _TRACE_GRACE, signal.SIGKILL)]
        for moment, number in list(self.due):
            if moment <= now:
                self.due.remove((moment, number))
                self._signal(number)

    def _signal(self, number: signal.Signals) -> None:
        """Send to pytest and its group, and SIGKILL to whatever is below us. SIGABRT makes pytest print its stacks."""
        with suppress(ProcessLookupError):
            if number == signal.SIGABRT:
                os.kill(self.pid, number)
            else:
                os.killpg(self.pid, number)
        if number == signal.SIGKILL:
            processes.send(processes.descendants(), number)

    def _read(self, descriptor: int, what: str) -> bool:
        """Take in all that is there; return False at the end of the stream."""
        changed = False
        try:
            while data := os.read(descriptor, _CHUNK):
                if what == "wake":
                    continue
                if what == "output":
                    _pass_on(data)
                *lines, self.partial[what] = (self.partial[what] + data).split(b"\n")
                if len(self.partial[what]) > _MAX_RECORD:
                    self.partial[what] = b""
                for one in lines:
                    if what == "output":
                        self._keep_line(one)
                    else:
                        changed = self._take(one) or changed
                if what == "output":
                    return True  # Records and time come first; the rest is read in the next round.
            return False
        except BlockingIOError:
            return True
        finally:
            if changed:
                self._save()

    def _keep_line(self, text: bytes) -> None:
        if text.strip():
            self.tail.append(text.decode(errors="replace"))

    def _take(self, text: bytes) -> bool:
        """Fold in one line of the pipe; return whether the summary changed."""
        try:
            record: dict[str, Any] = json.loads(text)
            self.report.take(record)
            kind = record["kind"]
            if kind == "end":
                self.status, self.stopped = int(record["exitstatus"]), str(record["stopped"])
                self.deadline = time.monotonic() + _EXIT_GRACE
                return False
            if kind == "ready":
                self.deadline = time.monotonic() + self.assignment.timeout
            if kind not in _INTERNAL:
                self.records.write(record)
        except (ValueError, KeyError, TypeError) as error:
            say(f"ignored a line in the records' pipe that is no record of ours: {type(error).__name__}")
            return False
        return kind not in ("ready", "start")

    def _save(self, *, complete: bool = False) -> None:
        self.log.write(encode(self.report.summary(complete=complete)))


_INTERNAL = ("ready", "begin", "trouble")
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


def _pass_on(data: bytes) -> None:
    with suppress(OSError):  # Without stderr there is nobody to tell; the summary goes on.
        while data:
            data = data[os.write(sys.stderr.fileno(), data) :]
