"""The frames of a conversation: numbered without gap, the same after an interruption, and free of personal data."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import nats
import psycopg
import pytest
from deliveries import rewind
from hypothesis import given
from hypothesis import strategies as st
from loopback import Platform, free_port, roles
from shop import Shop

from bazaar.frames import Frames
from bazaar.safety.pii import Redactor, inspect
from bazaar.streams import event_subject


def frames(bazaar: Platform, shop: Shop, conversation: int = 1) -> list[dict[str, Any]]:
    """What EVENTS holds of a conversation, in the stream's order."""

    async def read() -> list[dict[str, Any]]:
        client = await nats.connect(bazaar.urls["nats"])
        try:
            subject = event_subject(UUID(shop.tenant_id), conversation)
            subscription = await client.jetstream().subscribe(subject, ordered_consumer=True)
            found: list[dict[str, Any]] = []
            try:
                while True:
                    found.append(json.loads((await subscription.next_msg(timeout=1)).data))
            except nats.errors.TimeoutError:
                return found
        finally:
            await client.close()

    return asyncio.run(read())


def deliver(bazaar: Platform, task: bytes, arm: str = "a") -> None:
    async def publish() -> None:
        client = await nats.connect(bazaar.urls["nats"])
        try:
            await client.jetstream().publish(f"tasks.{arm}.message", task)
        finally:
            await client.close()

    asyncio.run(publish())


def checked(found: list[dict[str, Any]]) -> list[str]:
    """The types of frames whose numbers count from 1."""
    assert [frame["seq"] for frame in found] == list(range(1, len(found) + 1))
    return [frame["type"] for frame in found]


def test_frames_of_a_conversation(bazaar: Platform, shop: Shop) -> None:
    episode = shop.say("I want to buy 2 Mug")
    found = frames(bazaar, shop)
    types = checked(found)
    assert types[0] == "started"
    assert types[-2:] == ["message", "ended"]
    assert [f["data"]["step"] for f in found if f["type"] == "step"] == [
        "route",
        "retrieve",
        "plan",
        "tool-1",
        "compose",
    ]
    told = [frame["data"]["text"] for frame in found if frame["type"] == "progress"]
    assert len(told) > 1
    assert "".join(told) == found[-2]["data"]["text"] == episode["reply"]
    assert found[-1]["data"] == {"state": "done"}
    second = shop.request("POST", "/v1/messages", json={"text": "Where is my order 1001-1?", "conversation": 1}).json()
    assert shop.wait(second["episode_id"])["state"] == "done"
    more = frames(bazaar, shop)
    assert more[: len(found)] == found
    assert checked(more)[len(found)] == "started"
    assert {frame["episode_id"] for frame in more[len(found) :]} == {second["episode_id"]}


def again(bazaar: Platform, shop: Shop, episode: dict[str, Any], arm: str) -> list[dict[str, Any]]:
    """Interrupt an episode in its step `tool-1`, as a kill would, and let it end; gives the frames of then."""
    before = frames(bazaar, shop)
    counted = next(f["seq"] for f in before if f["data"].get("step") == "tool-1") - 1
    task = rewind(bazaar, shop, episode)
    with psycopg.connect(bazaar.environment["BAZAAR_SUPERUSER_DSN"], autocommit=True) as superuser:
        query = "UPDATE bazaar.conversations SET frames = %s WHERE tenant_id = %s"
        superuser.execute(query, (counted, shop.tenant_id))
    deliver(bazaar, task, arm)
    deadline = time.monotonic() + 20
    while shop.wait(episode["episode_id"]) != episode:
        assert time.monotonic() < deadline
    return before


def test_interrupted_step_repeats_its_frames_unseen(bazaar: Platform, shop: Shop) -> None:
    episode = shop.say("I want to buy 2 Mug")
    before = again(bazaar, shop, episode, "a")
    assert frames(bazaar, shop) == before


def test_frames_without_ids_come_twice(bazaar: Platform, shop: Shop, tmp_path: Path) -> None:
    """The planted fault has its effect."""
    episode = shop.say("I want to buy 2 Mug")
    arm = {"BAZAAR_ARM": "b", "FAULTS": "frames_repeated"}
    with roles({"orchestrator": free_port()}, tmp_path, {**bazaar.environment, **arm}):
        before = again(bazaar, shop, episode, "b")
        numbers = [frame["seq"] for frame in frames(bazaar, shop)]
    assert len(numbers) > len(before)
    assert len(numbers) > len(set(numbers))


def test_flood_is_whole_and_in_order(bazaar: Platform, shop: Shop) -> None:
    episode = shop.say("[[stream n=2000 bytes=200]]\nWhat do you sell?")
    found = frames(bazaar, shop)
    checked(found)
    told = "".join(frame["data"]["text"] for frame in found if frame["type"] == "progress")
    assert told == episode["reply"]
    assert len(told) == 2000 * 200
    assert sum(frame["type"] == "progress" for frame in found) == 2000


class SlowStream:
    """A stand-in for JetStream: takes a frame without a pause, and acknowledges one after the other."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self.published = seconds, 0

    async def publish_async(self, subject: str, payload: bytes, headers: dict[str, str]) -> asyncio.Future[None]:
        self.published += 1
        acknowledgment = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(self.published * self._seconds, acknowledgment.set_result, None)
        return acknowledgment


def test_a_flood_leaves_room_for_others() -> None:
    """A process that answers nobody for two seconds loses its tasks: the server hears no `in progress`."""

    async def flood() -> int:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        others = asyncio.create_task(other())
        async with Frames(SlowStream(0), UUID(int=1), 1, UUID(int=2), 0) as told:  # type: ignore[arg-type]
            for _ in range(50):
                await told.say("word ")
            others.cancel()
            await told.settle()
        return turns

    assert asyncio.run(flood()) >= 50


def test_patience_is_with_each_acknowledgment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many frames on a busy server take longer than one may; a server that is silent is given up."""
    monkeypatch.setattr("bazaar.frames.SETTLE_SECONDS", 0.5)

    async def publish(seconds: float, count: int) -> None:
        async with Frames(SlowStream(seconds), UUID(int=1), 1, UUID(int=2), 0) as told:  # type: ignore[arg-type]
            for _ in range(count):
                await told.publish("progress", text="word")
            await told.settle()

    asyncio.run(publish(0.05, 20))
    with pytest.raises(TimeoutError):
        asyncio.run(publish(2, 1))


WORDS = """call|me|at|+41 44 668 18 00|jane.doe@mail.example.org,|or|pay|4111 1111 1111 1111|ssn|078-05-1120|to
DE89 3704 0044 0532 0130 00|order|1001-1|for|15.80|EUR|from|10.1.2.3""".replace("\n", "|").split("|")


@given(st.lists(st.sampled_from(WORDS), max_size=200), st.lists(st.integers(1, 40), min_size=1))
def test_parts_are_redacted_like_the_whole(words: list[str], sizes: list[int]) -> None:
    text, redactor, told, place, turn = " ".join(words), Redactor(), "", 0, 0
    while place < len(text):
        size = sizes[turn % len(sizes)]
        told += redactor.take(text[place : place + size])
        place, turn = place + size, turn + 1
    assert told + redactor.rest() == inspect(text).redacted
    assert redactor.rest() == ""


def test_first_parts_do_not_wait_for_the_last() -> None:
    redactor = Redactor()
    assert redactor.take("word " * 40).startswith("word word")
    assert redactor.take("a" * 1000) != ""


@pytest.mark.parametrize("text", ["", " ", "a" * 500, "\n" * 500])
def test_parts_without_words(text: str) -> None:
    redactor = Redactor()
    assert redactor.take(text) + redactor.rest() == text
