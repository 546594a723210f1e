"""Invariants 3 and 4: SIGKILL of the operator around each of its API writes changes nothing about a run."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from e2e.killing_proxy import KillingProxy, Moment, OperatorProcess
from e2e.world import World, default_service_account, named, one_step
from proctor.edge.client import Client, Json

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

AT_ONCE = 3
FILES = {"test_a.py": "def test_a(): pass\ndef test_b(): pass"}


@pytest_asyncio.fixture
async def runner_image() -> AsyncIterator[str]:
    """Put the installed operator to rest for the test, and return its runner image."""
    client = await Client.connect()
    (deployment,), _ = await client.list("deployments", "proctor-system", "app.kubernetes.io/name=proctor")
    name = deployment["metadata"]["name"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    image = next(env["value"] for env in container["env"] if env["name"] == "PROCTOR_RUNNER_IMAGE")
    await _scale(client, name, 0)
    try:
        yield image
    finally:
        await _scale(client, name, 1)
        await client.close()


async def test_invariant_4_kill_around_each_write(runner_image: str, tmp_path: Path) -> None:
    client = await Client.connect()
    try:
        _, writes, _ = await _one(client, "plain", "before", None, runner_image, tmp_path)
        assert len(writes) >= 5, writes
        turns = asyncio.Semaphore(AT_ONCE)
        reached: list[str] = []

        async def killed(moment: Moment, nth: int) -> tuple[str, str]:
            async with turns:
                name = f"{moment}-{nth}"
                status, _, starts = await _one(client, name, moment, nth, runner_image, tmp_path)
                assert starts <= 2, f"{name}: the operator was killed more than once"
                if starts == 2:
                    reached.append(name)
                return name, f"{status['verdict']} {status['counts']['passed']}"

        cases = [killed(moment, nth) for nth in range(1, len(writes) + 1) for moment in ("before", "after")]
        outcomes = dict(await asyncio.gather(*cases))
        print(f"{len(writes)} writes, killed before and after: {sorted(reached)}")
        assert set(outcomes.values()) == {"Passed 2"}, outcomes
        # How many status writes a run needs depends on which changes of its pods fall into one pass.
        assert len(reached) >= 2 * (len(writes) - 3), f"killed only at {sorted(reached)} of {writes}"
    finally:
        await client.close()


async def _one(
    client: Client, name: str, moment: Moment, nth: int | None, image: str, folder: Path
) -> tuple[Json, list[str], int]:
    """Run one suite under an operator that is killed once; return its status, the writes, the operator's starts."""
    namespace = f"e2e-killed-{name}-{uuid.uuid4().hex[:4]}"
    await client.create("namespaces", None, named("v1", "Namespace", namespace))
    await default_service_account(client, namespace)
    world = World(client, namespace)
    place = folder / name
    place.mkdir()
    operator = OperatorProcess(namespace, place, image)
    jobs: list[str] = []
    async with KillingProxy(operator.kill, moment, nth) as proxy:
        _, since = await client.list("jobs", namespace)
        watching = asyncio.create_task(_note_new_jobs(client, namespace, since, jobs))
        running = asyncio.create_task(operator.keep_running(proxy.url))
        try:
            await world.files("case", FILES)
            await world.apply_run("case", {"suite": one_step("case", step={"shards": 2})})
            status = await world.verdict("case", patience=60)
            # The last writes come after the verdict: wait until nothing has been written for a while.
            await _quiet(proxy)
        finally:
            for task in (running, watching):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
    assert len(jobs) == 1, f"{name}: Jobs created: {jobs}"
    assert {job["metadata"]["uid"] for job in await world.jobs()} == {status["steps"][0]["job"]["uid"]}
    assert len(await world.pods()) == 2, f"{name}: one pod for each shard"
    plans = [
        m for m in (await client.list("configmaps", namespace))[0] if m["metadata"]["name"].startswith("case-plan")
    ]
    assert len(plans) == 1
    made = await client.get("namespaces", "", namespace)
    await client.delete("namespaces", "", namespace, made["metadata"]["uid"])
    return status, proxy.writes, operator.starts


async def _note_new_jobs(client: Client, namespace: str, since: str, names_seen: list[str]) -> None:
    async for event in client.watch("jobs", namespace, "", since, 300):
        if event["type"] == "ADDED":
            names_seen.append(event["object"]["metadata"]["uid"])


async def _quiet(proxy: KillingProxy) -> None:
    for _ in range(40):
        before = len(proxy.writes)
        await asyncio.sleep(1.5)
        if len(proxy.writes) == before:
            return
    raise AssertionError("the operator goes on writing after the verdict")


async def _scale(client: Client, name: str, replicas: int) -> None:
    await client.merge("deployments", "proctor-system", name, {"spec": {"replicas": replicas}})
    for _ in range(300):
        status = (await client.get("deployments", "proctor-system", name)).get("status", {})
        pods, _ = await client.list("pods", "proctor-system", "app.kubernetes.io/name=proctor")
        if status.get("readyReplicas", 0) == replicas and len(pods) == replicas:
            return
        await asyncio.sleep(0.3)
    raise AssertionError(f"{name} did not scale to {replicas} within 90 s")
