"""The configuration files of the node: kubeadm, kubelet, containerd, CNI.

Pure rendering from the Shape, so that what the cluster is made of can be read and tested without one.
"""

from __future__ import annotations

import json
from typing import Any

import yaml

from cluster.settings import HOST_ADDRESS, KUBERNETES_VERSION, NODE_ADDRESS, Shape

CRI_SOCKET = "/run/containerd/containerd.sock"
IMAGES = {
    "kube-apiserver": f"localhost/kube-apiserver:{KUBERNETES_VERSION}",
    "kube-controller-manager": f"localhost/kube-controller-manager:{KUBERNETES_VERSION}",
    "kube-scheduler": f"localhost/kube-scheduler:{KUBERNETES_VERSION}",
    "kube-proxy": f"localhost/kube-proxy:{KUBERNETES_VERSION}",
    "etcd": "localhost/etcd:3.6.5-0",
    "coredns": "localhost/coredns:v1.12.1",
    "pause": "localhost/pause:3.10.1",
}
# Requests in thousandths of a CPU: small, so that two cores hold the tests as well, but in proportion to the work,
# because they are also each one's share when everything is busy.
_REQUESTS = {"kube-apiserver": 150, "etcd": 80, "kube-controller-manager": 60, "kube-scheduler": 30, "coredns": 20}
# There is one of each: an election has no use, and a lease lost on a busy machine would restart it.
_ALONE = {"leader-elect": "false"}


def kubeadm_config(shape: Shape, patches_dir: str) -> str:
    """The kubeadm, kubelet and kube-proxy documents as one YAML stream."""
    cluster_patch = shape.patches.get("ClusterConfiguration", {})
    etcd: dict[str, Any] = {
        # A test cluster that is thrown away: losing etcd on a power cut costs nothing, and fsync costs every request.
        "extraArgs": _arguments({"unsafe-no-fsync": "true"}),
    }
    documents: list[dict[str, Any]] = [
        {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "InitConfiguration",
            "localAPIEndpoint": {"advertiseAddress": NODE_ADDRESS, "bindPort": 6443},
            "nodeRegistration": {
                "name": shape.node_name,
                "criSocket": f"unix://{CRI_SOCKET}",
                "imagePullPolicy": "Never",
                "taints": [],
                "kubeletExtraArgs": _arguments({"node-ip": NODE_ADDRESS, "hostname-override": shape.node_name}),
            },
            "patches": {"directory": patches_dir},
        },
        {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "ClusterConfiguration",
            "clusterName": shape.name,
            "kubernetesVersion": KUBERNETES_VERSION,
            "controlPlaneEndpoint": f"{NODE_ADDRESS}:6443",
            "imageRepository": "localhost",
            "dns": {"imageRepository": "localhost"},
            "networking": {"podSubnet": shape.pod_subnet, "serviceSubnet": shape.service_subnet},
            "apiServer": {"extraArgs": _extra(cluster_patch, "apiServer", {})},
            "controllerManager": {
                "extraArgs": _extra(
                    cluster_patch,
                    "controllerManager",
                    # kubeadm mounts this path from the node, and /usr is the host's.
                    {"flex-volume-plugin-dir": "/var/lib/kubelet/volumeplugins", **_ALONE},
                )
            },
            "scheduler": {"extraArgs": _extra(cluster_patch, "scheduler", _ALONE)},
            "etcd": {"local": etcd},
        },
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": f"unix://{CRI_SOCKET}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": "/proctor",
            "failSwapOn": False,
            "failCgroupV1": False,
            # The machine may deny sysctls and OOM scores even to root; the kubelet then carries on.
            "featureGates": {"KubeletInUserNamespace": True},
            "volumePluginDir": "/var/lib/kubelet/volumeplugins",
            "serializeImagePulls": False,
            **shape.patches.get("KubeletConfiguration", {}),
        },
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            # Not nftables: on kernel 6.18 its full resync drops elements of its maps, and Services are refused.
            "mode": "iptables",
            # The conntrack limits are the machine's, not this namespace's.
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        },
    ]
    return "---\n".join(yaml.safe_dump(document, sort_keys=False) for document in documents)


def kubeadm_patches() -> dict[str, str]:
    """Patch files by name: resource requests for two cores, one CoreDNS."""

    def container(name: str) -> dict[str, Any]:
        return {"name": name, "resources": {"requests": {"cpu": f"{_REQUESTS[name]}m", "memory": "32Mi"}}}

    files: dict[str, Any] = {
        f"{name}+strategic.yaml": {"spec": {"containers": [container(name)]}}
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")
    }
    files["corednsdeployment+strategic.yaml"] = {
        "spec": {"replicas": 1, "template": {"spec": {"containers": [container("coredns")]}}}
    }
    return {name: yaml.safe_dump(patch) for name, patch in files.items()}


def containerd_config() -> str:
    """Render containerd's config.toml (format 2, which 1.6 and 1.7 read)."""
    return f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
                    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs",
                    "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "{CRI_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGES["pause"]}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    discard_unpacked_layers = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
"""


def cni_config(shape: Shape) -> str:
    """The pod network: one routed veth pair per pod, no bridge, no masquerade.

    Routed and not bridged, because a reply between two pods of one bridge bypasses kube-proxy's address translation
    where the kernel does not pass bridged packets through the firewall.
    """
    plugins: list[dict[str, Any]] = [
        {
            "type": "ptp",
            "ipMasq": False,
            "ipam": {
                "type": "host-local",
                "dataDir": "/run/cni-addresses",
                "ranges": [[{"subnet": shape.node_pod_subnet}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    return json.dumps({"cniVersion": "0.4.0", "name": "proctor", "plugins": plugins}, indent=2)


def etc_files(shape: Shape) -> dict[str, str]:
    """Files of the node's own /etc, by path below /etc."""
    return {
        "containerd/config.toml": containerd_config(),
        "cni/net.d/10-proctor.conflist": cni_config(shape),
        # No name server can be reached from inside. The host's address answers at once with a refusal, so a lookup of
        # an outside name fails in milliseconds and not after a time-out.
        "resolv.conf": f"nameserver {HOST_ADDRESS}\n",
        "hosts": f"127.0.0.1 localhost\n{NODE_ADDRESS} {shape.node_name}\n",
    }


def services(bin_dir: str) -> dict[str, dict[str, Any]]:
    """The node's services for cluster.node, by name."""
    path = {"PATH": f"{bin_dir}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    return {
        "containerd": {"argv": ["containerd", "--config", "/etc/containerd/config.toml"], "needs": [], "env": path},
        "kubelet": {
            "argv": [
                f"{bin_dir}/kubelet",
                "--config=/var/lib/kubelet/config.yaml",
                "--kubeconfig=/etc/kubernetes/kubelet.conf",
                "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
                f"--node-ip={NODE_ADDRESS}",
                "--v=1",
            ],
            "needs": ["/var/lib/kubelet/config.yaml", CRI_SOCKET],
            "env": path,
        },
    }


def _arguments(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _extra(patch: dict[str, Any], component: str, ours: dict[str, str]) -> list[dict[str, str]]:
    """Merge arguments: kind takes a map or, in newer formats, a list; kubeadm v1beta4 takes the list."""
    theirs = patch.get(component, {}).get("extraArgs", {})
    if isinstance(theirs, list):
        theirs = {entry["name"]: entry["value"] for entry in theirs}
    return _arguments({**ours, **theirs})
