"""Losing the Lease ends the operator, whatever it is at, so that two can never write."""

import asyncio
from datetime import UTC, datetime

import pytest

from e2e.world import World, one_step
from proctor.edge import lease
from proctor.edge.client import Client, Json

pytestmark = [pytest.mark.e2e, pytest.mark.alone]
NAMESPACE = "proctor-system"


async def test_a_stranger_takes_the_lease_and_leaves_it(world: World) -> None:
    before = _starts(await _pod(world.client))
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    spec = {"holderIdentity": "stranger", "renewTime": now}
    await world.client.merge("leases", NAMESPACE, lease.NAME, {"spec": spec})
    for _ in range(100):
        pod = await _pod(world.client)
        if _starts(pod) > before:
            break
        await asyncio.sleep(0.3)
    assert _starts(pod) == before + 1
    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 1
    # The stranger does not renew, so the operator takes over when the Lease has run out, and works again.
    await world.files("case", {"test_a.py": "def test_a(): pass"})
    await world.apply_run("case", {"suite": one_step("case")})
    assert (await world.verdict("case"))["verdict"] == "Passed"


async def _pod(client: Client) -> Json:
    (pod,), _ = await client.list("pods", NAMESPACE, "app.kubernetes.io/name=proctor")
    return pod


def _starts(pod: Json) -> int:
    count: int = pod["status"]["containerStatuses"][0]["restartCount"]
    return count
