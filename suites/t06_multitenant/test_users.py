"""Users of one tenant: each is told of the own orders, by whatever way another's are asked for."""

import random

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Shop
from _helpers.properties import Property, check


@pytest.mark.parametrize("asker", ["alice", "bob"])
def test_conversation_tells_of_ones_own_orders(
    shop: Shop, seeded: random.Random, asker: str, evidence: Evidence
) -> None:
    """Asked by another's order number, or with no number by who has none, the shop tells nothing of it."""
    user, other = shop.user(asker), shop.user({"alice": "bob", "bob": "alice"}[asker])
    shop.place(other, "mug", seeded.randint(1, 5))
    code = shop.order_of(other)["tracking_code"]
    texts = [f"Where is my order {shop.order_of(other)['order_number']}?", "Where is my order?"]
    for text in texts:
        _silent(shop, user.say(text), code)
    shop.place(user, "mug-blue", 1)
    own = shop.order_of(user)
    reply = user.say(f"Where is my order {own['order_number']}?")
    _silent(shop, reply, code)
    told = own["tracking_code"] in (reply["reply"] or "")
    check(told, Property.ANSWER, f"a user is not told of the own order: {reply['reply']!r}")
    evidence("messages", len(texts) + 1)


def _silent(shop: Shop, episode: dict[str, str], code: str) -> None:
    told = code in (episode["reply"] or "")
    check(not told, Property.USER_READ, f"the reply tells another user's tracking code: {episode['reply']!r}")
    steps = str(shop.rows("episode_steps", episode_id=episode["episode_id"]))
    check(code not in steps, Property.USER_READ, "a step for a user holds another user's tracking code")
