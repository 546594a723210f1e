"""kind-config.yaml is the one description of the cluster's shape, for kind and for ours."""

import json
from pathlib import Path

import pytest
import yaml
from cluster.progress import ClusterError
from cluster.settings import PortMapping, read_shape

from cluster import kubeadm

GOOD = {
    "kind": "Cluster",
    "apiVersion": "kind.x-k8s.io/v1alpha4",
    "name": "demo",
    "networking": {"podSubnet": "198.18.0.0/16", "serviceSubnet": "198.19.0.0/17"},
    "nodes": [{"role": "control-plane", "extraPortMappings": [{"containerPort": 30080, "hostPort": 8080}]}],
}


def _read(tmp_path: Path, **changes: object) -> object:
    path = tmp_path / "kind-config.yaml"
    path.write_text(yaml.safe_dump({**GOOD, **changes}))
    return read_shape(path)


def test_our_own_file_is_read() -> None:
    shape = read_shape()
    assert (shape.name, shape.node_name) == ("proctor", "proctor-control-plane")
    assert shape.node_pod_subnet == "198.18.0.0/24"
    assert PortMapping("127.0.0.1", 30080, 30080) in shape.ports


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "Pod"}, "is not a kind Cluster"),
        ({"apiVersion": "kind.x-k8s.io/v1alpha3"}, "is not a kind Cluster"),
        ({"nodes": [{"role": "control-plane"}, {"role": "worker"}]}, r"exactly one control-plane node; found 2"),
        ({"nodes": [{"role": "worker"}]}, "exactly one control-plane node"),
        ({"networking": {"podSubnet": "198.18.0.0/16"}}, r"networking\.serviceSubnet must be an IPv4 subnet"),
        ({"networking": {"podSubnet": "many", "serviceSubnet": "198.19.0.0/17"}}, r"networking\.podSubnet"),
        ({"networking": {"podSubnet": "198.18.0.0/15", "serviceSubnet": "10.0.0.0/16"}}, "overlaps the node's link"),
        (
            {"nodes": [{"role": "control-plane", "extraPortMappings": [{"containerPort": 1}]}]},
            r"extraPortMappings\[0\] needs a number in hostPort",
        ),
        (
            {"nodes": [{"role": "control-plane", "extraPortMappings": [{"protocol": "UDP"}]}]},
            r"extraPortMappings\[0\]: only TCP",
        ),
        ({"kubeadmConfigPatches": ["kind: JoinConfiguration\n"]}, "kind JoinConfiguration is not supported"),
    ],
)
def test_what_cannot_be_built_is_refused_by_field(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        _read(tmp_path, **changes)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "kind-config.yaml"
    path.write_text("kind: [")
    with pytest.raises(ClusterError, match=r"Cannot read .*kind-config\.yaml"):
        read_shape(path)


def _documents() -> dict[str, dict[str, object]]:
    documents = yaml.safe_load_all(kubeadm.kubeadm_config(read_shape(), "/patches"))
    return {document["kind"]: document for document in documents}


def test_the_client_rates_of_kind_config_reach_kubeadm() -> None:
    cluster = _documents()["ClusterConfiguration"]
    for component in ("controllerManager", "scheduler"):
        arguments = {entry["name"]: entry["value"] for entry in cluster[component]["extraArgs"]}  # type: ignore[index]
        assert arguments["kube-api-qps"] == "500"
        assert arguments["kube-api-burst"] == "1000"


def test_the_kubelet_patch_is_merged_and_ours_stay() -> None:
    kubelet = _documents()["KubeletConfiguration"]
    assert kubelet["maxPods"] == 200
    assert kubelet["cgroupRoot"] == "/proctor"


def test_a_pod_address_pool_holds_all_pods_of_the_node() -> None:
    config = json.loads(kubeadm.cni_config(read_shape()))
    subnet = config["plugins"][0]["ipam"]["ranges"][0][0]["subnet"]
    assert subnet == "198.18.0.0/24"  # 254 addresses for maxPods: 200
