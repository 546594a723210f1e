"""Where things live and what shape the cluster has: kind-config.yaml read once, plus the addresses it does not name.

kind gives a node an address of Docker's; here the node is the far end of a veth pair, whose two addresses are fixed so
that a kubeconfig stays valid from one `up` to the next.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.progress import ClusterError

ROOT = Path(__file__).resolve().parent.parent
STATE = Path("/var/lib/proctor-cluster")
KUBERNETES_VERSION = "v1.34.4"
CONTEXT = "proctor-local"
HOST_LINK = "proctor0"
HOST_ADDRESS = "198.19.255.1"
NODE_ADDRESS = "198.19.255.2"
LINK_PREFIX = 30


def cache_dir() -> Path:
    """The per-user cache that any checkout shares and `down` leaves alone."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "proctor"


@dataclass(frozen=True)
class PortMapping:
    """One NodePort made reachable on the host."""

    listen: str
    host_port: int
    node_port: int


@dataclass(frozen=True)
class Shape:
    """What kind-config.yaml asks for. `patches` maps a kubeadm kind to its merged patch."""

    name: str
    pod_subnet: str
    service_subnet: str
    ports: tuple[PortMapping, ...]
    patches: dict[str, dict[str, Any]]

    @property
    def node_name(self) -> str:
        """The node's name, as kind would give it."""
        return f"{self.name}-control-plane"

    @property
    def node_pod_subnet(self) -> str:
        """The first /24 of the pod subnet: what the controller-manager gives to the first node."""
        network = ipaddress.ip_network(self.pod_subnet)
        return str(next(network.subnets(new_prefix=max(24, network.prefixlen))))


def read_shape(path: Path = ROOT / "kind-config.yaml") -> Shape:
    """Parse a kind v1alpha4 Cluster file. ClusterError names the file and field when it asks for what we cannot do."""
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ClusterError(f"Cannot read {path}: {error}") from None
    if not isinstance(document, dict) or (document.get("kind"), document.get("apiVersion")) != (
        "Cluster",
        "kind.x-k8s.io/v1alpha4",
    ):
        raise ClusterError(f"{path} is not a kind Cluster of kind.x-k8s.io/v1alpha4.")
    nodes = document.get("nodes") or [{"role": "control-plane"}]
    if len(nodes) != 1 or nodes[0].get("role") != "control-plane":
        raise ClusterError(f"{path}: nodes must be exactly one control-plane node; found {len(nodes)} node(s).")
    networking = document.get("networking") or {}
    ports = tuple(_port(path, index, entry) for index, entry in enumerate(nodes[0].get("extraPortMappings") or []))
    texts = [*(document.get("kubeadmConfigPatches") or []), *(nodes[0].get("kubeadmConfigPatches") or [])]
    return Shape(
        name=str(document.get("name") or "kind"),
        pod_subnet=_subnet(path, networking, "podSubnet"),
        service_subnet=_subnet(path, networking, "serviceSubnet"),
        ports=ports,
        patches=_patches(path, texts),
    )


def _subnet(path: Path, networking: dict[str, Any], field: str) -> str:
    try:
        network = ipaddress.ip_network(str(networking[field]))
    except (KeyError, ValueError) as error:
        raise ClusterError(f"{path}: networking.{field} must be an IPv4 subnet ({error}).") from None
    if network.overlaps(ipaddress.ip_network(f"{HOST_ADDRESS}/{LINK_PREFIX}", strict=False)):
        raise ClusterError(f"{path}: networking.{field} {network} overlaps the node's link at {HOST_ADDRESS}.")
    return str(network)


def _port(path: Path, index: int, entry: dict[str, Any]) -> PortMapping:
    if entry.get("protocol", "TCP") != "TCP":
        raise ClusterError(f"{path}: extraPortMappings[{index}]: only TCP can be mapped, not {entry['protocol']}.")
    try:
        return PortMapping(
            str(entry.get("listenAddress", "127.0.0.1")), int(entry["hostPort"]), int(entry["containerPort"])
        )
    except (KeyError, ValueError) as error:
        raise ClusterError(
            f"{path}: extraPortMappings[{index}] needs a number in hostPort and in containerPort ({error})."
        ) from None


def _patches(path: Path, texts: list[str]) -> dict[str, dict[str, Any]]:
    merged: dict[str, dict[str, Any]] = {}
    for text in texts:
        for patch in yaml.safe_load_all(text):
            kind = patch.pop("kind", None)
            if kind not in ("ClusterConfiguration", "KubeletConfiguration"):
                raise ClusterError(
                    f"{path}: kubeadmConfigPatches: kind {kind} is not supported; "
                    "use ClusterConfiguration or KubeletConfiguration."
                )
            patch.pop("apiVersion", None)
            merged[kind] = {**merged.get(kind, {}), **patch}
    return merged
