"""The local cluster: up, down, status. `up` is a list of steps, each of which may be run again."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from cluster import containers, fake_nodes, kubeadm, machine, node_images
from cluster.packages import install_packages
from cluster.progress import ClusterError, Step, output, run, run_steps, wait_for
from cluster.settings import (
    CONTEXT,
    HOST_ADDRESS,
    HOST_LINK,
    KUBERNETES_VERSION,
    LINK_PREFIX,
    NODE_ADDRESS,
    STATE,
    PortMapping,
    Shape,
    cache_dir,
    read_shape,
)
from cluster.tools import GROUPS, bin_dir, build_group, check_go, text_key

KUBECONFIG = STATE / "kubeconfig"
LOGS = STATE / "log"


def up(fake: int, stages: Path | None) -> None:
    """Bring the cluster from whatever is there to Ready, with `fake` fake nodes."""
    _need_root()
    shape = read_shape()
    check_go()
    after = [("build Helm (3 min the first time)", lambda: build_group(GROUPS["helm"])), *_fake_steps(fake, stages)]
    with machine.lock():
        if machine.running_keeper() is not None and KUBECONFIG.exists():
            _check_same(shape)
            run_steps([("health of the running cluster", check_health), *after])
        else:
            try:
                run_steps([*_build_steps(), *_start_steps(shape), *after])
            except KeyboardInterrupt:
                machine.stop_keeper()
                raise
    print(f"Ready: Kubernetes {KUBERNETES_VERSION} at https://{NODE_ADDRESS}:6443")
    print(f"  export KUBECONFIG={KUBECONFIG} PATH={bin_dir()}:$PATH")


def down() -> None:
    """End the cluster and remove all of it but the per-user cache."""
    _need_root()
    with machine.lock():
        run_steps(
            [
                ("end the cluster", lambda: "done" if machine.stop_keeper() else "none was running"),
                ("remove its files and cgroups", machine.remove_leftovers),
            ]
        )


def status() -> bool:
    """Print what runs. True when the cluster is healthy."""
    keeper = machine.running_keeper()
    if keeper is None:
        left = f"; a stopped one left files in {STATE}, which `up` or `down` removes" if STATE.exists() else ""
        print(f"The local cluster is not running{left}.")
        return False
    print(f"keeper {keeper['pid']}, node {keeper['node']}, kubeconfig {KUBECONFIG}, logs {LOGS}")
    print(output(kubectl("get", "nodes,pods", "-A", "-o", "wide")) or "The API server does not answer.")
    try:
        check_health(timeout=5)
    except ClusterError as error:
        print(error)
        return False
    print("healthy")
    return True


def kubeconfig() -> Path:
    """The administrator's kubeconfig; ClusterError when the cluster does not run."""
    _node()
    return KUBECONFIG


def tools() -> Path:
    """The folder with kubectl, helm and the others that are built."""
    return bin_dir()


def build() -> None:
    """Build every tool without starting anything."""
    check_go()
    run_steps([(f"build {name}", partial(build_group, group)) for name, group in GROUPS.items()])


def base() -> str:
    """The base image for builds without a registry, made if need be."""
    containers.build_base()
    return containers.base_image()


def has(reference: str) -> bool:
    """Whether buildah has this image."""
    return containers.has_image(reference)


def build_image(reference: str, containerfile: Path, context: Path, log: Path, base: str | None) -> None:
    """Build one image with buildah."""
    containers.build(reference, containerfile, context, log, {"BASE": base} if base else None)


def loaded() -> set[str]:
    """The references that the cluster's containerd has."""
    return node_images.loaded_images(_node())


def load(reference: str, log: Path) -> None:
    """Hand an image from buildah to the cluster's containerd."""
    with tempfile.TemporaryDirectory(prefix="proctor-image-") as folder:
        archive = Path(folder) / "image.tar"
        containers.save(reference, archive, log)
        node_images.import_archive(archive, _node(), log)


def kubectl(*arguments: str) -> list[str]:
    """A kubectl command on the local cluster."""
    return [str(bin_dir() / "kubectl"), "--kubeconfig", str(KUBECONFIG), *arguments]


def check_health(timeout: float = 60) -> str:
    """ClusterError unless API server, node and system pods are Ready within `timeout` seconds."""
    hint = (
        f"`python -m cluster status` shows what is not ready, {LOGS} has the logs; "
        "`python -m cluster down` and `up` start afresh in a minute"
    )
    wait_for(_answers, "the API server", timeout=timeout, hint=hint)
    wait_for(lambda: not _unready(), "the node and the system pods", timeout=timeout, hint=hint)
    return "all ready"


def _answers() -> bool:
    return output(kubectl("get", "--raw", "/readyz"), timeout=5) is not None


def _unready() -> list[str]:
    text = output(kubectl("get", "nodes,pods", "-n", "kube-system", "-l", "type!=kwok", "-o", "json"), timeout=10)
    if text is None:
        return ["the API server"]
    items = json.loads(text)["items"]
    names = [item["metadata"]["name"] for item in items]
    awaited = [f"no {part}" for part in ("coredns", "kube-proxy") if not any(name.startswith(part) for name in names)]
    return awaited + [item["metadata"]["name"] for item in items if not _is_ready(item)]


def _is_ready(item: dict[str, Any]) -> bool:
    conditions = item.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _build_steps() -> list[Step]:
    return [
        ("Debian packages", lambda: install_packages(cache_dir() / "log" / "packages.log")),
        ("build Kubernetes and etcd (5-8 min the first time)", lambda: build_group(GROUPS["kubernetes"])),
        ("build CoreDNS", lambda: build_group(GROUPS["coredns"])),
        ("base image", containers.build_base),
        ("control-plane images", node_images.build_node_images),
    ]


def _start_steps(shape: Shape) -> list[Step]:
    return [
        ("claim the machine, remove leftovers", lambda: _prepare(shape)),
        ("start the node's namespaces", lambda: machine.start_keeper(_keeper_spec(shape))),
        ("load the control-plane images", _load_node_images),
        ("kubeadm init", _kubeadm_init),
        ("wait for node and system pods", lambda: check_health(timeout=180)),
    ]


def _fake_steps(fake: int, stages: Path | None) -> list[Step]:
    if not fake:
        return []
    return [
        ("build kwok (2 min the first time)", lambda: build_group(GROUPS["kwok"])),
        (f"{fake} fake node(s)", lambda: fake_nodes.start(fake, kubectl(), stages or fake_nodes.STAGES)),
    ]


def _need_root() -> None:
    if os.geteuid() != 0:
        raise ClusterError(
            "The local cluster makes namespaces and mounts, which takes root. Run it with sudo, or set CLUSTER=kind "
            "(Docker) or CLUSTER=current (a cluster you have)."
        )
    if sys.platform != "linux":
        raise ClusterError("The local cluster needs Linux. Set CLUSTER=kind or CLUSTER=current.")


def _shape_key(shape: Shape) -> str:
    return text_key(repr(shape), KUBERNETES_VERSION)


def _check_same(shape: Shape) -> None:
    if (STATE / "shape").read_text() != _shape_key(shape):
        raise ClusterError(
            "The running cluster was made from another kind-config.yaml or Kubernetes version. "
            "Run `python -m cluster down`, then `up`."
        )


def _prepare(shape: Shape) -> None:
    machine.stop_keeper()  # One that never got as far as a kubeconfig is not worth mending.
    for port in shape.ports:
        check_free(port)
    machine.claim()
    files = {f"etc/{name}": text for name, text in kubeadm.etc_files(shape).items()}
    files |= {f"services/{name}.json": json.dumps(spec) for name, spec in kubeadm.services(str(bin_dir())).items()}
    files |= {f"kubeadm-patches/{name}": text for name, text in kubeadm.kubeadm_patches().items()}
    files["kubeadm.yaml"] = kubeadm.kubeadm_config(shape, str(STATE / "kubeadm-patches"))
    files["shape"] = _shape_key(shape)
    for name, text in files.items():
        path = STATE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    LOGS.mkdir()


def check_free(port: PortMapping) -> None:
    """ClusterError when another program listens where this mapping wants to."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((port.listen, port.host_port))
        except OSError as error:
            raise ClusterError(
                f"{port.listen}:{port.host_port} cannot be listened on ({error.strerror}). End the program that has it "
                "(`ss -ltnp` shows which), or choose another hostPort in kind-config.yaml."
            ) from None


def _keeper_spec(shape: Shape) -> dict[str, Any]:
    return {
        "host_link": HOST_LINK,
        "host_address": HOST_ADDRESS,
        "node_address": NODE_ADDRESS,
        "prefix": LINK_PREFIX,
        "node_name": shape.node_name,
        "service_subnet": shape.service_subnet,
        "ports": [vars(port) for port in shape.ports],
    }


def _load_node_images() -> str:
    node = _node()
    wait_for(
        Path(f"/proc/{node}/root{kubeadm.CRI_SOCKET}").exists,
        "containerd",
        timeout=30,
        hint=f"read {LOGS}/containerd.log",
    )
    for name in kubeadm.IMAGES:
        node_images.import_archive(node_images.archive(name), node, LOGS / "images.log")
    return f"{len(kubeadm.IMAGES)} images"


def _kubeadm_init() -> None:
    command = [str(bin_dir() / "kubeadm"), "init", "--config", str(STATE / "kubeadm.yaml"), "--skip-phases=preflight"]
    run(
        machine.inside(command),
        log=LOGS / "kubeadm.log",
        timeout=300,
        hint=f"read {LOGS}/kubelet.log and {LOGS}/containerd.log; then `python -m cluster down` and `up`",
    )
    _write_kubeconfig(STATE / "etc" / "kubernetes" / "admin.conf")


def _write_kubeconfig(admin: Path) -> None:
    """Copy kubeadm's administrator file with the one context named as we promise it."""
    config = yaml.safe_load(admin.read_text())
    config["contexts"] = [{"name": CONTEXT, "context": config["contexts"][0]["context"]}]
    config["current-context"] = CONTEXT
    KUBECONFIG.touch(mode=0o600)
    KUBECONFIG.write_text(yaml.safe_dump(config))


def _node() -> int:
    keeper = machine.running_keeper()
    if keeper is None:
        raise ClusterError("The local cluster is not running. Start it with `python -m cluster up`.")
    return int(keeper["node"])
