"""The cluster where there is Docker: `kind` with the same kind-config.yaml, images built by docker."""

from __future__ import annotations

import shutil
from pathlib import Path

from cluster.progress import ClusterError, output, run, run_steps
from cluster.settings import ROOT, cache_dir, read_shape

_CONFIG = ROOT / "kind-config.yaml"


def up(fake: int, stages: Path | None) -> None:
    """Create the kind cluster unless it is there, and check that it answers."""
    if fake or stages:
        raise ClusterError("Fake nodes come with CLUSTER=local only; run the benchmark there.")
    name, log = read_shape().name, cache_dir() / "log" / "kind.log"
    create: list[str | Path] = [_tool("kind"), "create", "cluster", "--config", _CONFIG, "--wait", "180s"]
    create += ["--kubeconfig", _kubeconfig()]
    if _exists(name):
        run_steps([("health of the running cluster", _check)])
    else:
        hint = f"`docker info` must work; `kind delete cluster --name {name}` removes a half-made cluster"
        run_steps([("kind create cluster", lambda: run(create, log=log, timeout=600, hint=hint)), ("health", _check)])


def down() -> None:
    """Delete the kind cluster."""
    name = read_shape().name
    log = cache_dir() / "log" / "kind.log"
    command = [_tool("kind"), "delete", "cluster", "--name", name, "--kubeconfig", str(_kubeconfig())]
    hint = "is the Docker engine running?"
    run_steps([("kind delete cluster", lambda: run(command, log=log, timeout=120, hint=hint))])
    _kubeconfig().unlink(missing_ok=True)


def status() -> bool:
    """Print nodes and pods. True when the API server answers."""
    if not _exists(read_shape().name):
        print("The kind cluster is not running.")
        return False
    text = output([_tool("kubectl"), "--kubeconfig", _kubeconfig(), "get", "nodes,pods", "-A"])
    print(text or "The API server does not answer.")
    return text is not None


def kubeconfig() -> Path:
    """The kind cluster's kubeconfig; ClusterError when there is no such cluster."""
    if not _exists(read_shape().name):
        raise ClusterError("The kind cluster is not running. Start it with `python -m cluster up`.")
    return _kubeconfig()


def tools() -> Path:
    """The folder of the kubectl on PATH."""
    return Path(_tool("kubectl")).parent


def build() -> None:
    """Check that the tools are there; with Docker nothing is built."""
    for name in ("docker", "kind", "kubectl", "helm"):
        print(f"{name}: {_tool(name)}")


def base() -> None:
    """Containerfiles keep their default base: Docker can pull it."""


def has(reference: str) -> bool:
    """Whether docker has this image."""
    return output([_tool("docker"), "image", "inspect", reference]) is not None


def build_image(reference: str, containerfile: Path, context: Path, log: Path, base: str | None) -> None:
    """Build one image with docker."""
    argv = [_tool("docker"), "build", "--tag", reference, "--file", str(containerfile), str(context)]
    run(argv, log=log, timeout=1800, hint="the first error in the log names the step of the Containerfile that failed")


def loaded() -> set[str]:
    """Nothing is known to be loaded: `kind load` itself skips what its node has."""
    kubeconfig()
    return set()


def load(reference: str, log: Path) -> None:
    """Hand an image from docker to the kind node."""
    argv = [_tool("kind"), "load", "docker-image", reference, "--name", read_shape().name]
    run(argv, log=log, timeout=300, hint="`kind get nodes` must list the node")


def _check() -> str:
    if output([_tool("kubectl"), "--kubeconfig", _kubeconfig(), "get", "--raw", "/readyz"]) is None:
        raise ClusterError("The kind cluster does not answer. Run `python -m cluster down`, then `up`.")
    return "ready"


def _exists(name: str) -> bool:
    return name in (output([_tool("kind"), "get", "clusters"]) or "").split()


def _kubeconfig() -> Path:
    return cache_dir() / "kind.kubeconfig"


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise ClusterError(f"CLUSTER=kind needs `{name}` on PATH. Install it, or set CLUSTER=local.")
    return path
