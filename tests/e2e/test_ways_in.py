"""What the API server cannot say is said by Accepted=False, whichever way the resource came in."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from e2e.world import World, named, one_step
from proctor.api import names
from proctor.edge.client import Json

pytestmark = pytest.mark.e2e

Way = Callable[[World, Json, Path], Awaitable[None]]


async def by_kubectl_apply(world: World, suite: Json, folder: Path) -> None:
    await _call("kubectl", "apply", "--namespace", world.namespace, "-f", str(_written(suite, folder)))


async def by_kubectl_server_side(world: World, suite: Json, folder: Path) -> None:
    path = str(_written(suite, folder))
    await _call("kubectl", "apply", "--server-side", "--namespace", world.namespace, "-f", path)


async def by_helm(world: World, suite: Json, folder: Path) -> None:
    await _helm(world, suite, folder, "true")


async def by_helm_client_side(world: World, suite: Json, folder: Path) -> None:
    await _helm(world, suite, folder, "false")


async def by_a_bare_post(world: World, suite: Json, folder: Path) -> None:
    await world.apply_suite("suite", suite["spec"])


@pytest.mark.parametrize(
    "way", [by_kubectl_apply, by_kubectl_server_side, by_helm, by_helm_client_side, by_a_bare_post]
)
async def test_a_time_zone_that_does_not_exist_is_refused_by_name(world: World, way: Way, tmp_path: Path) -> None:
    suite = named(names.API_VERSION, names.TEST_SUITE, "suite")
    suite["spec"] = one_step("case") | {"run": {"schedule": "0 3 * * *", "timeZone": "Europe/Atlantis"}}
    await way(world, suite, tmp_path)
    accepted = await _accepted(world)
    assert (accepted["status"], accepted["reason"]) == ("False", names.INVALID_SPEC)
    assert "spec.run.timeZone" in accepted["message"]
    assert (await world.client.list("testruns", world.namespace))[0] == []


async def test_a_suite_whose_jobs_would_be_refused_is_not_accepted(world: World, tmp_path: Path) -> None:
    runner = {"podTemplate": {"volumeMounts": [{"name": "no-such-volume", "mountPath": "/x"}]}}
    await world.apply_suite("suite", one_step("case", runner=runner))
    accepted = await _accepted(world)
    assert (accepted["status"], accepted["reason"]) == ("False", names.JOB_REFUSED)
    assert "no-such-volume" in accepted["message"]


async def test_what_is_not_acted_on_yet_says_so(world: World) -> None:
    spec = {"metrics": [{"name": "p95_ms", "limit": 300}]}
    body = named(names.API_VERSION, names.PERF_GATE, "gate") | {"spec": spec}
    await world.client.create("perfgates", world.namespace, body)
    accepted = await _accepted(world, "perfgates", "gate")
    assert (accepted["status"], accepted["reason"]) == ("False", names.NOT_SUPPORTED)


async def _accepted(world: World, plural: str = "testsuites", name: str = "suite") -> Json:
    for _ in range(100):
        status = (await world.client.get(plural, world.namespace, name)).get("status") or {}
        for condition in status.get("conditions") or []:
            if condition["type"] == names.ACCEPTED:
                found: Json = condition
                return found
        await asyncio.sleep(0.2)
    raise AssertionError(f"{plural} {name} has no condition Accepted after 20 s")


async def _helm(world: World, suite: Json, folder: Path, server_side: str) -> None:
    chart = folder / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: a-suite\nversion: 0.1.0\n")
    shutil.move(_written(suite, folder), chart / "templates" / "suite.yaml")
    await _call(
        "helm", "install", "a-suite", str(chart), "--namespace", world.namespace, f"--server-side={server_side}"
    )


def _written(suite: Json, folder: Path) -> Path:
    path = folder / "suite.yaml"
    path.write_text(json.dumps(suite))
    return path


async def _call(*argv: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, said.decode()
