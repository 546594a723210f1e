"""The tools built from Go modules: Kubernetes, etcd, CoreDNS, Helm, kwok, Jaeger, Chaos Mesh.

Each folder in cluster/tools/ is a Go module with a committed go.mod and go.sum, so a build is reproducible and needs no
release download. Results are kept per user under a hash of the folder and the Go version: any checkout reuses them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.progress import ClusterError, output, run
from cluster.settings import KUBERNETES_VERSION, cache_dir

TOOLS = Path(__file__).resolve().parent / "tools"
_VERSION_PACKAGE = "k8s.io/component-base/version"
_MAJOR, _MINOR = KUBERNETES_VERSION.removeprefix("v").split(".")[:2]


@dataclass(frozen=True)
class Group:
    """One Go module in cluster/tools/: `binaries` maps a name to the package it is built from.

    `cgo` is for programs that do not build without a C compiler.
    """

    name: str
    binaries: dict[str, str]
    stamps: dict[str, str]
    cgo: bool = False


GROUPS = {
    group.name: group
    for group in (
        Group(
            "kubernetes",
            {
                **{
                    name: f"k8s.io/kubernetes/cmd/{name}"
                    for name in (
                        "kube-apiserver",
                        "kube-controller-manager",
                        "kube-scheduler",
                        "kube-proxy",
                        "kubelet",
                        "kubectl",
                        "kubeadm",
                    )
                },
                "etcd": "go.etcd.io/etcd/server/v3",
            },
            {
                f"{_VERSION_PACKAGE}.gitVersion": KUBERNETES_VERSION,
                f"{_VERSION_PACKAGE}.gitMajor": _MAJOR,
                f"{_VERSION_PACKAGE}.gitMinor": _MINOR,
                f"{_VERSION_PACKAGE}.gitTreeState": "clean",
            },
        ),
        Group("coredns", {"coredns": "."}, {}),
        Group("helm", {"helm": "helm.sh/helm/v4/cmd/helm"}, {"helm.sh/helm/v4/internal/version.version": "v4.3.1"}),
        Group("kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, {"sigs.k8s.io/kwok/pkg/consts.Version": "v0.8.0"}),
        Group(
            "jaeger",
            {"jaeger": "github.com/jaegertracing/jaeger/cmd/jaeger"},
            {"github.com/jaegertracing/jaeger/internal/version.latestVersion": "v1.76.0"},
        ),
        Group(
            "chaosmesh",
            {
                name: f"github.com/chaos-mesh/chaos-mesh/cmd/{name}"
                for name in ("chaos-controller-manager", "chaos-daemon")
            },
            {},
            cgo=True,
        ),
    )
}


def go_version() -> str:
    """What `go version` prints; ClusterError when Go is not there."""
    text = output(["go", "version"])
    if text is None:
        raise ClusterError(
            f"Go is needed to build the cluster's tools and is not on PATH. Install Go {required_go()} or newer."
        )
    return text.strip()


def required_go() -> str:
    """The newest Go version that any of our go.mod files asks for, like 1.26.0."""
    versions = [
        match.group(1)
        for name in GROUPS
        if (match := re.search(r"^go (\S+)$", (TOOLS / name / "go.mod").read_text(), re.MULTILINE))
    ]
    return max(versions, key=_numbers)


def check_go() -> None:
    """ClusterError when the machine's Go is older than our modules ask for."""
    text = go_version()
    found = re.search(r"go(\d[\d.]*)", text)
    if found is None or _numbers(found.group(1)) < _numbers(required_go()):
        raise ClusterError(f"Go {required_go()} or newer is needed; this machine has `{text}`. Install a newer Go.")


def text_key(*texts: str) -> str:
    """12 hex digits that change with any of `texts` or their order."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:12]


def files_key(root: Path, files: Iterable[Path], *extra: str) -> str:
    """12 hex digits that change with the name below `root` or the content of any file, or with any of `extra`."""
    contents = [
        f"{path.relative_to(root).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in sorted(files)
    ]
    return text_key(*contents, *extra)


def files_below(folder: Path) -> list[Path]:
    """Every file under `folder` that could matter to a build."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def group_dir(group: Group) -> Path:
    """Where this group's binaries are, or will be once built."""
    folder = TOOLS / group.name
    origin = (go_version(), json.dumps(group.stamps), json.dumps(group.binaries), *(["cgo"] if group.cgo else []))
    key = files_key(folder, files_below(folder), *origin)
    return cache_dir() / "tools" / f"{group.name}-{key}"


def build_group(group: Group) -> str:
    """Build one group unless the cache has it. The folder appears whole or not at all."""
    target = group_dir(group)
    if target.is_dir():
        return "cached"
    check_go()
    target.parent.mkdir(parents=True, exist_ok=True)
    log = cache_dir() / "log" / f"build-{group.name}.log"
    env = {"CGO_ENABLED": "1" if group.cgo else "0", "GOFLAGS": "", "GOWORK": "off"}
    ldflags = ["-s", "-w", *(f"-X {name}={value}" for name, value in group.stamps.items())]
    if group.cgo:
        if shutil.which("gcc") is None:
            raise ClusterError(f"{group.name} needs a C compiler. On Debian: apt-get install gcc libc6-dev")
        # Static, as all the others are: they run on any base image, whatever this machine's C library is.
        ldflags += ["-linkmode=external", "-extldflags=-static"]
    flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", f"-ldflags={' '.join(ldflags)}"]
    flags += ["-tags=netgo,osusergo"] if group.cgo else []
    # One process may use every core; nice leaves the machine usable meanwhile.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{group.name}-") as scratch:
        for name, package in group.binaries.items():
            run(
                ["nice", "go", "build", *flags, "-o", Path(scratch) / "bin" / name, package],
                cwd=TOOLS / group.name,
                log=log,
                timeout=1800,
                env=env,
                hint="a module that cannot be downloaded is the usual cause: check `go env GOPROXY`, then try again",
            )
        try:
            os.rename(Path(scratch) / "bin", target)
        except OSError:
            if not target.is_dir():  # Another checkout may have finished the same build first.
                raise
    return f"built {len(group.binaries)}"


def bin_dir(names: Sequence[str] = tuple(GROUPS)) -> Path:
    """One folder with a link to every binary that is built; its name follows from their hashes."""
    groups = [group_dir(GROUPS[name]) for name in names if group_dir(GROUPS[name]).is_dir()]
    key = text_key(*(path.name for path in groups))
    folder = cache_dir() / "bin" / key
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent))
        scratch.chmod(0o755)
        for binary in (binary for group in groups for binary in group.iterdir()):
            (scratch / binary.name).symlink_to(binary)
        try:
            scratch.rename(folder)
        except OSError:
            shutil.rmtree(scratch)
            if not folder.is_dir():
                raise
    return folder


def module_dir(group: Group, module: str) -> Path:
    """Where Go keeps the source of a module that `group` requires."""
    text = output(
        ["go", "-C", TOOLS / group.name, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module], timeout=120
    )
    if not text or not text.strip():
        raise ClusterError(f"Go does not know where module {module} is. Run `python -m cluster build` and try again.")
    return Path(text.strip())


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
