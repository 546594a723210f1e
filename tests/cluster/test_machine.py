"""What is ours is removed, what is not ours is refused, and a hard stop is survived."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cluster.__main__ import choose_engine, main
from cluster.keeper import forward, process_identity
from cluster.progress import ClusterError, CommandFailed, run, run_steps, wait_for
from cluster.settings import PortMapping

from cluster import current, local, machine, node, packages


@pytest.fixture
def cgroups(tmp_path: Path) -> Path:
    """A folder in the shape of cgroup v1 with what a stopped cluster leaves."""
    root = tmp_path / "cgroup"
    for hierarchy in ("cpu", "memory"):
        (root / hierarchy / "proctor" / "kubepods" / "pod1").mkdir(parents=True)
        (root / hierarchy / "other").mkdir()
    return root


def _stopped_state(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    (state / "kubelet").mkdir(parents=True)
    (state / machine.MARKER).touch()
    # The record of a process that was killed: its pid now belongs to someone else (us).
    record = {"pid": os.getpid(), "identity": "an earlier boot:1", "node": 1, "node_identity": "x"}
    (state / "keeper.json").write_text(json.dumps(record))
    return state


def test_leftovers_of_a_hard_stop_go_and_nothing_else(tmp_path: Path, cgroups: Path) -> None:
    state = _stopped_state(tmp_path)
    machine.remove_leftovers(state, cgroups)
    assert not state.exists()
    assert sorted(path.name for path in cgroups.glob("*/*")) == ["other", "other"]


def test_cleaning_twice_is_harmless(tmp_path: Path, cgroups: Path) -> None:
    state = _stopped_state(tmp_path)
    machine.remove_leftovers(state, cgroups)
    machine.remove_leftovers(state, cgroups)
    assert not state.exists()


def test_a_folder_without_our_marker_is_never_removed(tmp_path: Path, cgroups: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "precious").touch()
    with pytest.raises(ClusterError, match="was not made by us"):
        machine.remove_leftovers(state, cgroups)
    assert (state / "precious").exists()


def test_a_running_cluster_is_never_cleaned_away(tmp_path: Path, cgroups: Path) -> None:
    state = _stopped_state(tmp_path)
    own = os.getpid()
    (state / "keeper.json").write_text(json.dumps({"pid": own, "identity": process_identity(own), "node": own}))
    with pytest.raises(ClusterError, match="is running"):
        machine.remove_leftovers(state, cgroups)
    assert state.exists()


def test_a_foreign_link_means_another_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "HOST_LINK", "lo")
    monkeypatch.setattr(machine, "remove_leftovers", lambda state: None)
    with pytest.raises(ClusterError, match="another Proctor cluster runs"):
        machine.claim(tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_a_reused_pid_is_not_the_same_process() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        identity = process_identity(process.pid)
        assert identity is not None
        assert identity == process_identity(process.pid)
        assert identity != process_identity(os.getpid())
    finally:
        process.communicate(b"\n")
    assert process_identity(process.pid) is None


def _services_demo(tmp_path: Path, argv: list[str], script: str) -> tuple[str, str]:
    """Run `script` with a Services object `s`, in a process of its own as it reaps every child; (output, log)."""
    for name in ("services", "log"):
        (tmp_path / name).mkdir()
    spec = tmp_path / "services" / "demo.json"
    spec.write_text(json.dumps({"argv": argv, "needs": [str(tmp_path / "need")]}))
    program = (
        "import json, pathlib, time\n"
        "from cluster import node\n"
        "node.RESTART_SECONDS = 0.1\n"
        f"root = pathlib.Path({str(tmp_path)!r})\n"
        "s = node.Services(root / 'services', root / 'log')\n"
        "def turn(times):\n"
        "    for _ in range(times):\n"
        "        s.start_missing(); time.sleep(0.05); s.reap()\n"
    )
    command = [sys.executable, "-c", program + script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    log = tmp_path / "log" / "demo.log"
    return done.stdout, log.read_text() if log.exists() else ""


def test_a_service_waits_for_what_it_needs(tmp_path: Path) -> None:
    out, log = _services_demo(tmp_path, ["echo", "started"], "turn(4)\n")
    assert (out, log) == ("", "")


def test_a_service_that_ends_starts_again(tmp_path: Path) -> None:
    script = "(root / 'need').touch()\nturn(20)\n"
    out, log = _services_demo(tmp_path, ["sh", "-c", "echo started; exit 3"], script)
    assert log.count("started") >= 2
    assert "demo ended with 3" in out


def test_a_changed_service_file_starts_the_service_anew(tmp_path: Path) -> None:
    script = (
        "(root / 'need').touch()\nturn(4)\n"
        "(root / 'services' / 'demo.json').write_text(json.dumps({'argv': ['echo', 'second'], 'needs': []}))\n"
        "turn(8)\n"
    )
    out, log = _services_demo(tmp_path, ["sh", "-c", "echo first; exec sleep 60"], script)
    assert "demo ended with -15" in out
    assert log.splitlines()[:2] == ["first", "second"]


def test_a_new_cpuset_takes_its_parents_processors(tmp_path: Path) -> None:
    cpuset = tmp_path / "cpuset"
    (cpuset / "proctor").mkdir(parents=True)
    for name, value in {"cgroup.procs": "", "cpuset.cpus": "0-1\n", "cpuset.mems": "0\n"}.items():
        (cpuset / name).write_text(value)
    for name in ("cpuset.cpus", "cpuset.mems"):
        (cpuset / "proctor" / name).write_text("\n")
    node.make_cgroups(tmp_path)
    assert (cpuset / "proctor" / "cpuset.cpus").read_text() == "0-1\n"


def test_a_failed_command_shows_the_end_of_its_log_and_what_to_do(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(CommandFailed) as caught:
        run(["sh", "-c", "seq 100; exit 7"], log=log, timeout=10, hint="turn it off and on")
    text = str(caught.value)
    assert "exit code 7" in text
    assert "    100\n" in text
    assert "    81\n" in text
    assert "    80\n" not in text
    assert str(log) in text
    assert "turn it off and on" in text


def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(CommandFailed, match="did not end within"):
        run(["sleep", "60"], log=tmp_path / "log", timeout=0.2, hint="")
    assert time.monotonic() - start < 10


def test_waiting_ends(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="the moon, in vain"):
        wait_for(lambda: False, "the moon", timeout=0.1, hint="look up", every=0.01)


def test_steps_say_what_how_far_and_how_long(capsys: pytest.CaptureFixture[str]) -> None:
    run_steps([("one", lambda: None), ("two", lambda: "cached")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("[1/2] one ... done (")
    assert lines[1].startswith("[2/2] two ... cached (")


def test_missing_packages_are_named_when_they_may_not_be_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "output", lambda argv: "runc installed\n")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match=r"Run as root: apt-get install .*containerd") as caught:
        packages.install_packages(tmp_path / "log")
    assert " runc" not in str(caught.value)


def test_without_root_the_local_cluster_says_what_else_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match=r"takes root.*CLUSTER=kind"):
        local.up(0, None)


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ClusterError, match=rf"127\.0\.0\.1:{port} cannot be listened on"):
            local.check_free(PortMapping("127.0.0.1", port, 30080))


async def test_a_mapped_port_carries_both_directions_and_their_ends() -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())  # Answers only after the client's end of stream came through.
        writer.close()

    far = await asyncio.start_server(shout, "127.0.0.2", 0)
    far_port = far.sockets[0].getsockname()[1]
    near = await forward({"listen": "127.0.0.1", "host_port": 0, "node_port": far_port}, "127.0.0.2")
    async with far, near:
        reader, writer = await asyncio.open_connection(*near.sockets[0].getsockname())
        writer.write(b"hello")
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 5) == b"HELLO"
        writer.close()


def test_cluster_names_the_engine(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert choose_engine("current").down is current.down
    monkeypatch.setenv("CLUSTER", "minikube")
    assert main(["status"]) == 1
    assert "CLUSTER=minikube is none of local, kind, current" in capsys.readouterr().err


def test_the_current_cluster_is_never_changed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLUSTER", "current")
    assert main(["down"]) == 0
    assert "stays as it is" in capsys.readouterr().out
    monkeypatch.setattr("cluster.__main__.given", lambda names: True)
    assert main(["images"]) == 0
    assert "build/images.yaml" in capsys.readouterr().out
    monkeypatch.setattr("cluster.__main__.given", lambda names: False)
    assert main(["images"]) == 1
    assert "cannot load images" in capsys.readouterr().err
    assert main(["up", "--fake-nodes", "1"]) == 1
    assert "no fake nodes" in capsys.readouterr().err
