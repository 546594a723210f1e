"""A client that saw no answer sends again. However it does so, the shop acts once."""

import random
from concurrent.futures import ThreadPoolExecutor

from _fixtures.shops import Shop
from _helpers.client import User, accepted
from _helpers.properties import Property, check

ORDER = "I want to buy 2 Blue Mug"


def _orders(shop: Shop, user: User) -> int:
    return len(shop.rows("orders", user_id=user.name))


def _key(seeded: random.Random) -> str:
    return f"key-{seeded.getrandbits(64):x}"


def test_retry_with_the_same_key(shop: Shop, seeded: random.Random) -> None:
    """A retry after the first answer was lost gives the same episode and no second order."""
    key = _key(seeded)
    first = accepted(shop.alice.send(ORDER, key))
    shop.alice.wait(first)
    retried = accepted(shop.alice.send(ORDER, key))
    shop.alice.wait(retried)
    orders = _orders(shop, shop.alice)
    check(orders == 1, Property.EFFECT_ONCE, f"{orders} orders for one Idempotency-Key, expected 1")
    check(retried == first, Property.EFFECT_ONCE, "a retry gave another episode, expected the first one's")


def test_retries_at_the_same_time(shop: Shop, seeded: random.Random) -> None:
    """Retries that overtake the first request still give one order."""
    key = _key(seeded)
    with ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda _: shop.alice.send(ORDER, key), range(8)))
    for episode_id in {accepted(response) for response in responses}:
        shop.alice.wait(episode_id)
    orders = _orders(shop, shop.alice)
    check(orders == 1, Property.EFFECT_ONCE, f"{orders} orders for one Idempotency-Key sent 8 times, expected 1")


def test_same_key_with_another_body(shop: Shop, seeded: random.Random) -> None:
    """A key cannot be used for something else: the second request is refused and changes nothing."""
    key = _key(seeded)
    shop.alice.wait(accepted(shop.alice.send(ORDER, key)))
    episodes = len(shop.rows("episodes"))
    other = shop.alice.send("I want to buy 3 Mug", key)
    new = len(shop.rows("episodes")) - episodes
    check(new == 0, Property.IDEMPOTENCY_CONFLICT, f"{new} new episodes for a used key with another body, expected 0")
    seen = other.status_code, other.json().get("code")
    expected = (409, "idempotency-conflict")
    check(seen == expected, Property.IDEMPOTENCY_CONFLICT, f"another body gave {seen}, expected {expected}")
    orders = _orders(shop, shop.alice)
    check(orders == 1, Property.GOAL_STATE, f"{orders} orders after ordering once, expected 1")


def test_equal_keys_of_two_users(shop: Shop, seeded: random.Random) -> None:
    """Two users who pick the same key do not get in each other's way."""
    key = _key(seeded)
    for user in (shop.alice, shop.bob):
        user.wait(accepted(user.send(ORDER, key)))
    orders = [_orders(shop, user) for user in (shop.alice, shop.bob)]
    check(
        orders == [1, 1], Property.IDEMPOTENCY_SCOPE, f"{orders} orders of two users with equal keys, expected [1, 1]"
    )
