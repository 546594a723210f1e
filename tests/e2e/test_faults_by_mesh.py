"""The same experiments by the real Chaos Mesh (`make chaos-mesh`), with the same observer: the same verdicts."""

from typing import Any

import pytest

from e2e.faultworld import FaultWorld, conditions
from e2e.test_faults import WELL
from proctor.api import names

pytestmark = pytest.mark.e2e

MESH = {"driver": "ChaosMesh", "limits": {"maxPercent": 100, "maxCount": 5, "respectPDB": False}}
FAULTS: dict[str, dict[str, Any]] = {
    "PodKill": {"fault": "PodKill"},
    "ProcessKill": {"fault": "ProcessKill"},
    "NetworkCut": {"fault": "NetworkCut", "port": 8080, "duration": "8s"},
}


@pytest.mark.parametrize("spec", FAULTS.values(), ids=FAULTS)
async def test_fault_by_chaos_mesh_is_seen_healed_and_recovered(faults: FaultWorld, spec: dict[str, Any]) -> None:
    await _need_chaos_mesh(faults)
    await faults.web(replicas=2)
    await faults.fault("fault", **MESH, **spec)
    status = await faults.judged("fault")
    assert (status["verdict"], status["reason"]) == ("Passed", "Passed"), status
    assert {kind: truth for kind, truth in conditions(status).items() if kind in WELL} == WELL
    await faults.ready(2)
    left = await faults.kubectl("get", "podchaos,networkchaos", "--output", "name")
    assert left.strip() == ""


async def test_cut_by_chaos_mesh_of_a_port_where_nothing_listens_is_inconclusive(faults: FaultWorld) -> None:
    await _need_chaos_mesh(faults)
    await faults.web()
    await faults.fault("fault", **MESH, **FAULTS["NetworkCut"] | {"port": 9999})
    status = await faults.judged("fault")
    assert (status["verdict"], status["reason"]) == ("Inconclusive", names.STEADY_STATE_NOT_HELD), status


async def test_abort_ends_a_cut_by_chaos_mesh(faults: FaultWorld) -> None:
    await _need_chaos_mesh(faults)
    await faults.web()
    await faults.fault("fault", **MESH, **FAULTS["NetworkCut"] | {"duration": "60s"})
    await faults.experiment("fault", lambda status: conditions(status).get(names.INJECTED) == "True")
    await faults.client.merge("chaosexperiments", faults.namespace, "fault", {"spec": {"abort": True}})
    status = await faults.judged("fault")
    assert (status["verdict"], status["reason"]) == ("Error", names.ABORTED), status
    assert conditions(status)[names.HEALED] == "True"
    await faults.ready(1)


async def _need_chaos_mesh(faults: FaultWorld) -> None:
    if "networkchaos" not in await faults.kubectl("api-resources", "--api-group", "chaos-mesh.org", "--output", "name"):
        pytest.skip("Chaos Mesh is not installed: make chaos-mesh")
