"""The stream of a conversation over real WebSockets: order, resumption, slow readers, and what clients may not do."""

import asyncio
import json
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import nats
import pytest
from loopback import Platform, free_port, roles
from shop import Shop
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from bazaar.streams import event_subject

Frames = list[dict[str, Any]]


class Talk:
    """A conversation whose episode has ended, so that only the test adds frames to it."""

    def __init__(self, bazaar: Platform, shop: Shop) -> None:
        self.nats, self.shop = bazaar.urls["nats"], shop
        self.number = shop.say("How are you?")["conversation"]
        with self.open(bazaar.urls["gateway"]) as stream:
            self.frames = until_ended(stream)
        self.last = self.frames[-1]["seq"]

    def open(self, gateway: str, last_seq: int = 0, user: str = "alice") -> ClientConnection:
        url = f"{gateway.replace('http', 'ws')}/v1/stream?conversation={self.number}&last_seq={last_seq}"
        return connect(url, additional_headers={"Authorization": f"Bearer {self.shop.keys[user]}"})

    def slow(self, gateway: str) -> socket.socket:
        """A connection of which nobody reads more than the handshake."""
        url = httpx.URL(gateway)
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        raw.connect((url.host, url.port))
        handshake = (
            f"GET /v1/stream?conversation={self.number}&last_seq={self.last} HTTP/1.1\r\nHost: x\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            f"Authorization: Bearer {self.shop.keys['alice']}\r\n\r\n"
        )
        raw.sendall(handshake.encode())
        raw.settimeout(10)
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += raw.recv(1)
        assert answer.startswith(b"HTTP/1.1 101")
        return raw

    def publish(self, kinds: list[str], text: str = "", order: list[int] | None = None) -> None:
        """Add a frame of each kind, in the order of the places given."""

        async def send() -> None:
            client = await nats.connect(self.nats)
            subject = event_subject(UUID(self.shop.tenant_id), self.number)
            for place in order or range(len(kinds)):
                frame = {"seq": self.last + 1 + place, "type": kinds[place], "data": {"text": text}}
                await client.publish(subject, json.dumps({**frame, "episode_id": str(UUID(int=0))}).encode())
                if place % 50 == 0:
                    await client.flush()
            await client.close()

        asyncio.run(send())
        self.last += len(kinds)


def until_ended(stream: ClientConnection) -> Frames:
    frames: Frames = []
    while not frames or frames[-1]["type"] != "ended":
        frames.append(json.loads(stream.recv(timeout=10)))
    return frames


def raw_frames(raw: socket.socket) -> Iterator[tuple[int, bytes]]:
    """(opcode, payload) of what a server has sent, until its close frame or the end of the connection."""
    file = raw.makefile("rb")
    while head := file.read(2):
        size = head[1] & 127
        if size > 125:
            size = struct.unpack("!H" if size == 126 else "!Q", file.read(2 if size == 126 else 8))[0]
        payload = file.read(size)
        yield head[0] & 15, payload
        if head[0] & 15 == 8:
            return


def metric(gateway: str, name: str) -> float:
    lines = httpx.get(f"{gateway}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def wait_for_more(gateway: str, name: str, before: float) -> None:
    """Return when a metric of the gateway has grown."""
    deadline = time.monotonic() + 15
    while metric(gateway, name) <= before:
        assert time.monotonic() < deadline, f"{name} did not grow"
        time.sleep(0.1)


@pytest.fixture
def talk(bazaar: Platform, shop: Shop) -> Talk:
    return Talk(bazaar, shop)


@pytest.fixture
def gateway(bazaar: Platform) -> str:
    return bazaar.urls["gateway"]


def test_resumption_has_no_gap_and_no_repetition(talk: Talk, gateway: str) -> None:
    """Wherever a client left off: what is stored, and what comes while it is being read, makes one sequence."""
    assert [f["seq"] for f in talk.frames] == list(range(1, talk.last + 1))
    first, middle = talk.last, talk.last // 2
    with talk.open(gateway, middle) as early, talk.open(gateway, first) as late:
        talk.publish(["progress"] * 300 + ["message", "ended"])
        assert until_ended(early)[-1]["seq"] == first  # the stored end of the first episode
        assert [f["seq"] for f in until_ended(early)] == list(range(first + 1, talk.last + 1))
        assert [f["seq"] for f in until_ended(late)] == list(range(first + 1, talk.last + 1))
    with talk.open(gateway, talk.last - 1) as resumed:
        assert [f["seq"] for f in until_ended(resumed)] == [talk.last]


def test_frames_that_were_stored_out_of_order_are_sent_in_order(talk: Talk, gateway: str) -> None:
    """As after a publisher that was cut off in the middle of several."""
    first = talk.last
    with talk.open(gateway, first) as live:
        talk.publish(["progress", "progress", "message", "ended"], order=[0, 2, 3, 1])
        assert [f["seq"] for f in until_ended(live)] == [first + 1, first + 2, first + 3, first + 4]
    with talk.open(gateway, first) as resumed:
        assert [f["seq"] for f in until_ended(resumed)] == [first + 1, first + 2, first + 3, first + 4]


def test_a_reader_that_pauses_loses_progress_only(talk: Talk, gateway: str) -> None:
    dropped, first = metric(gateway, "ws_dropped_total"), talk.last
    kinds = (["progress"] * 99 + ["step"]) * 120 + ["message", "ended"]
    with talk.slow(gateway) as raw, ThreadPoolExecutor() as pool:
        time.sleep(1)  # it has read the stream and is live
        flood = pool.submit(talk.publish, kinds, "x" * 1000)
        wait_for_more(gateway, "ws_queue_depth", 200)  # of the 230 that there is room for
        time.sleep(0.5)  # much less than it takes to be evicted
        seen = []
        for _, payload in raw_frames(raw):
            seen.append(json.loads(payload)["seq"])
            if seen[-1] == first + len(kinds):
                break
        flood.result()
    missing = set(range(first + 1, talk.last + 1)) - set(seen)
    assert seen == sorted(set(seen))
    assert missing, "the flood must be larger than the queue and the buffers"
    assert {kinds[seq - first - 1] for seq in missing} == {"progress"}
    assert metric(gateway, "ws_dropped_total") - dropped == len(missing)
    with talk.open(gateway, first) as resumed:
        assert [f["seq"] for f in until_ended(resumed)] == list(range(first + 1, talk.last + 1))


def test_a_reader_that_stops_is_evicted_and_can_resume(talk: Talk, gateway: str, shop: Shop) -> None:
    evicted, first = metric(gateway, "ws_evicted_total"), talk.last
    with talk.slow(gateway) as raw:
        talk.publish(["progress"] * 4000 + ["message", "ended"], "x" * 1000)
        wait_for_more(gateway, "ws_evicted_total", evicted)
        *frames, (opcode, closing) = raw_frames(raw)
    assert opcode == 8
    code, reason = struct.unpack("!H", closing[:2])[0], closing[2:].decode()
    sent = [json.loads(payload)["seq"] for opcode, payload in frames if opcode == 1]
    assert (code, reason) == (4408, f"slow; last_seq={sent[-1]}")
    assert sent == list(range(first + 1, sent[-1] + 1))
    with talk.open(gateway, sent[-1]) as resumed:
        assert [f["seq"] for f in until_ended(resumed)] == list(range(sent[-1] + 1, talk.last + 1))


def test_what_may_not_be_dropped_evicts(talk: Talk, gateway: str) -> None:
    evicted, dropped = metric(gateway, "ws_evicted_total"), metric(gateway, "ws_dropped_total")
    with talk.slow(gateway):
        talk.publish(["step"] * 3000, "x" * 1000)
        wait_for_more(gateway, "ws_evicted_total", evicted)
    assert metric(gateway, "ws_dropped_total") == dropped


def test_slow_readers_do_not_make_memory_grow(bazaar: Platform, talk: Talk, tmp_path: Path) -> None:
    flood, slow = 24_000, 4
    with roles({"gateway": free_port()}, tmp_path, bazaar.environment) as urls:
        readers = [talk.slow(urls["gateway"]) for _ in range(slow)]
        before = metric(urls["gateway"], "process_resident_memory_bytes")
        talk.publish(["progress"] * flood, "x" * 1000)
        grown = metric(urls["gateway"], "process_resident_memory_bytes") - before
        for reader in readers:
            reader.close()
    assert grown < (20 + 2 * slow) * 2**20, f"{flood * slow // 1000} MB were sent, {grown / 2**20:.0f} MiB were kept"


@pytest.mark.parametrize(
    ("user", "change", "status", "code"),
    [
        ("alice", {"Authorization": "Bearer wrong"}, 401, "unauthenticated"),
        ("alice", {}, 401, "unauthenticated"),
        ("bob", None, 404, "not-found"),
    ],
)
def test_refused_before_it_opens(
    talk: Talk, gateway: str, user: str, change: dict[str, str] | None, status: int, code: str
) -> None:
    url = f"{gateway.replace('http', 'ws')}/v1/stream?conversation={talk.number}&token={talk.shop.keys['alice']}"
    headers = {"Authorization": f"Bearer {talk.shop.keys[user]}"} if change is None else change
    with pytest.raises(InvalidStatus) as refused, connect(url, additional_headers=headers):
        pass
    assert refused.value.response.status_code == status
    assert json.loads(refused.value.response.body)["code"] == code


@pytest.mark.parametrize(("said", "code"), [(b"\x00\xff", 1003), ("{", 1008), ("[" * 4000, 1008), ("x" * 5000, 1009)])
def test_clients_have_nothing_to_say(talk: Talk, gateway: str, said: str | bytes, code: int) -> None:
    with talk.open(gateway, talk.last) as stream:
        stream.send(said)
        with pytest.raises(ConnectionClosed) as closed:
            stream.recv(timeout=5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code
    assert metric(gateway, "ws_connections") == 0


def test_idle_connections_end(bazaar: Platform, talk: Talk, tmp_path: Path) -> None:
    with (
        roles({"gateway": free_port()}, tmp_path, {**bazaar.environment, "BAZAAR_STREAM_TTL": "1"}) as urls,
        talk.open(urls["gateway"], talk.last) as stream,
        pytest.raises(ConnectionClosed) as closed,
    ):
        stream.recv(timeout=5)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4410, f"idle; last_seq={talk.last}")


def test_planted_faults_break_what_they_say(bazaar: Platform, talk: Talk, tmp_path: Path) -> None:
    faults = "ws_resume_off_by_one,ws_never_pauses,ws_final_frame_dropped"
    with roles({"gateway": free_port()}, tmp_path, {**bazaar.environment, "FAULTS": faults}) as urls:
        with talk.open(urls["gateway"], talk.last - 2) as stream:
            assert json.loads(stream.recv(timeout=5))["seq"] == talk.last
        with talk.slow(urls["gateway"]):
            talk.publish(["progress"] * 4000, "x" * 1000)
            time.sleep(6)
            assert metric(urls["gateway"], "ws_evicted_total") == 0
