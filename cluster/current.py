"""Whatever kubectl points at (CLUSTER=current): looked at, never changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

from cluster.progress import ClusterError, output


def up(fake: int, stages: Path | None) -> None:
    """Check that the current context answers. ClusterError when it does not, or when fake nodes are asked for."""
    if fake or stages:
        raise ClusterError("CLUSTER=current changes nothing in the cluster: no fake nodes. Use CLUSTER=local.")
    print(f"CLUSTER=current: using context {_context()}, which answers. Nothing was started.")


def down() -> None:
    """Leave the cluster as it is."""
    print("CLUSTER=current: the cluster is not ours and stays as it is.")


def status() -> bool:
    """Print the nodes of the current context. True when it answers."""
    print(f"context {_context()}")
    print(output([_kubectl(), "get", "nodes", "-o", "wide"]) or "")
    return True


def kubeconfig() -> Path:
    """The first file of KUBECONFIG, or kubectl's default."""
    return Path(os.environ.get("KUBECONFIG", "").split(os.pathsep)[0] or Path.home() / ".kube" / "config")


def tools() -> Path:
    """The folder of the kubectl on PATH."""
    return Path(_kubectl()).parent


def build() -> None:
    """Check that kubectl is there; nothing is built."""
    print(f"kubectl: {_kubectl()}")


def base() -> NoReturn:
    """Refuse: there is no place of ours to load an image into."""
    _refuse_images()


def has(reference: str) -> bool:
    """Refuse, as `base` does."""
    _refuse_images()


def build_image(reference: str, containerfile: Path, context: Path, log: Path, base: str | None) -> None:
    """Refuse, as `base` does."""
    _refuse_images()


def loaded() -> set[str]:
    """Refuse, as `base` does."""
    _refuse_images()


def load(reference: str, log: Path) -> None:
    """Refuse, as `base` does."""
    _refuse_images()


def _refuse_images() -> NoReturn:
    raise ClusterError(
        "CLUSTER=current cannot load images. Build images/NAME/Containerfile from the repo root, push the images to a "
        "registry that the cluster pulls from, and name them in build/images.yaml (images: {NAME: reference})."
    )


def _context() -> str:
    context = output([_kubectl(), "config", "current-context"])
    if context is None:
        raise ClusterError("kubectl has no current context. Set KUBECONFIG, or unset CLUSTER to make a cluster.")
    if output([_kubectl(), "get", "--raw", "/readyz"]) is None:
        raise ClusterError(f"Context {context.strip()} does not answer. `kubectl get --raw /readyz` says why.")
    return context.strip()


def _kubectl() -> str:
    path = shutil.which("kubectl")
    if path is None:
        raise ClusterError("CLUSTER=current needs `kubectl` on PATH.")
    return path
