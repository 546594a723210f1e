"""PID 1 of the cluster's namespaces: its own view of the machine, then the node's services.

Inside, /etc is an overlay and /run, /var/lib and /var/log are the cluster's own, so kubelet and containerd use their
standard paths without touching the host's. Services are files in STATE/services/NAME.json ({"argv": [...], "needs":
[paths]}); each starts when what it needs exists and starts again when it ends or its file changes.
Standard library only. Started by cluster.keeper; not for people.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CGROUPS = Path("/sys/fs/cgroup")
CGROUP = "proctor"
RESTART_SECONDS = 1.0
# Paths that kubelet, kubeadm, containerd and the CNI plugins insist on: kept in STATE, on a real file system, because
# an overlay (containerd's snapshots) does not stack on a tmpfs or on another overlay.
BOUND = ("containerd", "kubelet", "etcd", "cni")


def mount_view(state: Path) -> None:
    """Lay the cluster's own /etc, /run, /var/lib and /var/log over the host's, in this mount namespace only."""
    do = _mount
    do("--make-rprivate", "/")
    do("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    inside = Path("/run/proctor-state")
    _mkdir(inside, "/run/lock", "/run/netns")
    do("--bind", str(state), str(inside))
    do("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/var/lib")
    for name in BOUND:
        _mkdir(inside / name, f"/var/lib/{name}")
        do("--bind", str(inside / name), f"/var/lib/{name}")
    _mkdir(inside / "log", state)
    do("--bind", str(inside), str(state))
    do("--bind", str(inside / "log"), "/var/log")
    _mkdir(inside / "etc", inside / "etc.work")
    layers = f"lowerdir=/etc,upperdir={inside / 'etc'},workdir={inside / 'etc.work'}"
    do("-t", "overlay", "-o", layers, "overlay", "/etc")
    # kubelet propagates mounts between pods; only within this namespace.
    do("--make-rshared", "/")


def make_cgroups(root: Path = CGROUPS) -> None:
    """Create our cgroup in every hierarchy, ready to take children (cgroup v1 and v2)."""
    if (root / "cgroup.controllers").exists():
        wanted = " ".join(f"+{name}" for name in (root / "cgroup.controllers").read_text().split())
        (root / CGROUP).mkdir(exist_ok=True)
        for folder in (root, root / CGROUP):
            (folder / "cgroup.subtree_control").write_text(wanted)
        return
    for hierarchy in (path for path in root.iterdir() if (path / "cgroup.procs").exists()):
        group = hierarchy / CGROUP
        group.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):  # A new v1 cpuset is empty and would take no process.
            if (group / name).exists() and not (group / name).read_text().strip():
                (group / name).write_text((hierarchy / name).read_text())


def configure_network(spec: dict[str, Any]) -> None:
    """Address and routes for the node's end of the veth pair. No default route: nothing inside reaches beyond it."""
    deadline = time.monotonic() + 15
    while _run(["ip", "link", "show", "eth0"], check=False) != 0:
        if time.monotonic() > deadline:
            raise RuntimeError("the host's end of the veth pair did not come within 15 s")
        time.sleep(0.05)
    _run(["ip", "link", "set", "lo", "up"])
    _run(["ip", "address", "add", f"{spec['node_address']}/{spec['prefix']}", "dev", "eth0"])
    _run(["ip", "link", "set", "eth0", "up"])
    # A packet to a Service needs a route before kube-proxy's DNAT gets to see it.
    _run(["ip", "route", "add", spec["service_subnet"], "dev", "eth0"])
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    # The host may open connections to NodePorts; pods may not open any to the host.
    for rule in (
        "add table inet proctor_edge",
        "add chain inet proctor_edge forward { type filter hook forward priority 0; policy accept; }",
        'add rule inet proctor_edge forward oifname "eth0" ct state new reject',
    ):
        _run(["nft", rule])


class Services:
    """The processes this PID 1 keeps alive, and the orphans it reaps."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self._folder = folder
        self._logs = logs
        self._running: dict[int, str] = {}
        self._started_with: dict[str, str] = {}
        self._not_before: dict[str, float] = {}

    def start_missing(self) -> None:
        """Start every service that is due and has what it needs; end one whose file has changed, to start it anew."""
        for path in sorted(self._folder.glob("*.json")):
            name, text = path.stem, path.read_text()
            running = next((pid for pid, service in self._running.items() if service == name), None)
            if running is not None:
                if self._started_with[name] != text:
                    self._started_with[name] = text
                    os.kill(running, signal.SIGTERM)
                continue
            spec = json.loads(text)
            due = time.monotonic() >= self._not_before.get(name, 0.0)
            if not due or not all(Path(need).exists() for need in spec["needs"]):
                continue
            log = os.open(self._logs / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            argv = spec["argv"]
            pid = os.posix_spawnp(
                argv[0],
                argv,
                {**os.environ, **spec.get("env", {})},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                ],
                setsigmask=[],
                setsid=True,
            )
            os.close(log)
            self._running[pid] = name
            self._started_with[name] = text
            print(f"node: started {name} as {pid}", flush=True)

    def reap(self) -> None:
        """Collect every child that has ended, ours or adopted."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            name = self._running.pop(pid, None)
            if name is not None:
                self._not_before[name] = time.monotonic() + RESTART_SECONDS
                print(f"node: {name} ended with {os.waitstatus_to_exitcode(status)}", flush=True)


def main(state: Path) -> int:
    """Set up the namespaces and keep the services until SIGTERM; then leave, and the kernel ends the rest."""
    awaited = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    spec = json.loads((state / "keeper-spec.json").read_text())
    socket.sethostname(spec["node_name"])
    mount_view(state)
    make_cgroups()
    configure_network(spec)
    services = Services(state / "services", state / "log")
    (state / "node-ready").touch()
    while True:
        services.start_missing()
        event = signal.sigtimedwait(awaited, 0.3)
        services.reap()
        if event is not None and event.si_signo != signal.SIGCHLD:
            print("node: asked to stop", flush=True)
            return 0


def _mkdir(*paths: Path | str) -> None:
    for path in paths:
        Path(path).mkdir(parents=True, exist_ok=True)


def _mount(*arguments: str) -> None:
    _run(["mount", *arguments])


def _run(argv: list[str], *, check: bool = True) -> int:
    quiet = None if check else subprocess.DEVNULL
    return subprocess.run(argv, check=check, timeout=10, stdout=quiet, stderr=quiet).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
