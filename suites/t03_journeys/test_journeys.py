"""Journeys of customers, judged by the final state of the database against the goal state."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from _fixtures.shops import Shop
from _helpers.properties import Property, check
from _helpers.state import deviation, difference

JOURNEYS = yaml.safe_load((Path(__file__).parent / "journeys.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("journey", JOURNEYS, ids=[journey["name"] for journey in JOURNEYS])
def test_journey(shop: Shop, seeded: random.Random, journey: dict[str, Any]) -> None:
    """The journey ends with its goal, by allowed effects only, and the customer is told what is so."""
    shop.order_once_each()
    user = shop.user(journey["user"])
    values = _values(shop, journey["user"], quantity=seeded.randint(2, 9))
    before = shop.database.snapshot(shop.tenant_id)
    conversation = None
    episodes = []
    for step in journey["steps"]:
        text = seeded.choice(step["says"]).format(**values)
        episodes.append(user.say(text, conversation))
        conversation = episodes[-1]["conversation"]
    changes = difference(before, shop.database.snapshot(shop.tenant_id))

    for step, episode in zip(journey["steps"], episodes, strict=True):
        (row,) = shop.rows("episodes", episode_id=episode["episode_id"]) or [{"state": "not in the database"}]
        check(row["state"] == "done", Property.EPISODE_ENDS, f"the episode is {row['state']}, expected done")
        check(row["intent"] == step["agent"], Property.ROUTE, f"answered by {row['intent']}, expected {step['agent']}")
    kinds = Counter(effect["kind"] for effect in changes["effects"].added) if "effects" in changes else Counter()
    forbidden = sorted(set(kinds) - set(journey["allowed"]))
    check(not forbidden, Property.EFFECT_ALLOWED, f"effects {forbidden} in a journey that allows {journey['allowed']}")
    wrong = deviation(_fill(journey["goal"], values), changes)
    check(wrong is None, Property.GOAL_STATE, f"journey {journey['name']}: {wrong}")
    for step, episode in zip(journey["steps"], episodes, strict=True):
        (said,) = shop.rows("messages", episode_id=episode["episode_id"], role="assistant") or [{"content": None}]
        same = said["content"] == episode["reply"]
        check(same, Property.ANSWER, "the reply that was sent is not the reply that was stored")
        for part in step.get("told", []):
            words = part.format(**values)
            check(words in said["content"], Property.ANSWER, f"the reply lacks {words!r}: {said['content']!r}")
        for part in step.get("not_told", []):
            words = part.format(**values)
            check(words not in said["content"], Property.USER_READ, f"the reply tells {words!r}: {said['content']!r}")


def test_books_balance(shop: Shop, seeded: random.Random) -> None:
    """After several orders the debits equal the credits, and both equal what was sold."""
    for _ in range(3):
        shop.alice.say(f"I want to buy {seeded.randint(1, 5)} {seeded.choice(['Blue Mug', 'Mug'])}")
    rows = shop.rows("ledger")
    debit, credit = (sum(row[side] for row in rows) for side in ("debit_cents", "credit_cents"))
    sold = sum(order["total_cents"] for order in shop.rows("orders"))
    orders = len(shop.rows("orders"))
    check(orders == 3, Property.GOAL_STATE, f"{orders} orders after ordering three times, expected 3")
    check(debit == credit, Property.LEDGER_BALANCE, f"debits {debit}, credits {credit}, expected equal")
    check(debit == sold, Property.LEDGER_BALANCE, f"debits {debit}, orders {sold}, expected equal")


def _values(shop: Shop, name: str, quantity: int) -> dict[str, Any]:
    """What the placeholders of a journey stand for."""
    user = shop.user(name)
    own, other = shop.order_of(user), shop.order_of(shop.bob if user is shop.alice else shop.alice)
    (product,) = shop.rows("products", sku="mug-blue")
    (stock,) = shop.rows("stock", sku="mug-blue")
    return {
        "quantity": quantity,
        "total": quantity * product["price_cents"],
        "available": stock["available"],
        "reserved": stock["reserved"],
        "available_after": stock["available"] - quantity,
        "reserved_after": stock["reserved"] + quantity,
        "own_order": own["order_number"],
        "own_code": own["tracking_code"],
        "other_order": other["order_number"],
        "other_code": other["tracking_code"],
    }


def _fill(goal: Any, values: dict[str, Any]) -> Any:
    """The goal with each "{name}" replaced by its value, type included."""
    if isinstance(goal, dict):
        return {key: _fill(value, values) for key, value in goal.items()}
    if isinstance(goal, list):
        return [_fill(value, values) for value in goal]
    if isinstance(goal, str) and goal.startswith("{"):
        return values[goal[1:-1]]
    return goal
