"""Several gateways are one gateway: whichever is asked, the answer is the same."""

import random
from collections import Counter
from dataclasses import replace

import httpx
import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Shop
from _fixtures.tenants import MakeTenant
from _helpers.client import accepted
from _helpers.frames import open_stream
from _helpers.properties import Property, check
from _helpers.replicas import replicas

FRAME_SECONDS = 15.0
ORDER = "I want to buy 2 Blue Mug, please"


@pytest.fixture(scope="module")
def gateways() -> list[str]:
    """Base URLs of two gateways."""
    found = replicas("gateway")
    if len(found) < 2:
        pytest.skip(f"inconclusive: {len(found)} gateway is there, and two are to be compared")
    return found[:2]


def test_stream_of_one_has_what_was_sent_through_the_other(
    shop: Shop, gateways: list[str], seeded: random.Random, evidence: Evidence
) -> None:
    """A WebSocket on one gateway gets every frame of a message sent through the other, as the other's own gets it."""
    here, there = seeded.sample(gateways, 2)
    with httpx.Client(base_url=there, timeout=30) as http:
        sender = replace(shop.alice, http=http)
        opened = sender.say("How can I pay?")
        conversation = opened["conversation"]
        with (
            open_stream(here, shop.alice.key, conversation) as near,
            open_stream(there, shop.alice.key, conversation) as far,
        ):
            for stream in (near, far):
                stream.until("ended", FRAME_SECONDS)
            episode_id = accepted(sender.send(ORDER, conversation=conversation))
            for stream in (near, far):
                stream.until("ended", FRAME_SECONDS, state="done")
    numbers = [frame["seq"] for frame in near.frames]
    expected = list(range(1, len(numbers) + 1))
    check(numbers == expected, Property.FRAMES_CONTIGUOUS, f"frames numbered {numbers}, expected 1 to {len(numbers)}")
    kept = [[f for f in stream.frames if f["type"] != "progress"] for stream in (near, far)]
    check(kept[0] == kept[1], Property.STREAM_LOST, "the two gateways told one conversation differently")
    (reply,) = shop.rows("messages", episode_id=episode_id, role="assistant") or [{"content": None}]
    told = [f["data"]["text"] for f in near.frames if f["type"] == "message"][-1]
    check(told == reply["content"], Property.ANSWER, f"the stream told {told!r}, stored is {reply['content']!r}")
    evidence("frames", len(near.frames) + len(far.frames))


def test_key_of_a_message_counts_at_every_gateway(
    shop: Shop, gateways: list[str], seeded: random.Random, evidence: Evidence
) -> None:
    """A retry that reaches another gateway is the same message."""
    key = f"key-{seeded.getrandbits(64):x}"
    episodes = []
    for url in gateways * 2:
        with httpx.Client(base_url=url, timeout=30) as http:
            episodes.append(accepted(replace(shop.alice, http=http).send(ORDER, key)))
    shop.alice.wait(episodes[0])
    check(len(set(episodes)) == 1, Property.EFFECT_ONCE, f"{len(set(episodes))} episodes for one key, expected 1")
    orders = len(shop.rows("orders"))
    check(orders == 1, Property.EFFECT_ONCE, f"{orders} orders for one Idempotency-Key, expected 1")
    evidence("requests", len(episodes))


def test_quota_is_one_for_all_gateways(
    tenant: MakeTenant, gateways: list[str], seeded: random.Random, evidence: Evidence
) -> None:
    """A quota used up at one gateway is used up at the other."""
    limit = seeded.randint(5, 9)
    users = [{"name": "alice", "scopes": ["orders:read"]}]
    alice = tenant(quota={"limit": limit, "window": 3600}, users=users).users["alice"]
    said: Counter[int] = Counter()
    with httpx.Client(base_url=gateways[0]) as one, httpx.Client(base_url=gateways[1]) as two:
        for number in range(2 * limit):
            said[replace(alice, http=(one, two)[number % 2]).request("GET", "/v1/orders").status_code] += 1
    expected = {200: limit, 429: limit}
    check(said == expected, Property.QUOTA_EXACT, f"two gateways answered {dict(said)}, expected {expected}")
    evidence("requests", 2 * limit)
