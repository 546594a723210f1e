"""What Proctor asks of Chaos Mesh."""

from core.faultworld import a_target, an_experiment
from proctor.api.scalars import Driver, Fault
from proctor.core.chaos import manifests


def test_cut_sets_rules_in_no_pod_but_its_target() -> None:
    experiment = an_experiment(Fault.NETWORK_CUT, driver=Driver.CHAOS_MESH)
    spec = manifests.mesh_fault(experiment, [a_target()])["spec"]
    assert spec["selector"] == {"pods": {experiment.metadata.namespace: ["shop-0"]}}
    assert spec["direction"] == "both"
    assert "target" not in spec
