"""What Proctor asks of Chaos Mesh, and what it refuses to ask."""

from core.faultworld import a_mesh_world, a_target, an_experiment
from proctor.api import names
from proctor.api.scalars import Driver, Fault
from proctor.core.chaos import manifests


def test_kill_that_asks_no_disruption_budget_is_made_only_on_demand() -> None:
    refused = a_mesh_world(Fault.POD_KILL, limits={"maxPercent": 100})
    refused.finish()
    assert refused.outcome == ("Error", names.NOT_SUPPORTED)
    assert not refused.hits


def test_cut_sets_rules_in_no_pod_but_its_target() -> None:
    experiment = an_experiment(Fault.NETWORK_CUT, driver=Driver.CHAOS_MESH)
    spec = manifests.mesh_fault(experiment, [a_target()])["spec"]
    assert spec["selector"] == {"pods": {experiment.metadata.namespace: ["shop-0"]}}
    assert spec["direction"] == "both"
    assert "target" not in spec
