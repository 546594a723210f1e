"""The observer against real servers that are killed, cut off, stopped and started, and against ones that misbehave."""

import asyncio
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from proctor.core.timeline import Timeline, Track
from proctor.runner.chaos.checks import Check, accepts, command, nats, prometheus, web
from runner.chaospod import NET_ADMIN, ChaosPod, Command, inside, make_pod, need, networks, until

NATS = str(Path(sys.executable).with_name("nats-server"))
QUICK = {"allowance": 20, "duration": 1, "recovery": 20}


@contextmanager
def listening(prefix: tuple[str, ...], *command: str, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([*prefix, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        asked = [*prefix, "ss", "-Hltn", f"sport = {port}"]
        until(lambda: subprocess.run(asked, check=True, capture_output=True).stdout)
        yield process
    finally:
        process.kill()
        process.wait()


def nats_server(host: str, port: int, *options: str, prefix: tuple[str, ...] = ()) -> Any:
    return listening(prefix, NATS, "-a", host, "-p", str(port), *options, port=port)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def pod(tmp_path: Path) -> ChaosPod:
    need("ss")
    return make_pod(tmp_path / "pod")


@pytest.fixture
def nameserver(pod: ChaosPod) -> Iterator[socket.socket]:
    """Something on port 53, of which the observer wants no more than that it accepts connections."""
    host = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(1, 254)}"
    with socket.create_server((host, 53), backlog=1000) as server:
        (pod.root / "etc/resolv.conf").write_text(f"# ours\nsearch shop.svc\nnameserver {host}\nnameserver 192.0.2.1\n")
        yield server


def target(port: int, *, path: str | None = None, name: str = "nats-0", host: str = "127.0.0.1") -> dict[str, Any]:
    return {"pod": name, "host": host, "port": port, "path": path}


def track(timeline: Timeline, name: str) -> Track:
    return next(track for track in timeline.tracks if track.name == name)


def good(pod: ChaosPod, observer: Command) -> None:
    until(lambda: pod.good or observer.process.poll() is not None, 15)
    assert pod.good, observer.end()


@pytest.mark.usefixtures("nameserver")
def test_a_server_that_is_killed_and_comes_back(pod: ChaosPod) -> None:
    port = free_port()
    plan = QUICK | {
        "targets": [target(port)],
        "probes": [{"name": "bus", "nats": {"address": f"127.0.0.1:{port}"}}],
    }
    with nats_server("127.0.0.1", port):
        observer = pod.observe(plan)
        good(pod, observer)
        killed = time.time_ns() // 1_000_000
    time.sleep(0.8)
    assert '"complete":false' in observer.message
    with nats_server("127.0.0.1", port):
        back = time.time_ns() // 1_000_000
        left = observer.end()
    assert left.code == 0, left.stderr
    seen = left.timeline
    assert (seen.end, seen.good, seen.message) == ("Recovered", True, "all is well again")
    assert seen.good_at is not None
    assert seen.ended_at is not None
    assert seen.good_at <= killed
    assert seen.ended_at - back >= 2000, "well for two seconds"
    for name, role in (("nats-0", "target"), ("bus", "probe")):
        one = track(seen, name)
        assert one.role == role
        assert [killed - 50 <= loss.start <= killed + 600 for loss in one.losses] == [True]
        assert one.losses[0].end is not None
        assert back - 300 <= one.losses[0].end <= back + 600
        assert 2 <= one.failed < one.samples
        assert one.error == "connection refused"
    assert track(seen, "nameserver").losses == ()
    assert track(seen, "nameserver").role == "control"
    assert track(seen, "nameserver").samples > 8
    (held,) = seen.held
    assert held.name == "nats-0"
    assert held.lost_at is not None
    assert killed - 50 <= held.lost_at <= killed + 400
    assert held.error in ("closed by the peer", "connection reset by peer")
    events = [(event["event"], event.get("name")) for event in left.events]
    assert events[0] == ("Good", None)
    assert sorted(events[1:4]) == sorted([("Lost", "nats-0"), ("Lost", "bus"), ("HeldLost", "nats-0")], key=str)
    assert sorted(events[4:6]) == [("Back", "bus"), ("Back", "nats-0")]
    assert events[6:] == [("End", None)]
    assert left.events[4]["seconds"] == pytest.approx((back - killed) / 1000, abs=0.9)


def test_a_cut_is_seen_on_both_connections_and_not_on_the_control(pod: ChaosPod, tmp_path: Path) -> None:
    """The whole of a fault: observer in one pod, agent in another, and the kernel that heals."""
    with networks("watch", "nats") as made:
        agent = make_pod(tmp_path / "target", *inside(made["nats"]), *NET_ADMIN)
        pod.prefix = inside(made["watch"])
        (pod.root / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
        sink = "import socket; s = socket.create_server(('127.0.0.1', 53)); a = []\nwhile True: a += s.accept()"
        with (
            listening(pod.prefix, sys.executable, "-c", sink, port=53),
            nats_server("10.9.0.2", 4222, prefix=inside(made["nats"])),
        ):
            observer = pod.observe(QUICK | {"targets": [target(4222, host="10.9.0.2")], "probes": [], "duration": 5})
            good(pod, observer)
            deed = agent.agent("cut", "--port", "4222", "--seconds", "5").end().deed("cut")
            left = observer.end()
    seen = left.timeline
    assert (left.code, seen.end) == (0, "Recovered"), left.stderr
    assert deed.injected_at is not None
    assert deed.deadline is not None
    (loss,) = track(seen, "nats-0").losses
    assert deed.injected_at - 300 <= loss.start <= deed.injected_at + 700
    assert loss.end is not None
    assert deed.deadline - 1200 <= loss.end <= deed.deadline + 800
    assert track(seen, "nats-0").error == "no answer in 1 s"
    assert seen.held[0].lost_at is not None
    assert 1000 <= seen.held[0].lost_at - deed.injected_at <= 5000
    assert seen.held[0].error == "no answer to the kernel's keep-alive"
    assert track(seen, "nameserver").failed == 0


def test_a_pause_is_seen_by_a_target_with_a_path(pod: ChaosPod, nameserver: socket.socket) -> None:
    """The kernel goes on accepting connections for a stopped process; only an answer tells."""
    port = free_port()
    plan = QUICK | {"targets": [target(port, path="/healthz")], "probes": []}
    with nats_server("127.0.0.1", free_port(), "-m", str(port)) as server:
        until(lambda: _accepts(port))
        observer = pod.observe(plan)
        good(pod, observer)
        server.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        server.send_signal(signal.SIGCONT)
        seen = observer.end().timeline
    assert seen.end == "Recovered"
    assert track(seen, "nats-0").losses
    assert seen.held[0].lost_at is None


def _accepts(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


@pytest.mark.usefixtures("nameserver")
class TestEnds:
    """How a watch ends. Every end is a complete report and exit code 0."""

    def test_without_a_loss(self, pod: ChaosPod) -> None:
        port = free_port()
        with nats_server("127.0.0.1", port):
            left = pod.observe(
                {"targets": [target(port)], "probes": [], "allowance": 0.5, "duration": 0.5, "recovery": 60}
            ).end()
        assert (left.code, left.timeline.end) == (0, "NoLoss")
        assert left.timeline.message == "no target was lost within 1 s"
        assert left.timeline.ended_at is not None
        assert left.timeline.good_at is not None
        assert 1000 <= left.timeline.ended_at - left.timeline.good_at < 2000
        assert left.timeline.held[0].lost_at is None

    def test_with_a_target_that_does_not_come_back(self, pod: ChaosPod) -> None:
        port = free_port()
        with nats_server("127.0.0.1", port):
            observer = pod.observe(
                {"targets": [target(port)], "probes": [], "allowance": 2, "duration": 0.5, "recovery": 1.5}
            )
            good(pod, observer)
        left = observer.end()
        assert (left.code, left.timeline.end) == (0, "Deadline")
        assert track(left.timeline, "nats-0").losses[-1].end is None
        assert "not well 4 s after it was: target nats-0: connection refused" in left.timeline.message

    def test_with_a_probe_that_does_not_come_back(self, pod: ChaosPod) -> None:
        ports = free_port(), free_port()
        plan = {"allowance": 1, "duration": 0.5, "recovery": 3, "gone": True, "targets": [target(ports[0])]}
        plan |= {"probes": [{"name": "shop", "tcp": {"address": f"127.0.0.1:{ports[1]}"}}]}
        with nats_server("127.0.0.1", ports[0]), nats_server("127.0.0.1", ports[1]):
            observer = pod.observe(plan)
            good(pod, observer)
        left = observer.end()
        assert left.timeline.end == "Deadline"
        assert "probe shop" in left.timeline.message
        assert "target" not in left.timeline.message

    def test_with_targets_that_are_gone_for_good(self, pod: ChaosPod) -> None:
        ports = free_port(), free_port()
        plan = QUICK | {"gone": True, "targets": [target(ports[0])], "duration": 2}
        plan |= {"probes": [{"name": "shop", "tcp": {"address": f"127.0.0.1:{ports[1]}"}}]}
        with nats_server("127.0.0.1", ports[1]):
            with nats_server("127.0.0.1", ports[0]):
                observer = pod.observe(plan)
                good(pod, observer)
            left = observer.end()
        seen = left.timeline
        assert (left.code, seen.end) == (0, "Recovered")
        assert seen.ended_at is not None
        first = seen.first_losses["nats-0"]
        assert first is not None
        assert 2000 <= seen.ended_at - first < 4000
        assert track(seen, "nats-0").losses[-1].end is None

    def test_with_targets_that_are_hit_one_after_the_other(self, pod: ChaosPod) -> None:
        ports = free_port(), free_port()
        plan = QUICK | {"probes": [], "targets": [target(ports[0], name="first"), target(ports[1], name="second")]}
        with nats_server("127.0.0.1", ports[1]):
            with nats_server("127.0.0.1", ports[0]):
                observer = pod.observe(plan)
                good(pod, observer)
            with nats_server("127.0.0.1", ports[0]):
                time.sleep(4)  # The first one has been well again for longer than the observer waits at its end.
                assert observer.process.poll() is None
        with nats_server("127.0.0.1", ports[0]), nats_server("127.0.0.1", ports[1]):
            seen = observer.end().timeline
        assert seen.end == "Recovered"
        assert None not in seen.first_losses.values()

    def test_when_it_is_told_to_stop(self, pod: ChaosPod) -> None:
        port = free_port()
        with nats_server("127.0.0.1", port):
            observer = pod.observe(QUICK | {"targets": [target(port)], "probes": []})
            good(pod, observer)
            observer.tell(signal.SIGTERM)
            left = observer.end(5)
        assert (left.code, left.timeline.end, left.timeline.good) == (0, "Stopped", True)

    def test_when_it_is_told_to_stop_before_all_is_well(self, pod: ChaosPod) -> None:
        observer = pod.observe(QUICK | {"targets": [target(free_port())], "probes": []})
        until(lambda: observer.message)
        observer.tell(signal.SIGTERM)
        left = observer.end(5)
        assert (left.code, left.timeline.end, left.timeline.good) == (0, "Stopped", False)

    def test_when_it_is_killed_a_trace_is_left(self, pod: ChaosPod) -> None:
        port = free_port()
        with nats_server("127.0.0.1", port):
            observer = pod.observe(QUICK | {"targets": [target(port)], "probes": []})
            good(pod, observer)
        until(lambda: '"losses":[[' in observer.message)
        observer.tell(signal.SIGKILL)
        seen = observer.end().timeline
        assert (seen.end, seen.good) == (None, True)
        assert track(seen, "nats-0").losses[0].end is None

    def test_when_not_all_was_well_to_begin_with(self, pod: ChaosPod) -> None:
        ports = free_port(), free_port()
        plan = QUICK | {
            "targets": [target(ports[0]), target(ports[1], name="nats-1")],
            "probes": [{"name": "never", "argv": ["sh", "-c", "exit 3"]}],
        }
        with nats_server("127.0.0.1", ports[0]):
            left = pod.observe(plan).end()
        seen = left.timeline
        assert (left.code, seen.end, seen.good, seen.good_at) == (0, "BadBaseline", False, None)
        assert "within 10 s: target nats-1: connection refused; probe never: exit code 3" in seen.message
        assert "nats-0" not in seen.message
        assert not pod.good

    def test_when_there_is_more_to_watch_than_a_report_holds(self, pod: ChaosPod) -> None:
        many = [target(1, name=f"orchestrator-7d9f8b6c5-{n:05}") for n in range(40)]
        left = pod.observe(QUICK | {"targets": many, "probes": []}).end(10)
        assert (left.code, left.timeline.end, left.timeline.good) == (0, "BadBaseline", False)
        assert "41 checks does not fit into 3500 bytes: choose fewer" in left.timeline.message


@pytest.mark.usefixtures("nameserver")
def test_a_flapping_server_is_reported_within_the_room(pod: ChaosPod) -> None:
    """A door that fails every other look, and faster than a report could hold."""
    looks = {"n": 0}

    def answer(path: str) -> tuple[int, str]:
        looks["n"] += 1
        return (200 if looks["n"] < 8 or looks["n"] % 2 else 503), ""

    with web_server(answer) as url:
        plan = QUICK | {"targets": [target(int(url.rpartition(":")[2]), path="/")], "probes": []}
        observer = pod.observe(plan)
        good(pod, observer)
        until(lambda: looks["n"] > 40, 30)
        observer.tell(signal.SIGTERM)
        seen = observer.end().timeline
    one = track(seen, "nats-0")
    assert one.omitted == 0
    assert len(one.losses) == one.failed
    assert one.error == "answered 503"
    assert [loss.end for loss in one.losses[:-1]] == sorted(loss.end or 0 for loss in one.losses[:-1])


IDLE = """
import socket, sys, threading, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
def serve(connection):
    time.sleep(2)
    connection.close()
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""


@pytest.mark.usefixtures("nameserver")
def test_a_server_that_closes_idle_connections_is_not_lost(pod: ChaosPod) -> None:
    port = free_port()
    with listening((), sys.executable, "-c", IDLE, str(port), port=port):
        plan = {"targets": [target(port)], "probes": [], "allowance": 5, "duration": 0.5, "recovery": 0}
        assert pod.observe(plan).end().timeline.end == "NoLoss"


@pytest.mark.usefixtures("nameserver")
def test_one_that_hangs_delays_no_other_and_all_of_it_is_light(pod: ChaosPod) -> None:
    """Eight probes and three targets, of which half hang once all was seen to be well."""
    hang = threading.Event()

    def answer(path: str) -> tuple[int, str]:
        if path == "/hang" and hang.is_set():
            time.sleep(5)
        return 200, ""

    ports = [free_port() for _ in range(3)]
    with web_server(answer) as url, nats_server("127.0.0.1", ports[0]), nats_server("127.0.0.1", ports[1]):
        with nats_server("127.0.0.1", ports[2]):
            probes = [{"name": f"p{n}", "http": {"url": f"{url}/{'hang' if n % 2 else 'fine'}"}} for n in range(8)]
            targets = [target(port, name=f"nats-{n}") for n, port in enumerate(ports)]
            observer = pod.observe(QUICK | {"targets": targets, "probes": probes, "recovery": 3, "allowance": 2})
            good(pod, observer)
            hang.set()
        pid = observer.pid
        peak = 0
        while observer.process.poll() is None:
            peak = max(peak, _peak_memory(pid))
            time.sleep(0.1)
        seen = observer.end().timeline
    assert 0 < peak <= 40 * 1024
    fine, slow = track(seen, "p0"), track(seen, "p1")
    assert fine.failed == 0
    assert fine.samples > 2 * slow.samples
    assert slow.error == "no answer in 1 s"
    assert slow.losses[-1].end is None


def _peak_memory(pid: int) -> int:
    """Return the most that a process has had in memory, in KiB."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1])
    return 0


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ("", "JSONDecodeError"),
        ('{"version": 2}', "version 2 is unknown"),
        ('{"version": 1}', "KeyError: 'targets'"),
        ('{"version": 1, "targets": [], "probes": [{"name": "a", "nats": {"address": "nowhere"}}]}', "not host:port"),
        ('{"version": 1, "targets": [], "probes": [{"name": "a"}]}', "argv"),
    ],
)
@pytest.mark.usefixtures("nameserver")
def test_a_plan_that_cannot_be_read_is_explained(pod: ChaosPod, plan: str, says: str) -> None:
    left = pod.start("observe", PROCTOR_OBSERVE=plan).end(10)
    assert left.code == 1
    assert says in left.stderr
    assert "PROCTOR_OBSERVE" in left.stderr
    assert "Traceback" not in left.stderr


def test_a_pod_without_a_nameserver_is_explained(pod: ChaosPod) -> None:
    (pod.root / "etc/resolv.conf").write_text("search shop.svc\n")
    plan = json.dumps({"version": 1, "targets": [], "probes": []})
    assert "names no nameserver" in pod.start("observe", PROCTOR_OBSERVE=plan).end(10).stderr


# Single checks, in this process.


@contextmanager
def web_server(answer: Callable[[str], tuple[int, str]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = answer(self.path)
            self.send_response(status)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in (body[:7], body[7:]):
                if part:
                    self.wfile.write(f"{len(part):x}\r\n{part}\r\n".encode())
            self.wfile.write(b"0\r\n\r\n")

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        @override
        def handle_error(self, request: object, client_address: object) -> None:
            """The observer does not wait for answers that come too late."""

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def talker(*says: bytes, waits: float = 0.0) -> Iterator[int]:
    """A server that says its lines to each connection, one for each thing that it hears after the first, then ends."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number, line in enumerate(says):
            if number:
                await reader.read(4096)
            writer.write(line)
        await asyncio.sleep(waits)
        writer.close()

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()


def look(check: Callable[[], Any]) -> str:
    return asyncio.run(Check("a", "probe", check).failure())


@pytest.mark.parametrize(
    ("status", "as_probe", "as_target"),
    [(200, "", ""), (204, "", ""), (302, "302", ""), (404, "404", ""), (500, "500", "500"), (503, "503", "503")],
)
def test_which_answers_are_good(status: int, as_probe: str, as_target: str) -> None:
    with web_server(lambda path: (status, "x")) as url:
        assert look(lambda: web(f"{url}/healthz?a=b", 200, 299)) == (as_probe and f"answered {as_probe}")
        assert look(lambda: web(url, 100, 499)) == (as_target and f"answered {as_target}")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"resultType": "vector", "result": [{"metric": {}, "value": [1, "1"]}]}, ""),
        ({"resultType": "vector", "result": [{"value": [1, "1"]}, {"value": [1, "0.5"]}]}, ""),
        ({"resultType": "scalar", "result": [1, "7"]}, ""),
        ({"resultType": "vector", "result": []}, "the query has no result"),
        ({"resultType": "vector", "result": [{"value": [1, "0"]}]}, "the query gives 0"),
        ({"resultType": "vector", "result": [{"value": [1, "1"]}, {"value": [1, "0"]}]}, "the query gives 0"),
        ({"resultType": "scalar", "result": [1, "NaN"]}, "the query gives nan"),
        ({"resultType": "matrix", "result": [{"values": []}]}, "answered 200 with no result of a query"),
    ],
)
def test_what_prometheus_says_is_good_above_zero(data: dict[str, Any], says: str) -> None:
    asked = []

    def answer(path: str) -> tuple[int, str]:
        asked.append(path)
        return 200, json.dumps({"status": "success", "data": data})

    with web_server(answer) as url:
        assert look(lambda: prometheus(url + "/", "up{job='shop'} > 0")) == says
    assert asked == ["/api/v1/query?query=up%7Bjob%3D%27shop%27%7D+%3E+0"]


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (400, '{"status": "error", "error": "parse error"}', "the query failed: parse error"),
        (502, "<html>", "answered 502 with no result of a query"),
    ],
)
def test_a_prometheus_that_fails_is_quoted(status: int, body: str, says: str) -> None:
    with web_server(lambda path: (status, body)) as url:
        assert look(lambda: prometheus(url, "up")) == says


INFO = b'INFO {"server_id":"A"}\r\n'


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ((INFO, b"PONG\r\n"), ""),
        ((INFO, b"PING\r\nINFO {}\r\nPONG\r\n"), ""),
        ((b'INFO {"auth_required":true}\r\n',), ""),
        ((b'INFO {"tls_required":true}\r\n',), ""),
        ((INFO, b"-ERR 'maximum connections exceeded'\r\n"), "said -ERR 'maximum connections exceeded'"),
        ((INFO,), "closed the connection"),
        ((b"HTTP/1.1 400 Bad Request\r\n",), "said b'HTTP/1.1 400 Bad Request\\r\\n' instead of INFO"),
        ((b"INFO nothing\r\n",), "its INFO is no JSON"),
        ((b"",), "closed the connection"),
    ],
)
def test_what_a_nats_server_says(lines: tuple[bytes, ...], says: str) -> None:
    with talker(*lines) as port:
        told = look(lambda: nats("127.0.0.1", port))
    # A server that ends with our words unread resets the connection, if that is what we see first.
    assert told == says or (says == "closed the connection" and told == "connection reset by peer")


def test_a_nats_server_that_wants_credentials_is_well() -> None:
    port = free_port()
    with nats_server("127.0.0.1", port, "--user", "a", "--pass", "b"):
        assert look(lambda: nats("127.0.0.1", port)) == ""
        assert look(lambda: accepts("127.0.0.1", port)) == ""


def test_a_nats_server_that_says_nothing_is_not_well() -> None:
    with talker(b"", waits=3) as port:
        assert look(lambda: nats("127.0.0.1", port)) == "no answer in 1 s"
        assert look(lambda: accepts("127.0.0.1", port)) == ""


def test_a_door_that_opens_and_shuts_is_not_open() -> None:
    with talker(b"") as port:
        assert look(lambda: accepts("127.0.0.1", port)) == "accepted, then closed"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["true"], ""),
        (["sh", "-c", "echo much; exit 4"], "exit code 4"),
        (["sh", "-c", "kill -9 $$"], "ended by signal 9"),
        (["/no/such/thing"], "no such file or directory"),
        (["sh", "-c", "$0 $1", "exit", "0; exit 1"], "exit code 2"),
    ],
)
def test_a_command_is_good_with_exit_code_zero(
    arguments: list[str], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert look(lambda: command(arguments)) == says
    assert capfd.readouterr().out == "", "stdout is for events"


def test_a_command_that_takes_too_long_is_ended_with_all_its_processes(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    script = f"sleep 60 & echo $! >{file}; echo $$ >>{file}; wait"
    check = Check("a", "probe", lambda: command(["sh", "-c", script]), timeout=0.5)
    assert asyncio.run(check.failure()) == "no answer in 0.5 s"
    pids = [int(pid) for pid in file.read_text().split()]
    assert len(pids) == 2
    until(lambda: all(_ended(pid) for pid in pids))


def _ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:{closed}/", "connection refused"),
        ("http://no-such-name.invalid/", "ame"),
        ("https://127.0.0.1:{plain}/", "SSL"),
        ("http://127.0.0.1:{silent}/", "closed the connection"),
        ("http://127.0.0.1:{chatty}/", "its answer is not HTTP: BadStatusLine"),
        ("http://127.0.0.1:{endless}/", "its answer is not HTTP: no end of its head"),
    ],
)
def test_a_door_that_is_none_is_described(url: str, says: str) -> None:
    with (
        web_server(lambda path: (200, "")) as plain,
        talker(b"") as silent,
        talker(b"hello\r\n\r\n", waits=1) as chatty,
        talker(b"x" * 200_000, waits=1) as endless,
    ):
        ports = {"closed": free_port(), "plain": plain.rpartition(":")[2], "silent": silent}
        told = look(lambda: web(url.format(**ports, chatty=chatty, endless=endless), 200, 299))
    assert says in told or (says == "closed the connection" and told == "connection reset by peer")
    assert len(told) < 200
