"""Who is served what: nobody without a key, and nobody another's order."""

import random

from _fixtures.shops import Platform, Shop
from _helpers.client import User
from _helpers.properties import Property, check


def test_wrong_key_is_refused(shop: Shop) -> None:
    """A key with one character changed opens nothing, and a message sent with it does not exist; the right key does."""
    last = "A" if shop.alice.key[-1] != "A" else "B"
    stranger = User("stranger", shop.alice.key[:-1] + last, shop.alice.http)
    shop.order_once_each()
    number = shop.order_of(shop.alice)["order_number"]
    shop.alice.say(f"Where is my order {number}?")
    messages = len(shop.rows("messages"))
    for response in (
        stranger.send("I want to buy 2 Blue Mug"),
        stranger.request("GET", "/v1/orders"),
        stranger.request("GET", f"/v1/orders/{number}"),
    ):
        seen = f"{response.request.method} with a wrong key gave {response.status_code}, expected 401"
        check(response.status_code == 401, Property.AUTHENTICATION, seen)
    new = len(shop.rows("messages")) - messages
    check(new == 0, Property.AUTHENTICATION, f"{new} messages stored for a wrong key, expected 0")


def test_order_is_served_to_its_user_only(shop: Shop) -> None:
    """A user reads the own order as the database has it; another's is answered like one that does not exist."""
    shop.order_once_each()
    order = shop.order_of(shop.alice)
    own = shop.alice.request("GET", f"/v1/orders/{order['order_number']}")
    check(own.status_code == 200, Property.ANSWER, f"the own order gave {own.status_code}, expected 200")
    wrong = {key: value for key, value in own.json().items() if key in order and order[key] != value}
    check(not wrong and "total_cents" in own.json(), Property.ANSWER, f"the order is served with wrong {sorted(wrong)}")
    other = shop.bob.request("GET", f"/v1/orders/{order['order_number']}")
    missing = shop.bob.request("GET", "/v1/orders/9999-1")
    check(other.status_code == 404, Property.USER_READ, f"another's order gave {other.status_code}, expected 404")
    check(other.text == missing.text, Property.USER_READ, "another's order is answered unlike one that does not exist")
    listed = [o["order_number"] for o in shop.bob.request("GET", "/v1/orders").json()["orders"]]
    expected = [o["order_number"] for o in shop.rows("orders", user_id="bob")]
    check(listed == expected, Property.USER_READ, f"bob is shown the orders {listed}, expected {expected}")
    reply = shop.bob.say(f"Where is order {order['order_number']}?")["reply"]
    told = order["tracking_code"] in (reply or "")
    check(not told, Property.USER_READ, f"the reply tells another's tracking code: {reply!r}")


def test_order_of_another_tenant_is_not_served(shop: Shop, platform: Platform, seeded: random.Random) -> None:
    """An order number that exists in another tenant only is unknown here, by the API and in conversation."""
    with platform.open_shop(seeded.getrandbits(32)) as other:
        shop.order_once_each()
        for _ in range(3):  # numbers are ordinal, so the last of three is unknown to a tenant with two
            other.alice.say("I want to buy 3 Mug")
        foreign = max(str(o["order_number"]) for o in other.rows("orders"))
        known = [o["order_number"] for o in shop.rows("orders")]
        if foreign in known:
            raise RuntimeError(f"order {foreign} exists in both tenants: this test proves nothing")
        own = other.alice.request("GET", f"/v1/orders/{foreign}")
        check(own.status_code == 200, Property.ANSWER, f"the own order gave {own.status_code}, expected 200")
        seen = shop.alice.request("GET", f"/v1/orders/{foreign}")
        check(
            seen.status_code == 404,
            Property.TENANT_READ,
            f"another tenant's order gave {seen.status_code}, expected 404",
        )
        reply = shop.alice.say(f"Where is order {foreign}?")["reply"]
        (shipment,) = other.rows("shipments", order_number=foreign)
        told = shipment["tracking_code"] in (reply or "")
        check(not told, Property.TENANT_READ, f"the reply tells another tenant's tracking code: {reply!r}")
