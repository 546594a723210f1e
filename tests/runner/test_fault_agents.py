"""The fault agents against real kernels: nftables, process namespaces, signals, and a scale that comes and goes."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest

from proctor.runner.chaos.netcut import table_of
from runner.chaospod import (
    MODULE,
    NET_ADMIN,
    UID,
    UNPRIVILEGED,
    ChaosPod,
    Command,
    Container,
    children,
    container,
    inside,
    make_pod,
    need,
    networks,
    state,
    until,
)
from runner.conftest import OPERATOR
from runner.scaleserver import ScaleServer

TABLE = table_of(UID)
COUNTING = "while :; do echo x >>{file}; sleep 0.02; done"
"""An application that makes a new process fifty times a second."""


@pytest.fixture
def pod(tmp_path: Path) -> ChaosPod:
    return make_pod(tmp_path / "pod")


# A cut of the network.


@pytest.fixture
def network(pod: ChaosPod) -> Iterator[str]:
    with networks("one") as made:
        pod.prefix = (*inside(made["one"]), *NET_ADMIN)
        yield made["one"]


def tables(network: str) -> list[str]:
    listed = subprocess.run(
        [*inside(network), "nft", "-j", "list", "tables"], check=True, capture_output=True, text=True
    ).stdout
    return [one["table"]["name"] for one in json.loads(listed)["nftables"] if "table" in one]


ECHO = """
import socket, sys, threading
server = socket.create_server(("127.0.0.1", 7000))
other = socket.create_server(("127.0.0.1", 7001))
def echo(connection):
    while data := connection.recv(9):
        connection.sendall(data)
def serve(server):
    while True:
        threading.Thread(target=echo, args=(server.accept()[0],), daemon=True).start()
threading.Thread(target=serve, args=(other,), daemon=True).start()
serve(server)
"""
CLIENT = """
import socket, sys, time
held = {port: socket.create_connection(("127.0.0.1", port)) for port in (7000, 7001)}
print("up", flush=True)
for line in sys.stdin:
    port, held_too = int(line.split()[0]), "held" in line
    try:
        connection = held[port] if held_too else socket.create_connection(("127.0.0.1", port), timeout=0.5)
        connection.settimeout(0.5)
        connection.sendall(b"x")
        print(connection.recv(9).decode(), flush=True)
    except OSError as error:
        print("lost", flush=True)
"""


@pytest.fixture
def ask(network: str) -> Iterator[Callable[[str], str]]:
    """Echo on two ports, and a client with a connection to each; ask `PORT` for a new one, `PORT held` for that."""
    server = subprocess.Popen([*inside(network), sys.executable, "-c", ECHO])
    client = None
    try:
        until(lambda: _listens(network, 7000))
        client = subprocess.Popen(
            [*inside(network), sys.executable, "-c", CLIENT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert client.stdin is not None
        assert client.stdout is not None
        stdin, stdout = client.stdin, client.stdout
        assert stdout.readline() == "up\n"

        def put(question: str) -> str:
            stdin.write(question + "\n")
            return stdout.readline().strip()

        yield put
    finally:
        for process in (client, server):
            if process is not None:
                process.kill()
                process.communicate()


def _listens(network: str, port: int) -> bool:
    command = ["ss", "-Hltn", f"sport = {port}"]
    return bool(subprocess.run([*inside(network), *command], check=True, capture_output=True).stdout)


def test_a_cut_freezes_its_port_both_ways_and_heals_in_the_kernel(
    pod: ChaosPod, network: str, ask: Callable[[str], str]
) -> None:
    assert [ask("7000"), ask("7000 held"), ask("7001 held")] == ["x", "x", "x"]
    before = time.time()
    left = pod.agent("cut", "--port", "7000", "--seconds", "3").end()
    after = time.time()
    assert left.code == 0, left.stderr
    deed = left.deed("cut")
    assert deed.complete
    assert not deed.error
    assert deed.injected_at is not None
    assert deed.deadline is not None
    assert before * 1000 - 1 <= deed.injected_at <= after * 1000
    assert 3000 <= deed.deadline - deed.injected_at < 3000 + (after - before) * 1000
    # Nothing of ours runs any more.
    assert [ask("7000"), ask("7000 held")] == ["lost", "lost"]
    assert [ask("7001"), ask("7001 held")] == ["x", "x"]
    time.sleep(max(0.0, deed.deadline / 1000 + 0.1 - time.time()))
    assert ask("7000") == "x"
    assert tables(network) == [TABLE], "the inert table stays"
    healed = pod.agent("uncut").end().deed("uncut")
    assert healed.complete
    assert healed.left == 0
    assert tables(network) == []


TICKING = """
import socket, sys, threading, time
server = socket.create_server(("127.0.0.1", 7000))
client = socket.create_connection(("127.0.0.1", 7000))
connection = server.accept()[0]
def tick():
    while True:
        connection.sendall(b"x")
        time.sleep(0.1)
threading.Thread(target=tick, daemon=True).start()
while client.recv(1):
    print(time.time_ns() // 1_000_000, flush=True)
"""


def test_a_cut_silences_a_server_that_speaks_unasked(pod: ChaosPod, network: str) -> None:
    """Without the rules for its own port it could speak until its window is full, here for a second."""
    ticking = subprocess.Popen([*inside(network), sys.executable, "-c", TICKING], stdout=subprocess.PIPE, text=True)
    watchdog = threading.Timer(15, ticking.kill)
    watchdog.start()
    try:
        assert ticking.stdout is not None
        heard = [int(ticking.stdout.readline())]
        deed = pod.agent("cut", "--port", "7000", "--seconds", "2").end().deed("cut")
        assert deed.injected_at is not None
        assert deed.deadline is not None
        while heard[-1] < deed.deadline + 50:
            heard.append(int(ticking.stdout.readline()))
    finally:
        watchdog.cancel()
        ticking.kill()
        ticking.communicate()
    silence, fell = max((later - earlier, earlier) for earlier, later in pairwise(heard))
    assert silence >= 1900
    assert deed.injected_at - 150 <= fell <= deed.injected_at + 400


def test_uncut_ends_a_cut_at_once_and_may_be_asked_again(
    pod: ChaosPod, network: str, ask: Callable[[str], str]
) -> None:
    assert pod.agent("cut", "--port", "7000", "--seconds", "600").end().code == 0
    assert ask("7000") == "lost"
    before = time.time_ns() // 1_000_000
    healed = pod.agent("uncut").end().deed("uncut")
    assert healed.left == 1
    assert healed.healed_at is not None
    assert healed.healed_at >= before
    assert ask("7000") == "x"
    again = pod.agent("uncut").end()
    assert again.code == 0
    assert again.deed("uncut").left == 0


def test_the_tables_of_others_are_left_alone(pod: ChaosPod, network: str) -> None:
    subprocess.run([*inside(network), "nft", "add", "table", "inet", "theirs"], check=True)
    subprocess.run([*inside(network), "nft", "add", "table", "ip", TABLE], check=True)
    assert pod.agent("cut", "--port", "80", "--seconds", "9").end().code == 0
    assert pod.agent("uncut").end().deed("uncut").left == 1
    assert sorted(tables(network)) == [TABLE, "theirs"]


def test_a_cut_is_injected_once(pod: ChaosPod, network: str) -> None:
    assert pod.agent("cut", "--port", "80", "--seconds", "0.2").end().code == 0
    time.sleep(0.3)
    again = pod.agent("cut", "--port", "80", "--seconds", "600").end()
    assert again.code == 1
    assert again.deed("cut").error == "AlreadyInjected"
    assert again.deed("cut").injected_at is None
    assert pod.agent("uncut").end().deed("uncut").left == 0


@pytest.mark.parametrize(
    ("action", "arguments"),
    [("cut", ("--port", "80", "--seconds", "600")), ("uncut", ())],
)
def test_without_net_admin_nothing_is_done(pod: ChaosPod, network: str, action: str, arguments: tuple[str]) -> None:
    left = pod.agent(action, *arguments, prefix=(*inside(network), *UNPRIVILEGED)).end()
    assert left.code == 1
    assert left.deed(action).error == "NotPermitted"
    assert "nft" in left.deed(action).message
    assert left.deed(action).injected_at is None
    assert tables(network) == []


def test_a_rule_that_the_kernel_refuses_is_no_injection(pod: ChaosPod, network: str) -> None:
    """Here an nft that lists and then fails, as one does whose kernel lacks a module."""
    tools = pod.root / "bin"
    tools.mkdir()
    (tools / "nft").write_text(
        '#!/bin/sh\n[ "$1" = -j ] && echo \'{"nftables": []}\' || { echo broken >&2; exit 1; }\n'
    )
    (tools / "nft").chmod(0o755)
    left = pod.agent("cut", "--port", "80", "--seconds", "9", env={"PATH": f"{tools}:{os.environ['PATH']}"}).end()
    assert left.code == 1
    assert (left.deed("cut").error, left.deed("cut").injected_at) == ("NftFailed", None)
    assert "broken" in left.deed("cut").message


# Processes.


def counted(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    return tmp_path / "counter"


@pytest.fixture
def app(pod: ChaosPod, counter: Path) -> Iterator[Container]:
    """A shell below catatonit that counts, and starts processes all the time."""
    with container("catatonit", "--", "sh", "-c", COUNTING.format(file=counter)) as running:
        pod.prefix = running.entry
        until(lambda: counted(counter) > 4)
        yield running


def moves(file: Path) -> bool:
    before = counted(file)
    time.sleep(0.3)
    return counted(file) != before


def test_a_kill_that_ends_pid_one_ends_the_agent_and_leaves_its_trace(
    pod: ChaosPod, app: Container, counter: Path
) -> None:
    shell = children(app.init)[0]
    before = time.time_ns() // 1_000_000
    left = pod.agent("kill").end()
    assert left.code in (137, -signal.SIGKILL), left.stderr
    deed = left.deed("kill")
    assert not deed.complete
    assert deed.killed[0] == "sh"
    assert deed.injected_at is not None
    assert deed.injected_at >= before
    until(lambda: state(app.init) in ("", "Z"))
    assert state(shell) in ("", "Z")
    assert not moves(counter)


SURVIVOR = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
    while True: signal.pause()
while True: signal.pause()
"""


def test_a_kill_that_pid_one_survives_is_verified(pod: ChaosPod) -> None:
    with container(sys.executable, "-c", SURVIVOR) as running:
        until(lambda: children(running.init) and children(children(running.init)[0]))
        first = children(running.init)[0]
        second = children(first)[0]
        pod.prefix = running.entry
        left = pod.agent("kill").end()
        assert left.code == 0, left.stderr
        assert left.deed("kill").complete
        assert len(left.deed("kill").killed) == 2
        assert [state(pid) in ("", "Z") for pid in (first, second)] == [True, True]
        assert state(running.init) == "S"


@pytest.mark.parametrize(("action", "arguments"), [("kill", ()), ("pause", ("--seconds", "9"))])
class TestNothingIsDone:
    """When a target is not as it must be, both faults refuse, and touch nothing."""

    def refused(self, pod: ChaosPod, action: str, arguments: tuple[str, ...], late: float = -30) -> tuple[str, str]:
        left = pod.agent(action, *arguments, late=late).end()
        assert left.code == 1, left.stderr
        deed = left.deed(action)
        assert deed.complete
        assert (deed.injected_at, deed.killed, deed.paused) == (None, (), ())
        return deed.error, deed.message

    def test_below_a_pid_one_that_is_alone(self, pod: ChaosPod, action: str, arguments: tuple[str, ...]) -> None:
        with container("sleep", "600") as running:
            pod.prefix = running.entry
            error, message = self.refused(pod, action, arguments)
            assert error == "PidOneTarget"
            assert "PodKill" in message
            assert state(running.init) == "S"

    def test_to_processes_of_another_user(self, pod: ChaosPod, action: str, arguments: tuple[str, ...]) -> None:
        other = ("setpriv", "--reuid=65534", "--clear-groups", "--")
        with container("catatonit", "--", "sleep", "600", by=other) as running:
            until(lambda: children(running.init))
            pod.prefix = running.entry
            error, message = self.refused(pod, action, arguments)
            assert error == "NotPermitted"
            assert "(sleep) is not that of user 0" in message
            assert state(children(running.init)[0]) == "S"

    def test_when_it_is_too_late(
        self, pod: ChaosPod, app: Container, counter: Path, action: str, arguments: tuple[str, ...]
    ) -> None:
        error, message = self.refused(pod, action, arguments, late=1)
        assert error == "TooLate"
        assert "past the time to inject" in message
        assert moves(counter)

    @pytest.mark.parametrize("init", [(), ("catatonit", "--")], ids=["as PID 1", "below PID 1"])
    def test_when_no_target_was_joined(
        self, pod: ChaosPod, action: str, arguments: tuple[str, ...], init: tuple[str, ...]
    ) -> None:
        """In a container of its own; on a machine, all that runs there would be a victim."""
        need("unshare", "setpriv", "catatonit")
        pod.prefix = ("unshare", "--pid", "--fork", "--mount-proc", "--", *UNPRIVILEGED, *init)
        error, message = self.refused(pod, action, arguments)
        assert error == "NotInTarget"
        assert "targetContainerName" in message


def test_a_pause_stops_everything_and_ends_by_itself(pod: ChaosPod, app: Container, counter: Path) -> None:
    agent = pod.agent("pause", "--seconds", "1.5")
    until(lambda: '"paused"' in agent.message)
    until(lambda: {state(pid) for pid in children(app.init)} == {"T"})
    assert not moves(counter)
    left = agent.end()
    assert left.code == 0, left.stderr
    deed = left.deed("pause")
    assert deed.complete
    assert deed.injected_at is not None
    assert deed.healed_at is not None
    assert 1500 <= deed.healed_at - deed.injected_at < 3500
    assert deed.deadline == pytest.approx(deed.injected_at + 1500, abs=20)
    assert deed.paused[0] == "sh"
    assert moves(counter)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_pause_ends_at_once_when_told_to_stop(
    pod: ChaosPod, app: Container, counter: Path, number: signal.Signals
) -> None:
    agent = paused(pod, app)
    agent.tell(number)
    left = agent.end(10)
    assert left.code == 0, left.stderr
    assert left.deed("pause").healed_at is not None
    assert moves(counter)


def paused(pod: ChaosPod, app: Container) -> Command:
    agent = pod.agent("pause", "--seconds", "600")
    until(lambda: '"paused"' in agent.message)
    until(lambda: {state(pid) for pid in children(app.init)} == {"T"})
    return agent


def test_a_pause_ends_when_its_agent_is_killed(pod: ChaosPod, app: Container, counter: Path) -> None:
    agent = paused(pod, app)
    agent.tell(signal.SIGKILL)
    until(lambda: moves(counter), 2)
    assert not agent.end().deed("pause").complete


def test_a_pause_ends_in_time_when_its_resumer_is_killed(pod: ChaosPod, app: Container, counter: Path) -> None:
    agent = pod.agent("pause", "--seconds", "1.5")
    until(lambda: {state(pid) for pid in children(app.init)} == {"T"})
    resumer = children(agent.pid)[0]
    os.kill(resumer, signal.SIGKILL)
    assert agent.end().code == 0
    assert moves(counter)


def test_the_resumer_alone_ends_a_pause_in_time(pod: ChaosPod, app: Container, counter: Path) -> None:
    agent = pod.agent("pause", "--seconds", "1.5")
    until(lambda: {state(pid) for pid in children(app.init)} == {"T"})
    assert not moves(counter)
    stopped = agent.pid
    os.kill(stopped, signal.SIGSTOP)
    until(lambda: moves(counter), 4)
    os.kill(agent.process.pid, signal.SIGCONT)  # nsenter stops when what it has started does.
    with suppress(ProcessLookupError):  # The resumer resumed the agent too, which may have ended.
        os.kill(stopped, signal.SIGCONT)
    assert agent.end().deed("pause").complete


def test_resume_heals_what_any_other_stopped(pod: ChaosPod, app: Container, counter: Path) -> None:
    os.kill(children(app.init)[0], signal.SIGSTOP)
    until(lambda: not moves(counter))
    for _ in range(2):
        left = pod.agent("resume").end()
        assert left.code == 0, left.stderr
        assert left.deed("resume").healed_at is not None
        assert moves(counter)


# An outage.

WORKLOAD = ("--kind", "Deployment", "--name", "dlq", "--replicas", "3")


@pytest.fixture
def api(pod: ChaosPod) -> Iterator[ScaleServer]:
    server = ScaleServer(pod.root, replicas=3)
    server.door.start()
    yield server
    server.door.stop()


def outage(pod: ChaosPod, api: ScaleServer, seconds: float, late: float = -30) -> Command:
    return pod.agent("outage", *WORKLOAD, "--seconds", str(seconds), late=late, env=api.env)


def test_an_outage_goes_to_zero_and_back(pod: ChaosPod, api: ScaleServer) -> None:
    left = outage(pod, api, 1.5).end()
    assert left.code == 0, left.stderr
    assert api.history == [0, 3]
    deed = left.deed("outage")
    assert deed.complete
    assert deed.replicas == 3
    assert not deed.interrupted
    assert deed.injected_at is not None
    assert deed.healed_at is not None
    assert 1500 <= deed.healed_at - deed.injected_at < 3500


def test_an_outage_ends_soon_after_the_api_server_is_back(pod: ChaosPod, api: ScaleServer) -> None:
    agent = outage(pod, api, 0.5)
    until(lambda: api.replicas == 0)
    api.door.stop()
    time.sleep(2)
    assert api.history == [0]
    api.door.start()
    back = time.monotonic()
    until(lambda: api.replicas == 3)
    assert time.monotonic() - back < 2
    left = agent.end()
    assert left.code == 0
    assert "not restored yet" in left.stderr


@pytest.mark.parametrize("status", [401, 403, 409, 429, 500, 503])
def test_the_way_back_does_not_end_at_an_error(pod: ChaosPod, api: ScaleServer, status: int) -> None:
    agent = outage(pod, api, 0.1)
    until(lambda: api.replicas == 0)
    api.refuse = ("PATCH", status)
    time.sleep(1)
    assert agent.process.poll() is None
    api.refuse = None
    assert agent.end().code == 0
    assert api.history == [0, 3]


def test_an_outage_ends_at_once_when_told_to_stop(pod: ChaosPod, api: ScaleServer) -> None:
    agent = outage(pod, api, 600)
    until(lambda: api.replicas == 0)
    agent.tell(signal.SIGTERM)
    assert agent.end(10).code == 0
    assert api.history == [0, 3]


def test_an_outage_that_was_killed_is_ended_by_its_next_start_and_not_begun_again(
    pod: ChaosPod, api: ScaleServer
) -> None:
    agent = outage(pod, api, 600)
    until(lambda: api.replicas == 0)
    agent.tell(signal.SIGKILL)
    trace = agent.end().deed("outage")
    assert trace.injected_at is not None
    assert not trace.complete
    for _ in range(2):
        left = outage(pod, api, 600, late=5).end(10)
        assert left.code == 0, left.stderr
        assert left.deed("outage").interrupted
        assert left.deed("outage").replicas == 3
        assert api.history == [0, 3]


def test_a_scale_that_was_zero_before_is_taken_for_an_interrupted_outage(pod: ChaosPod, api: ScaleServer) -> None:
    """Also when the pod was replaced and its note is lost."""
    api.replicas = 0
    left = outage(pod, api, 600).end(10)
    assert left.deed("outage").interrupted
    assert api.history == [3]


def test_what_another_scaled_meanwhile_stays(pod: ChaosPod, api: ScaleServer) -> None:
    agent = outage(pod, api, 1)
    until(lambda: api.replicas == 0)
    api.scale(5)
    assert agent.end().deed("outage").replicas == 5
    assert api.history == [0, 5]


def test_what_another_scales_in_the_last_moment_stays(pod: ChaosPod, api: ScaleServer) -> None:
    api.replicas = 0

    def between(server: ScaleServer) -> None:
        server.before_patch = None
        server.scale(2)

    api.before_patch = between
    assert pod.agent("restore", *WORKLOAD, env=api.env).end().deed("restore").replicas == 2
    assert api.history == [2]


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (lambda api: setattr(api, "replicas", 2), "ScaleChanged", "the scale is 2, not 3 as planned"),
        (lambda api: setattr(api, "refuse", ("PATCH", 403)), "ScaleRefused", "cannot PATCH"),
        (lambda api: setattr(api, "refuse", ("GET", 403)), "ScaleRefused", "cannot GET"),
        (lambda api: (api.door.mount / "token").write_text("old"), "ScaleRefused", "Unauthorized"),
        (lambda api: setattr(api, "path", "/other"), "ScaleRefused", "not found"),
        (lambda api: setattr(api, "before_patch", lambda api: setattr(api, "version", 99)), "ScaleChanged", "modified"),
        (lambda api: api.door.stop(), "ScaleRefused", "onnection refused"),
    ],
)
def test_an_outage_is_refused_before_anything_happens(
    pod: ChaosPod, api: ScaleServer, spoil: Callable[[ScaleServer], None], error: str, says: str
) -> None:
    spoil(api)
    left = outage(pod, api, 600).end(20)
    assert left.code == 1
    deed = left.deed("outage")
    assert (deed.error, deed.injected_at) == (error, None)
    assert says in deed.message
    assert api.history == []
    assert not (pod.root / "tmp/injected").exists()


def test_an_outage_is_refused_when_it_is_too_late(pod: ChaosPod, api: ScaleServer) -> None:
    assert outage(pod, api, 600, late=1).end(10).deed("outage").error == "TooLate"
    assert api.history == []


def test_an_outage_is_refused_where_no_note_can_be_kept(pod: ChaosPod, api: ScaleServer) -> None:
    (pod.root / "tmp").rmdir()
    deed = outage(pod, api, 600).end(10).deed("outage")
    assert (deed.error, deed.injected_at) == ("NotPermitted", None)
    assert api.history == []


def test_an_api_server_of_another_authority_is_not_believed(pod: ChaosPod, api: ScaleServer, tmp_path: Path) -> None:
    other = ScaleServer(tmp_path / "other-root-ca", replicas=3)
    other.door.port = api.door.port
    api.door.stop()
    other.door.start()
    try:
        deed = outage(pod, api, 600).end(20).deed("outage")
    finally:
        other.door.stop()
    assert deed.error == "ScaleRefused"
    assert "CERTIFICATE_VERIFY_FAILED" in deed.message
    assert other.history == []


def test_an_outage_whose_begin_got_no_answer_is_ended_too(pod: ChaosPod, api: ScaleServer) -> None:
    """The connection breaks after the API server did what it was asked."""

    def done_and_gone(server: ScaleServer) -> None:
        server.before_patch = None
        server.scale(0)
        raise ConnectionAbortedError

    api.before_patch = done_and_gone
    left = outage(pod, api, 0.5).end()
    assert left.code == 0, left.stderr
    assert "not known" in left.stderr
    assert api.history == [0, 3]
    assert left.deed("outage").injected_at is not None


def test_restore_brings_back_what_is_zero_and_nothing_else(pod: ChaosPod, api: ScaleServer) -> None:
    api.replicas = 0
    for _ in range(2):
        left = pod.agent("restore", *WORKLOAD, env=api.env).end()
        assert left.code == 0
        assert left.deed("restore").replicas == 3
        assert left.deed("restore").healed_at is not None
        assert api.history == [3]
    api.path = "/gone"
    gone = pod.agent("restore", *WORKLOAD, env=api.env).end()
    assert (gone.code, gone.deed("restore").error) == (1, "TargetGone")


# What people meet.


def test_help_teaches() -> None:
    done = subprocess.run([*MODULE, "--help"], cwd=OPERATOR, capture_output=True, text=True, check=True)
    for word in ("observe", "cut", "uncut", "kill", "pause", "resume", "outage", "restore", "--not-after", "137"):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("cut", "--experiment", UID, "--port", "80", "--seconds", "5"), "--not-after"),
        (
            ("cut", "--experiment", UID, "--not-after", "1", "--port", "0", "--seconds", "5"),
            "0 is not between 1 and 65535",
        ),
        (("pause", "--experiment", UID, "--not-after", "1", "--seconds", "nan"), "nan is not between"),
        (("restore", "--experiment", UID, "--kind", "DaemonSet", "--name", "a", "--replicas", "1"), "DaemonSet"),
    ],
)
def test_a_wrong_command_line_is_explained(pod: ChaosPod, arguments: tuple[str, ...], says: str) -> None:
    left = pod.start(*arguments).end()
    assert left.code == 2
    assert says in left.stderr
    assert left.message == ""


def test_what_was_not_foreseen_is_reported_too(pod: ChaosPod, api: ScaleServer) -> None:
    left = pod.agent("restore", *WORKLOAD, env={"KUBERNETES_SERVICE_HOST": ""}).end(10)
    assert left.code == 1
    assert left.deed("restore").error == "AgentCrashed"
    assert "Traceback" in left.stderr
