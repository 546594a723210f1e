"""The Debian packages the cluster needs, installed when we may and named exactly when we may not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from cluster.progress import ClusterError, output, run

PACKAGES = (
    "buildah",
    "catatonit",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "ethtool",
    "iproute2",
    "iptables",
    "mmdebstrap",
    "nftables",
    "runc",
    "socat",
    "util-linux",
)


def missing_packages() -> list[str]:
    """The packages of ours that dpkg does not have installed, by name."""
    listed = output(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"]) or ""
    installed = {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")}
    return [name for name in PACKAGES if name not in installed]


def install_packages(log: Path) -> str:
    """Install what is missing with apt-get; ClusterError with the exact command when that is not ours to do."""
    missing = missing_packages()
    if not missing:
        return "present"
    command = f"apt-get install --no-install-recommends {' '.join(missing)}"
    if shutil.which("apt-get") is None:
        raise ClusterError(f"This machine lacks {', '.join(missing)} and has no apt-get. Install them, then try again.")
    if os.geteuid() != 0:
        raise ClusterError(f"Packages are missing. Run as root: {command}")
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    hint = f"run `apt-get update && {command}` by hand and read what it says"
    run(["apt-get", "update", "-q"], log=log, timeout=300, env=env, hint=hint)
    install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing]
    run(install, log=log, timeout=600, env=env, hint=hint)
    return f"installed {len(missing)}"
