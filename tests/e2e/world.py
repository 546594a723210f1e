"""A namespace on a real cluster with Proctor installed, and what tests do in it."""

import asyncio
import base64
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from proctor.api import names
from proctor.edge.client import ApiError, Client, Json

PATIENCE = 150.0
"""Seconds in which every run of these tests must have its verdict."""


class World:
    """A namespace and what tests do in it."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.client = client
        self.namespace = namespace

    async def files(self, name: str, files: Mapping[str, str]) -> None:
        """Store files as the ConfigMap `name`."""
        await self.client.create("configmaps", self.namespace, named("v1", "ConfigMap", name) | {"data": dict(files)})

    async def archive(self, name: str, packed: bytes) -> None:
        """Store a tar.gz as the ConfigMap `name`."""
        data = {"suite.tgz": base64.b64encode(packed).decode()}
        await self.client.create("configmaps", self.namespace, named("v1", "ConfigMap", name) | {"binaryData": data})

    async def apply_run(self, name: str, spec: Json) -> Json:
        """Create a TestRun."""
        return await self.client.create(
            "testruns", self.namespace, named(names.API_VERSION, names.TEST_RUN, name) | {"spec": spec}
        )

    async def apply_suite(self, name: str, spec: Json) -> Json:
        """Create a TestSuite."""
        return await self.client.create(
            "testsuites", self.namespace, named(names.API_VERSION, names.TEST_SUITE, name) | {"spec": spec}
        )

    async def run(self, name: str, files: Mapping[str, str], **suite: Any) -> Json:
        """Run files as a suite with one step, unless `steps` says otherwise; return the run's status at the end."""
        await self.files(name, files)
        await self.apply_run(name, {"suite": one_step(name, **suite)})
        return await self.verdict(name)

    async def verdict(self, name: str, patience: float = PATIENCE) -> Json:
        """Wait for a run's verdict and return its status."""
        return await self.until(name, lambda status: "verdict" in status, patience)

    async def until(self, name: str, true: Callable[[Json], bool], patience: float = PATIENCE) -> Json:
        """Wait until something is true of a run's status, and return that status."""
        status: Json = {}
        end = time.monotonic() + patience
        while time.monotonic() < end:
            status = (await self.client.get("testruns", self.namespace, name)).get("status") or {}
            if true(status):
                return status
            await asyncio.sleep(0.2)
        raise AssertionError(f"run {name} did not get there within {patience:.0f} s; its status is {status}")

    async def kubectl(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run kubectl in this namespace and return what it prints."""
        pipe = asyncio.subprocess.PIPE
        command = ["kubectl", "--namespace", self.namespace, *arguments]
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
        try:
            output, errors = await asyncio.wait_for(process.communicate(stdin), timeout=60)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, f"{command}: {errors.decode(errors='replace')}"
        return output.decode()

    async def records(self, pod: str) -> list[Json]:
        """Return the records that a test pod has written so far. Its log holds pytest's own output too."""
        log = await self.kubectl("logs", pod, "--container", names.RUNNER_CONTAINER)
        return [json.loads(line) for line in log.splitlines() if line.startswith('{"')]

    async def jobs(self) -> list[Json]:
        """Return the Jobs of this namespace."""
        return (await self.client.list("jobs", self.namespace))[0]

    async def pods(self) -> list[Json]:
        """Return the pods of this namespace."""
        return (await self.client.list("pods", self.namespace))[0]


def one_step(config_map: str, **suite: Any) -> Json:
    """Return an inline suite whose one step `tests` reads a ConfigMap. `step` overrides the step's fields."""
    step = {"name": "tests", "source": {"configMapRef": {"name": config_map}}, "startTimeout": "60s", "timeout": "60s"}
    step |= suite.pop("step", {})
    return {"target": {"name": suite.pop("target_name", config_map)}, "steps": [step]} | suite


def counts(**expected: int) -> Json:
    """Return a status's counts: what is not named is 0."""
    return dict.fromkeys(("passed", "failed", "error", "skipped", "flaky", "quarantined"), 0) | expected


async def default_service_account(client: Client, namespace: str) -> None:
    """Wait for what a pod needs: the namespace's default account."""
    for _ in range(100):
        try:
            await client.get("serviceaccounts", namespace, "default")
            return
        except ApiError as error:
            if error.status != 404:
                raise
        await asyncio.sleep(0.1)
    raise AssertionError(f"namespace {namespace} has no default service account after 10 s")


def named(api_version: str, kind: str, name: str) -> Json:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}}
