"""The one process on the host that the whole cluster hangs on.

It starts the node in namespaces of its own, joins it to the host with a veth pair and forwards the mapped ports. The
chain keeper -> unshare -> node is tied by parent-death signals and the node is PID 1 of its namespace: when any of them
ends, however it ends, the kernel ends every cluster process and takes mounts, network and veth pair with them.
Standard library only, so that it runs from any interpreter. Started by `python -m cluster up`; not for people.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

STOP_SECONDS = 20.0


def process_identity(pid: int) -> str | None:
    """What tells this process from a later one with the same pid: boot id and start tick. None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


async def keep(state: Path) -> int:
    """Run the node until it ends or SIGTERM comes; returns the exit code."""
    spec = json.loads((state / "keeper-spec.json").read_text())
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    unshare = await asyncio.create_subprocess_exec(
        "setpriv", "--pdeathsig", "KILL",
        "unshare", "--mount", "--net", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc",
        "--propagation", "private",
        sys.executable, "-m", "cluster.node", str(state),
    )  # fmt: skip
    node = await _only_child(unshare.pid)
    _join(spec["host_link"], spec["host_address"], spec["prefix"], node)
    servers = [await forward(mapping, spec["node_address"]) for mapping in spec["ports"]]
    own = os.getpid()
    record = {"pid": own, "identity": process_identity(own), "node": node, "node_identity": process_identity(node)}
    _write(state / "keeper.json", record)
    ended = asyncio.create_task(unshare.wait())
    await asyncio.wait({ended, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
    for server in servers:
        server.close()
    if ended.done():
        print(f"keeper: the node ended by itself with code {ended.result()}", flush=True)
        return 1
    os.kill(node, signal.SIGTERM)
    try:
        await asyncio.wait_for(asyncio.shield(ended), STOP_SECONDS)
    except TimeoutError:
        unshare.kill()
        await ended
    return 0


async def _only_child(pid: int) -> int:
    """The process that `unshare` forked, once it is there."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    for _ in range(200):
        found = children.read_text().split()  # noqa: ASYNC240 - a read of /proc does not block
        if found:
            return int(found[0])
        await asyncio.sleep(0.05)
    raise RuntimeError("unshare started no child within 10 s")


def _join(link: str, address: str, prefix: int, node: int) -> None:
    for argv in (
        ["ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(node)],
        ["ip", "address", "add", f"{address}/{prefix}", "dev", link],
        ["ip", "link", "set", link, "up"],
    ):
        subprocess.run(argv, check=True, timeout=10)


async def forward(mapping: dict[str, Any], node_address: str) -> asyncio.Server:
    """Listen on the host and carry each connection to the node's port."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.wait_for(
                asyncio.open_connection(node_address, mapping["node_port"]), timeout=10
            )
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        for end in (writer, far_writer):
            end.close()

    return await asyncio.start_server(carry, mapping["listen"], mapping["host_port"])


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction, then pass the end of the stream on and leave the other direction open."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()  # The peer is gone: the other direction ends with it.


def _write(path: Path, document: dict[str, Any]) -> None:
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(document))
    scratch.rename(path)


if __name__ == "__main__":
    sys.exit(asyncio.run(keep(Path(sys.argv[1]))))
