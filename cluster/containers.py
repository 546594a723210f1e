"""Building container images with buildah, without a daemon and without a registry.

buildah keeps its storage in the per-user cache, runs build steps in a chroot (no user namespaces needed) and hands
images over as docker archives, which containerd imports.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cluster.progress import output, run
from cluster.settings import ROOT, cache_dir
from cluster.tools import files_below, files_key

_HINT = "the first error in the log above names the Containerfile step that failed"
# Debian's documentation and translations are a third of a minimal system and of no use in a container.
_LEAN = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


def buildah(*arguments: str | Path) -> list[str]:
    """A buildah command on our own storage."""
    folders = ["--root", str(cache_dir() / "buildah"), "--runroot", str(cache_dir() / "buildah-run")]
    return ["nice", "buildah", *folders, "--storage-driver", "overlay", *(str(word) for word in arguments)]


def has_image(reference: str) -> bool:
    """Whether our storage has this image."""
    return output(buildah("inspect", "--type", "image", "--format", "{{.FromImageID}}", reference)) is not None


def build(
    reference: str, containerfile: Path, context: Path, log: Path, build_args: Mapping[str, str] | None = None
) -> None:
    """Build `reference` from a Containerfile. pip in a build step shares the user's wheel cache and the host's CAs."""
    pip_cache = cache_dir() / "pip"
    pip_cache.mkdir(parents=True, exist_ok=True)
    mounts = [f"{pip_cache}:/root/.cache/pip"]
    for path in ("/etc/ssl/certs", "/etc/pip.conf"):
        if Path(path).exists():
            mounts.append(f"{path}:{path}:ro")
    arguments = ["--isolation", "chroot", "--layers", *(word for mount in mounts for word in ("--volume", mount))]
    arguments += [word for name, value in (build_args or {}).items() for word in ("--build-arg", f"{name}={value}")]
    command = buildah("build", *arguments, "--tag", reference, "--file", containerfile, context)
    run(command, log=log, timeout=1800, hint=_HINT)


def save(reference: str, archive: Path, log: Path) -> None:
    """Write an image as a docker archive; the file appears whole or not at all."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    scratch = archive.with_name(f".{archive.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    try:
        run(buildah("push", reference, f"docker-archive:{scratch}:{reference}"), log=log, timeout=300, hint=_HINT)
        scratch.rename(archive)
    finally:
        scratch.unlink(missing_ok=True)


def base_image() -> str:
    """The name of our base image; its tag follows from images/base and the machine's apt sources."""
    folder = ROOT / "images" / "base"
    key = files_key(folder, files_below(folder), *(path.read_text() for path in _apt_sources()))
    return f"localhost/proctor-base:{key}"


def build_base() -> str:
    """Make the base image unless it is there."""
    reference = base_image()
    if has_image(reference):
        return "cached"
    folder = ROOT / "images" / "base"
    packages = (folder / "packages").read_text().split()
    log = cache_dir() / "log" / "image-base.log"
    with tempfile.TemporaryDirectory(dir=_scratch(), prefix="base-") as context:
        archive = Path(context) / "base.tar"
        lean = [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEAN]
        command = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(packages)}", *lean]
        run(
            ["nice", *command, "bookworm", archive, *_apt_sources()],
            log=log,
            timeout=900,
            hint="it uses this machine's apt sources: `apt-get update` must work here",
        )
        shutil.copy(folder / "Containerfile", context)
        build(reference, Path(context) / "Containerfile", Path(context), log)
    return "built"


def _apt_sources() -> list[Path]:
    """Debian's own sources only: a machine may list others that a small image has no use for."""
    candidates = [Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")]
    return [path for path in candidates if path.is_file()]


def _scratch() -> Path:
    folder = cache_dir() / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
