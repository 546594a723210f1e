"""Pods for the observer and the fault agents on this machine: folders, network namespaces, process namespaces."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proctor.core.timeline import Deed, Timeline, decode, decode_deed
from runner.conftest import OPERATOR

UID = "11111111-2222-3333-4444-555555555555"
POD = "99999999-8888-7777-6666-555555555555"
MODULE = [os.environ.get("PROCTOR_TEST_PYTHON", sys.executable), "-m", "proctor.runner.chaos"]
UNPRIVILEGED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
NET_ADMIN = ["setpriv", "--bounding-set=-all,+net_admin", "--inh-caps=-all,+net_admin", "--no-new-privs"]


def need(*tools: str) -> None:
    """Skip the test where it cannot run: on a laptop of a user, or without the tools that the image has."""
    if os.geteuid() != 0:
        pytest.skip("needs root: namespaces, and port 53")
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")


def until(holds: Callable[[], object], patience: float = 10.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@dataclass
class Left:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str
    message: str

    def deed(self, action: str) -> Deed:
        return decode_deed(self.message, experiment=UID, action=action)

    @property
    def timeline(self) -> Timeline:
        return decode(self.message, experiment=UID, pod=POD)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.splitlines()]


@dataclass
class Command:
    """A command that runs in a pod."""

    root: Path
    process: "subprocess.Popen[str]"

    @property
    def pid(self) -> int:
        """The pid on this machine of the command itself, below what put it into its namespaces."""
        pid = self.process.pid
        until(lambda: _cmdline(_last(pid)).startswith(MODULE[0].encode()))
        return _last(pid)

    @property
    def message(self) -> str:
        return (self.root / "dev/termination-log").read_text()

    def tell(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def end(self, patience: float = 40) -> Left:
        try:
            out, err = self.process.communicate(timeout=patience)
        finally:
            self.process.kill()
        return Left(self.process.returncode, out, err, self.message)


@dataclass
class ChaosPod:
    """A folder with the layout of a pod, and what its commands are started by (namespaces, rights)."""

    root: Path
    prefix: tuple[str, ...] = ()

    def start(self, *arguments: str, prefix: tuple[str, ...] | None = None, **env: str) -> Command:
        (self.root / "dev/termination-log").write_text("")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "PROCTOR"))}
        environment |= {"PYTHONPATH": str(OPERATOR), "PROCTOR_POD_UID": POD} | env
        process = subprocess.Popen(
            [*(self.prefix if prefix is None else prefix), *MODULE, "--root", str(self.root), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return Command(self.root, process)

    def agent(
        self,
        action: str,
        *arguments: str,
        late: float = -30,
        prefix: tuple[str, ...] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Command:
        """Start an agent, `late` seconds after the time to inject."""
        injects = action in ("cut", "kill", "pause", "outage")
        by = ["--not-after", str(time.time() - late)] if injects else []
        return self.start(action, "--experiment", UID, *by, *arguments, prefix=prefix, **(env or {}))

    def observe(self, plan: dict[str, Any]) -> Command:
        return self.start("observe", PROCTOR_OBSERVE=json.dumps({"version": 1, "experiment": UID} | plan))

    @property
    def good(self) -> bool:
        return (self.root / "tmp/good").exists()


def make_pod(root: Path, *prefix: str) -> ChaosPod:
    for folder in ("dev", "etc", "tmp"):
        (root / folder).mkdir(parents=True)
    return ChaosPod(root, prefix)


@contextmanager
def networks(*names: str) -> Iterator[dict[str, str]]:
    """Make network namespaces on one cable, without a way out; yield their names by role, at 10.9.0.1, 10.9.0.2."""
    need("ip", "nft", "setpriv")
    tag = f"{random.getrandbits(24):06x}"
    made = {name: f"proctor-{tag}-{name}" for name in names}
    try:
        for namespace in made.values():
            _ip("netns", "add", namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
        if len(names) == 2:
            ends = list(made.values())
            _ip("link", "add", "eth0", "netns", ends[0], "type", "veth", "peer", "name", "eth0", "netns", ends[1])
            for number, namespace in enumerate(ends, 1):
                _ip("-n", namespace, "address", "add", f"10.9.0.{number}/24", "dev", "eth0")
                _ip("-n", namespace, "link", "set", "eth0", "up")
        yield made
    finally:
        for namespace in made.values():
            subprocess.run(["ip", "netns", "delete", namespace], check=False)


def inside(network: str) -> tuple[str, ...]:
    return ("nsenter", f"--net=/run/netns/{network}", "--")


@dataclass
class Container:
    """A process namespace with an application in it. `init` is the pid of its PID 1 on this machine."""

    process: "subprocess.Popen[bytes]"
    init: int

    @property
    def entry(self) -> tuple[str, ...]:
        """What starts a command in it, as an ephemeral container that targets it has it."""
        return ("nsenter", f"--target={self.init}", "--pid", "--mount", "--", *UNPRIVILEGED)


@contextmanager
def container(*command: str, by: tuple[str, ...] = ()) -> Iterator[Container]:
    need("unshare", "nsenter", "setpriv", "catatonit")
    process = subprocess.Popen(
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--", *by, *command],
        stdout=subprocess.DEVNULL,
    )
    try:
        until(lambda: children(process.pid) and command[0].encode() in _cmdline(children(process.pid)[0]))
        yield Container(process, children(process.pid)[0])
    finally:
        process.kill()
        process.wait()


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _last(pid: int) -> int:
    """Return the process that the tools before a command (nsenter, setpriv, unshare) have come to."""
    below = [] if _cmdline(pid).startswith(MODULE[0].encode()) else children(pid)
    return _last(below[0]) if below else pid


def state(pid: int) -> str:
    """Return a process's state letter, "" when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _cmdline(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
