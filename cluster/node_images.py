"""The images of the control plane: our own binaries, one to an image, under the names that kubeadm expects."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from cluster import containers
from cluster.kubeadm import IMAGES
from cluster.progress import output, run
from cluster.settings import cache_dir
from cluster.tools import GROUPS, files_key, group_dir, text_key

_CATATONIT = Path("/usr/bin/catatonit")
_IPTABLES = "apt-get update && apt-get install -y --no-install-recommends iptables conntrack ipset"


def recipe(name: str) -> tuple[str, Path]:
    """The Containerfile of one node image and the binary that goes into it."""
    if name == "pause":  # catatonit -P waits for ever and reaps, which is all that a pause container does.
        return 'FROM scratch\nCOPY catatonit /pause\nENTRYPOINT ["/pause", "-P"]\n', _CATATONIT
    if name == "coredns":
        text = 'FROM scratch\nENV PATH=/\nCOPY coredns /coredns\nENTRYPOINT ["/coredns"]\n'
        return text, group_dir(GROUPS["coredns"]) / "coredns"
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    text = f"FROM scratch\nENV PATH={path}\n"
    if name == "kube-proxy":  # it calls iptables
        text = f"FROM {containers.base_image()}\nRUN {_IPTABLES}\n"
    return f"{text}COPY {name} /usr/local/bin/{name}\n", group_dir(GROUPS["kubernetes"]) / name


def archive(name: str) -> Path:
    """Where the docker archive of a node image is cached."""
    text, binary = recipe(name)
    # A tool's folder is named by its content's hash; the Debian binary is told apart by itself.
    origin = files_key(binary.parent, [binary]) if binary == _CATATONIT else str(binary)
    return cache_dir() / "images" / f"{name}-{text_key(text, IMAGES[name], origin)}.tar"


def build_node_images() -> str:
    """Build what the cache lacks; each image becomes one docker archive there."""
    missing = [name for name in IMAGES if not archive(name).exists()]
    for name in missing:
        text, binary = recipe(name)
        log = cache_dir() / "log" / f"image-{name}.log"
        target = archive(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as context:
            shutil.copy(binary, Path(context) / binary.name)
            (Path(context) / "Containerfile").write_text(text)
            containers.build(IMAGES[name], Path(context) / "Containerfile", Path(context), log)
            containers.save(IMAGES[name], target, log)
    return f"built {len(missing)}" if missing else "cached"


def import_archive(path: Path, node: int, log: Path) -> None:
    """Load a docker archive into the containerd of the node with that host pid."""
    run(
        [*_ctr(node), "images", "import", path],
        log=log,
        timeout=300,
        hint="containerd's own log is in the state folder's log/containerd.log",
    )


def loaded_images(node: int) -> set[str]:
    """The references that the node's containerd has for Kubernetes."""
    return set((output([*_ctr(node), "images", "list", "-q"], timeout=60) or "").split())


def _ctr(node: int) -> list[str]:
    # The socket is in the node's private /run; the kernel shows it to the host under the node's root.
    return ["ctr", "--address", f"/proc/{node}/root/run/containerd/containerd.sock", "--namespace", "k8s.io"]
