"""Planted faults that no other test shows: each makes a difference that can be seen, and none while it is healthy."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import httpx
import nats
import psycopg
import pytest
from loopback import Platform, free_port, roles
from nats.js.errors import NotFoundError
from pydantic import SecretStr
from shop import Shop, new_shop
from test_steps import World, run

from bazaar import faults
from bazaar.db import Database
from bazaar.orchestrator.llm import ChatModel
from bazaar.orchestrator.ports import Live
from bazaar.orchestrator.steps import Episode
from bazaar.safety.pii import redact_answer

Urls = dict[str, str]
Symptom = Callable[[Platform, Urls, httpx.Client], bool]


def shop_of(bazaar: Platform, http: httpx.Client) -> Shop:
    return new_shop(http, bazaar.admin_key)


def use(bazaar: Platform, urls: Urls, shop: Shop, tool: str, user: str, key: str, **arguments: Any) -> dict[str, Any]:
    """Have the tools role do something as the orchestrator would."""
    call = {"tenant_id": shop.tenant_id, "user_id": user, "key": key, "arguments": arguments}
    headers = {"X-Internal-Key": bazaar.internal_key}
    answer = httpx.post(f"{urls['tools']}/tools/{tool}", json=call, headers=headers, timeout=30)
    result: dict[str, Any] = answer.raise_for_status().json()
    return result


def one_key_places_two_orders(bazaar: Platform, urls: Urls, http: httpx.Client) -> bool:
    shop = shop_of(bazaar, http)
    placed = [use(bazaar, urls, shop, "place_order", "alice", "k", sku="mug", quantity=1) for _ in range(2)]
    return len({result["order_number"] for result in placed}) == 2


def another_order_is_tracked(bazaar: Platform, urls: Urls, http: httpx.Client) -> bool:
    shop = shop_of(bazaar, http)
    own, _ = (
        use(bazaar, urls, shop, "place_order", user, user, sku="mug", quantity=1)["order_number"]
        for user in ("alice", "bob")
    )
    return bool(use(bazaar, urls, shop, "track_order", "alice", "t", order_number=own)["order_number"] != own)


def a_problem_repeats_what_was_sent(bazaar: Platform, urls: Urls, http: httpx.Client) -> bool:
    answer = shop_of(bazaar, http).request("POST", "/v1/messages", json={"text": ["jane.doe@mail.example.org"]})
    assert answer.status_code == 422
    return "jane.doe@" in answer.text


def each_order_is_a_query(bazaar: Platform, urls: Urls, http: httpx.Client) -> bool:
    shop, trace_id = shop_of(bazaar, http), uuid4().hex
    for number in range(3):
        use(bazaar, bazaar.urls, shop, "place_order", "alice", f"k{number}", sku="mug", quantity=1)
    shop.request("GET", "/v1/orders", headers={"traceparent": f"00-{trace_id}-{'1' * 16}-01"}).raise_for_status()

    def asked(spans: list[Any]) -> list[str]:
        return [word for span in spans for word in str(span.attributes.get("db.query.summary", "")).split()]

    spans = bazaar.traces.trace(trace_id, lambda seen: "list_orders" in asked(seen))
    assert asked(spans).count("list_orders") == 1
    return asked(spans).count("find_order") == 3


def a_task_is_gone_while_it_is_worked_on(bazaar: Platform, urls: Urls, http: httpx.Client) -> bool:
    arm = "a" if urls == bazaar.urls else "b"

    async def is_gone() -> bool:
        client = await nats.connect(bazaar.urls["nats"])
        try:
            await client.jetstream().get_last_msg("TASKS", f"tasks.{arm}.message")
        except NotFoundError:
            return True
        else:
            return False
        finally:
            await client.close()

    shop, key = shop_of(bazaar, http), uuid4().hex
    sent = shop.send(f"[[hold {key}]]\nHello").raise_for_status().json()
    model, deadline = bazaar.urls["model"], time.monotonic() + 30
    while all(held["key"] != key for held in httpx.get(f"{model}/holds").json()["holds"]):
        assert time.monotonic() < deadline, "the model was not asked"
        time.sleep(0.05)
    gone = asyncio.run(is_gone())
    httpx.post(f"{model}/holds/{key}/release").raise_for_status()
    assert shop.wait(sent["episode_id"])["state"] == "done"
    return gone


def what_no_tool_did_is_done(bazaar: Platform, urls: Urls, http: httpx.Client) -> bool:
    shop = shop_of(bazaar, http)
    ended = shop.say("I want to buy 2 Mug")
    with psycopg.connect(bazaar.ops_dsn) as ops:
        orders = ops.execute("SELECT FROM bazaar.orders WHERE tenant_id = %s", (shop.tenant_id,)).rowcount
    assert orders == 0, "the tools were not to be reached"
    return bool(ended["state"] == "done")


NO_TOOLS = {"BAZAAR_TOOLS_URL": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("fault", "planted", "surroundings", "symptom"),
    [
        ("no_effect_key", ["tools"], {}, one_key_places_two_orders),
        ("tracking_other_order", ["tools"], {}, another_order_is_tracked),
        ("error_path_not_redacted", ["gateway"], {}, a_problem_repeats_what_was_sent),
        ("query_per_row", ["gateway"], {}, each_order_is_a_query),
        ("ack_before_work", ["gateway", "orchestrator"], {}, a_task_is_gone_while_it_is_worked_on),
        ("checkpoint_before_effect", ["gateway", "orchestrator"], NO_TOOLS, what_no_tool_did_is_done),
    ],
)
def test_over_the_wire(
    bazaar: Platform, tmp_path: Path, fault: str, planted: list[str], surroundings: Urls, symptom: Symptom
) -> None:
    arm = {"BAZAAR_ARM": "b"} if "orchestrator" in planted else {}
    for text in ("", fault):
        if text or surroundings:
            environment = {**bazaar.environment, **arm, **surroundings, "FAULTS": text}
            with (
                roles({role: free_port() for role in planted}, tmp_path, environment) as urls,
                httpx.Client(base_url={**bazaar.urls, **urls}["gateway"], timeout=30) as http,
            ):
                shown = symptom(bazaar, {**bazaar.urls, **urls}, http)
        else:
            with httpx.Client(base_url=bazaar.urls["gateway"], timeout=30) as http:
                shown = symptom(bazaar, bazaar.urls, http)
        assert shown == bool(text)


def two_deliveries_order_twice(bazaar: Platform) -> bool:
    with httpx.Client(base_url=bazaar.urls["gateway"], timeout=30) as http:
        shop = shop_of(bazaar, http)

    async def deliver() -> set[str]:
        headers = {"X-Internal-Key": bazaar.internal_key}
        async with aiohttp.ClientSession(bazaar.urls["tools"], headers=headers) as http:
            ports = Live(http, ChatModel(http, ""), http, Database(SecretStr(bazaar.app_dsn), 1))
            first = Episode(
                tenant_id=UUID(shop.tenant_id),
                episode_id=uuid4(),
                user_id="alice",
                conversation=1,
                seed=7,
                history=[{"role": "user", "content": "Buy."}],
                channel="web",
                delivery=1,
            )
            deliveries, wanted = (first, first.model_copy(update={"delivery": 2})), {"sku": "mug", "quantity": 1}
            return {(await ports.call(e, "tool-1", "place_order", wanted))["order_number"] for e in deliveries}

    return len(asyncio.run(deliver())) == 2


def a_run() -> tuple[Any, Any]:
    """What an episode puts out at its first step, and what the model was last told."""
    world = World({})
    outputs = asyncio.run(run(world, delivery=1))
    return outputs["route"], world.said


def a_clock_is_in_the_prompt(bazaar: Platform) -> bool:
    return bool(a_run()[1] != a_run()[1])


def a_step_is_random(bazaar: Platform) -> bool:
    return bool(a_run()[0] != a_run()[0])


def the_prompt_is_padded(bazaar: Platform) -> bool:
    return "Be brief, be kind and be exact." in json.dumps(a_run()[1])


def a_reply_tells_an_address(bazaar: Platform) -> bool:
    return "jane.doe@" in redact_answer("Write to jane.doe@mail.example.org.")


@pytest.mark.parametrize(
    ("fault", "symptom"),
    [
        ("effect_key_per_delivery", two_deliveries_order_twice),
        ("clock_in_prompt", a_clock_is_in_the_prompt),
        ("random_step", a_step_is_random),
        ("prompt_padding", the_prompt_is_padded),
        ("pii_skips_replies", a_reply_tells_an_address),
    ],
)
def test_in_process(
    bazaar: Platform, monkeypatch: pytest.MonkeyPatch, fault: str, symptom: Callable[[Platform], bool]
) -> None:
    assert not symptom(bazaar)
    monkeypatch.setattr(faults, "_PLANTED", faults.parse(fault))
    assert symptom(bazaar)
