"""What the platform says beside its answers: tasks, events, dead letters and WebSocket frames."""

import json
import random
from typing import Any
from uuid import UUID

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform, Shop
from _helpers.frames import connect_stream
from _helpers.properties import Property, check
from t02_contract.wire import check_schema, listening, read
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

SAID = ("I want to buy 2 Blue Mug", "How can I return goods?", "Where is my order?", "I need to talk to a human")
SECONDS = 15.0
DEAD_SECONDS = 40.0


def talk(shop: Shop, seeded: random.Random) -> list[dict[str, Any]]:
    """A conversation of three messages."""
    first = shop.alice.say(seeded.choice(SAID))
    return [first, *(shop.alice.say(seeded.choice(SAID), first["conversation"]) for _ in range(2))]


def test_tasks_and_events(shop: Shop, seeded: random.Random, evidence: Evidence) -> None:
    """A task for each message; the frames of the conversation, as many as the database counts, without a gap."""
    tenant = UUID(shop.tenant_id)
    with listening("tasks.>", f"events.{tenant.hex}.>") as heard:
        episodes = talk(shop, seeded)
        conversation = episodes[0]["conversation"]
        (row,) = shop.rows("conversations", conversation=conversation)
        events = f"events.{tenant.hex}.{conversation}"
        messages = heard.until(lambda seen: sum(m.subject == events for m in seen) >= row["frames"], SECONDS)
    tasks = [m for m in messages if m.subject.startswith("tasks.") and shop.tenant_id.encode() in m.data]
    sent = [read("task", m.data)["episode_id"] for m in tasks]
    expected = [episode["episode_id"] for episode in episodes]
    check(sorted(set(sent)) == sorted(expected), Property.MESSAGE_SCHEMA, f"{len(sent)} tasks for 3 messages")
    frames = [read("frame", m.data) for m in messages if m.subject == events]
    numbers = [frame["seq"] for frame in frames]
    wanted = list(range(1, row["frames"] + 1))
    seen = f"frames {numbers[:20]} of {row['frames']} that the database counts"
    check(numbers == wanted, Property.FRAMES_CONTIGUOUS, seen)
    kinds = {frame["type"] for frame in frames}
    check(kinds >= {"started", "step", "message", "ended"}, Property.MESSAGE_SCHEMA, f"only frames {sorted(kinds)}")
    others = [m for m in messages if m.subject.startswith("events.") and m.subject != events]
    for message in others:
        read("audit", message.data)
    evidence("messages", len(tasks) + len(frames) + len(others))


def test_audit_heads(shop: Shop, evidence: Evidence) -> None:
    """The heads of the audit chain that go out are entries of the chain."""
    tenant = UUID(shop.tenant_id)
    with listening(f"events.{tenant.hex}.audit") as heard:
        for number in range(16):
            body = {"documents": [{"document_id": f"doc-{number}", "title": "a", "body": "b"}]}
            shop.alice.request("POST", "/v1/documents:batch", json=body).raise_for_status()
        shop.alice.say("How can I pay?")
        messages = heard.until(lambda seen: len(seen) >= 1, SECONDS)
    check(bool(messages), Property.AUDIT_CHAIN, "0 heads of the audit chain after 16 entries, expected 1 at least")
    for message in messages:
        head = read("audit", message.data)
        (row,) = shop.rows("audit", sequence=head["sequence"]) or [{"hash": "not there"}]
        same = row["hash"].removeprefix("\\x") == head["hash"]
        check(same, Property.AUDIT_CHAIN, f"the head {head['sequence']} is not the hash of the entry")
    evidence("messages", len(messages))


@pytest.mark.mock_only
def test_dead_letter(shop: Shop, platform: Platform, evidence: Evidence) -> None:
    """A task that fails every time leaves an advisory and a dead letter that say so."""
    given_up = [f"$JS.EVENT.ADVISORY.CONSUMER.{kind}.TASKS.>" for kind in ("MAX_DELIVERIES", "MSG_TERMINATED")]
    with listening("dlq.>", *given_up) as heard:
        sent = shop.alice.send("[[error 500]] How can I return goods?").json()["episode_id"]
        mine = sent.encode()
        messages = heard.until(lambda seen: any(mine in m.data for m in seen if m.subject[:4] == "dlq."), DEAD_SECONDS)
    dead = [m for m in messages if m.subject.startswith("dlq.") and mine in m.data]
    check(
        len(dead) == 1, Property.DEAD_LETTER_KEPT, f"{len(dead)} dead letters of a task that always fails, expected 1"
    )
    read("task", dead[0].data)
    headers = dict(dead[0].headers or {})
    check_schema("dead", headers)
    told = [read("advisory", m.data) for m in messages if m.subject.startswith("$JS.")]
    sequences = [advisory["stream_seq"] for advisory in told]
    known = int(headers["Dead-Sequence"]) in sequences
    check(known, Property.MESSAGE_SCHEMA, f"no advisory of the dead letter's sequence {headers['Dead-Sequence']}")
    shop.alice.wait(sent)  # the letter goes out before the episode's end is written
    (row,) = shop.rows("episodes", episode_id=sent)
    check(row["state"] == "failed", Property.GOAL_STATE, f"the episode of a dead letter is {row['state']}, not failed")
    evidence("messages", 1 + len(told))


def test_frames_of_a_stream(shop: Shop, platform: Platform, seeded: random.Random, evidence: Evidence) -> None:
    """A client gets every frame of the conversation, live and again, each as its schema says."""
    first = shop.alice.say(seeded.choice(SAID))
    conversation = first["conversation"]
    with connect_stream(platform.target.gateway, shop.alice.key, f"conversation={conversation}") as live:
        last = shop.alice.say(seeded.choice(SAID), conversation)
        frames = _frames_until(live, last["episode_id"])
    (row,) = shop.rows("conversations", conversation=conversation)
    numbers = [frame["seq"] for frame in frames]
    check(
        numbers == list(range(1, row["frames"] + 1)),
        Property.FRAMES_CONTIGUOUS,
        f"frames {numbers[:20]} of {row['frames']} that the database counts",
    )
    told = next((f["data"]["text"] for f in reversed(frames) if f["type"] == "message"), None)
    stored = shop.rows("messages", episode_id=last["episode_id"], role="assistant")[0]["content"]
    check(told == stored, Property.ANSWER, "the message in the stream is not the message that was stored")
    evidence("messages", len(frames))


def _frames_until(live: ClientConnection, episode_id: object) -> list[dict[str, Any]]:
    """Frames up to the end of the episode."""
    frames: list[dict[str, Any]] = []
    for _ in range(10_000):
        try:
            frames.append(read("frame", live.recv(SECONDS)))
        except TimeoutError:
            break
        if frames[-1]["type"] == "ended" and frames[-1]["episode_id"] == episode_id:
            break
    return frames


@pytest.mark.parametrize(
    ("garbage", "codes"),
    [
        ("hello", {1007, 1008}),
        (b"\x00\xff" * 50, {1003, 1007, 1008}),
        ('{"type": "ended", "seq": 1}', {1007, 1008}),
        ("[" * 1000, {1007, 1008}),
        ("a" * 10**7, {1006, 1007, 1008, 1009}),
    ],
    ids=["text", "bytes", "a frame", "deep JSON", "10 MB"],
)
def test_garbage_ends_the_stream_only(
    shop: Shop, platform: Platform, evidence: Evidence, garbage: str | bytes, codes: set[int]
) -> None:
    """A client may say nothing: it is told why it is sent away, and its conversation goes on, whole."""
    first = shop.alice.say("How can I pay?")
    conversation = first["conversation"]
    query = f"conversation={conversation}"
    (before,) = shop.rows("conversations", conversation=conversation)
    with connect_stream(platform.target.gateway, shop.alice.key, f"{query}&last_seq={before['frames']}") as live:
        code = 0
        try:
            live.send(garbage)
            live.recv(SECONDS)
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else 1006
        except TimeoutError:
            code = 0
    check(
        code in codes, Property.PROBLEM_CODE, f"garbage closed the stream with {code}, expected one of {sorted(codes)}"
    )
    last = shop.alice.say("How can I return goods?", conversation)
    with connect_stream(platform.target.gateway, shop.alice.key, query) as again:
        frames = _frames_until(again, last["episode_id"])
    (row,) = shop.rows("conversations", conversation=conversation)
    whole = [frame["seq"] for frame in frames] == list(range(1, row["frames"] + 1))
    check(whole, Property.STREAM_LOST, f"{len(frames)} frames after garbage, the database counts {row['frames']}")
    evidence("messages", len(frames))


@pytest.mark.parametrize(
    ("query", "key", "code"),
    [
        ("conversation={c}", "none", "unauthenticated"),
        ("conversation={c}&key={key}", "none", "unauthenticated"),
        ("conversation={c}", "bob", "not-found"),
        ("conversation=2147483648", "alice", "invalid-request"),
        ("conversation=0", "alice", "invalid-request"),
        ("conversation=x", "alice", "invalid-request"),
        ("conversation={c}&last_seq=-1", "alice", "invalid-request"),
        ("conversation={c}&last_seq=99999999999999999999", "alice", "invalid-request"),
        ("", "alice", "invalid-request"),
    ],
)
def test_stream_is_refused(shop: Shop, platform: Platform, evidence: Evidence, query: str, key: str, code: str) -> None:
    """Before it opens, with a problem like any other request."""
    conversation = shop.alice.say("How can I pay?")["conversation"]
    secret = {"none": "", "alice": shop.alice.key, "bob": shop.bob.key}[key]
    query = query.format(c=conversation, key=shop.alice.key)
    try:
        with connect_stream(platform.target.gateway, secret, query):
            status, media, body = 101, "", b"{}"
    except InvalidStatus as refused:
        response = refused.response
        status, media = response.status_code, response.headers.get("Content-Type", "")
        body = bytes(response.body or b"{}")
    told = (status < 500, media, json.loads(body).get("code"))
    prop = Property.AUTHENTICATION if code == "unauthenticated" else Property.PROBLEM_CODE
    seen = f"a stream with ?{query.partition('&key=')[0]} as {key} gave {status} {told[2]}, expected {code}"
    check(told == (True, "application/problem+json", code), prop, seen)
    evidence("refusals")
