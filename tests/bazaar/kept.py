"""Faults on the platform's processes: what a kubelet and Proctor's operator do to pods, done here without a cluster.

A `Keeper` starts the roles, starts again what dies, and harms them on request; `Operator` gives it ChaosExperiments and
tells their status as the API server would. So a suite's tests with faults run on loopback as they are.
"""

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import httpx

RESTART_SECONDS = 1.0
BASELINE_SECONDS = 0.5
READY_SECONDS = 60.0
CHUNK = 1 << 16


class Kept:
    """A process that is started again when it ends, unless it is down or to be ended."""

    def __init__(self, argv: list[str], log: Path, environment: Mapping[str, str]) -> None:
        self.argv, self.log, self.environment = argv, log, dict(environment)
        self.wanted = True
        self.child = self._start()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.child.pid, number)

    def ready(self) -> bool:
        """Whether it serves."""
        try:
            port = self.environment["BAZAAR_PORT"]
            return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def end(self) -> None:
        self.wanted = False
        self._ended.set()
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        self._thread.join(15)
        self.signal(signal.SIGKILL)
        self.child.wait(5)

    def _start(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as out:
            return subprocess.Popen(
                self.argv, stdout=out, stderr=subprocess.STDOUT, env=self.environment, cwd=self.log.parent
            )

    def _keep(self) -> None:
        while not self._ended.is_set():
            self.child.wait()
            self._ended.wait(RESTART_SECONDS)
            if self.wanted:
                self.child = self._start()
            elif not self._ended.is_set():
                self._ended.wait(0.1)


class Line:
    """What stands between the roles and NATS, and can be cut: nothing passes, and nobody is told."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._whole = asyncio.Event()
        self._whole.set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @contextmanager
    def to(self, port: int) -> Iterator[int]:
        """A port that leads to `port` of loopback."""
        self._thread.start()
        self.target = port
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        try:
            yield server.result(10).sockets[0].getsockname()[1]
        finally:
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()

    def cut(self, *, cut: bool) -> None:
        self._loop.call_soon_threadsafe(self._whole.clear if cut else self._whole.set)

    async def _end(self) -> None:
        pumps = asyncio.all_tasks() - {asyncio.current_task()}
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._whole.wait()
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.target)
        await asyncio.gather(self._pump(reader, there_writer), self._pump(there_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK):
                await self._whole.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # the other direction ends too
        finally:
            writer.close()


class Keeper:
    """All kept processes by their role, and the line to NATS."""

    def __init__(self) -> None:
        self.roles: dict[str, list[Kept]] = {}
        self.line = Line()

    @contextmanager
    def run(self, argv: list[str], log: Path, environment: Mapping[str, str]) -> Iterator[None]:
        """A process that lives, with interruptions, as long as the block."""
        kept = Kept(argv, log, environment)
        self.roles.setdefault(argv[-1], []).append(kept)
        try:
            yield
        finally:
            self.roles[argv[-1]].remove(kept)
            kept.end()


class Operator:
    """Carries out ChaosExperiments on a keeper's processes: each once, from the first time that it is read."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._status: dict[str, dict[str, Any]] = {}
        self._stop: dict[str, threading.Event] = {}

    def __call__(self, experiment: dict[str, Any], reading: int) -> dict[str, Any]:
        name = experiment["metadata"]["name"]
        if name not in self._status:
            self._status[name], self._stop[name] = {"conditions": [], "targets": []}, threading.Event()
            threading.Thread(target=self._carry_out, args=(name, experiment["spec"]), daemon=True).start()
        if experiment["spec"].get("abort"):
            self._stop[name].set()
        return self._status[name]

    def _carry_out(self, name: str, spec: dict[str, Any]) -> None:
        status, stop = self._status[name], self._stop[name]
        role = spec["targetRef"]["name"] if "targetRef" in spec else spec["selector"]["matchLabels"][NAME]
        candidates = self._keeper.roles.get(role, [])
        self._say(status, "Accepted", True)
        if stop.wait(BASELINE_SECONDS) or not (candidates or spec["fault"] == "NetworkCut"):
            return self._end(status, "Error", "TargetNotFound", f"no {role} runs")
        targets = candidates
        if candidates and spec["fault"] != "Outage":
            targets = [Random(spec["seed"]).choice(candidates)]
        target = {"pod": role, "uid": "", "injectedAt": _now()}
        status["targets"] = [target]
        self._harm(spec["fault"], targets, begin=True)
        self._say(status, "Injected", True)
        if spec["fault"] != "ProcessKill":
            stop.wait(float(spec["duration"].removesuffix("s")))
            self._harm(spec["fault"], targets, begin=False)
        target["healedAt"] = _now()
        self._say(status, "Healed", True)
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if all(kept.ready() for kept in targets):
                self._say(status, "Effective", True)
                self._say(status, "Recovered", True)
                return self._end(status, "Passed", "Passed", "")
            time.sleep(0.1)
        self._end(status, "Failed", "NotRecovered", f"{role} is not ready {READY_SECONDS:.0f} s after the heal")

    def _harm(self, fault: str, targets: list[Kept], *, begin: bool) -> None:
        if fault == "NetworkCut":
            self._keeper.line.cut(cut=begin)
        for kept in targets:
            if fault == "Outage":
                kept.wanted = not begin
            if begin or fault == "Pause":
                kept.signal(signal.SIGKILL if fault != "Pause" else signal.SIGSTOP if begin else signal.SIGCONT)

    def _say(self, status: dict[str, Any], kind: str, holds: bool) -> None:
        status["conditions"].append({"type": kind, "status": str(holds), "reason": "Seen", "message": ""})

    def _end(self, status: dict[str, Any], verdict: str, reason: str, message: str) -> None:
        status.update(verdict=verdict, reason=reason, message=message)


NAME = "app.kubernetes.io/name"


def _now() -> str:
    return datetime.now(UTC).isoformat()
