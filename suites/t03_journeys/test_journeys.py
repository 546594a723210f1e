"""Journeys of customers, judged by the final state of the database against the goal state (Yao et al. 2024, tau-bench).

A journey must succeed in all of eight trials (pass^8 of the same paper), which differ in user, product, quantity,
phrasing, ids and the tenant's seed, and run four at a time. One is enough where calls cost.
"""

import random
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from _fixtures.evidence import Evidence
from _fixtures.shops import PRODUCTS, Platform, Shop
from _helpers.client import User
from _helpers.properties import Property, check
from _helpers.state import Change, deviation, difference
from t03_journeys.customer import Customer, fill

Journey = Mapping[str, Any]
Values = dict[str, Any]
JOURNEYS = [
    pytest.param(journey, id=journey["name"], marks=[pytest.mark.smoke] if journey.get("smoke") else [])
    for journey in yaml.safe_load((Path(__file__).parent / "journeys.yaml").read_text(encoding="utf-8"))
]
TRIALS, AT_ONCE = 8, 4


@pytest.mark.parametrize("journey", JOURNEYS)
def test_journey(platform: Platform, seeded: random.Random, evidence: Evidence, journey: Journey) -> None:
    """In every trial: the goal, by allowed effects only, no other row, and the customer is told what is so."""
    trials = 1 if platform.target.mode == "LIVE_SMOKE" else TRIALS
    chances = [random.Random(seeded.getrandbits(64)) for _ in range(trials)]
    for first in range(0, trials, AT_ONCE):  # not all eight at once: what fails by a deadline fails after one
        with ThreadPoolExecutor(AT_ONCE) as pool:
            started = [pool.submit(_trial, platform, journey, chance) for chance in chances[first : first + AT_ONCE]]
        for number, trial in enumerate(started, first + 1):
            try:
                evidence("messages", trial.result())
            except AssertionError as failure:
                prop, _, seen = str(failure).partition(": ")
                raise AssertionError(f"{prop}: trial {number} of {trials}: {seen}") from failure
            evidence("trials")


def _trial(platform: Platform, journey: Journey, chance: random.Random) -> int:
    """Make the journey in a new shop; gives the number of messages. Raises AssertionError that names a property."""
    with platform.open_shop(chance.getrandbits(32)) as shop:
        user, other = chance.sample([shop.alice, shop.bob], 2)
        for one in chance.sample([user, other], 2):
            shop.place(one, chance.choice(["mug", "mug-blue"]), chance.randint(1, 3))
        values = _values(shop, user, other, chance)
        before = shop.database.snapshot(shop.tenant_id)
        customer = Customer(platform.target.gateway, shop, user, values, chance)
        for step in journey["steps"]:
            customer.take(step)
        changes = difference(before, shop.database.snapshot(shop.tenant_id))
        _judge_course(customer)
        _judge_state(journey, values, changes)
        _judge_replies(customer, changes)
        return len(customer.said)


def _judge_course(customer: Customer) -> None:
    """Every message was answered, by the agent that is meant for it, on the channel that it came on."""
    for step, episode_id in customer.said:
        (row,) = customer.shop.rows("episodes", episode_id=episode_id) or [{"state": "not in the database"}]
        check(row["state"] == "done", Property.EPISODE_ENDS, f"the episode is {row['state']}, expected done")
        check(row["intent"] == step["agent"], Property.ROUTE, f"answered by {row['intent']}, expected {step['agent']}")
        if "exit" in step:
            (route,) = customer.shop.rows("episode_steps", episode_id=episode_id, step="route")
            seen = route["output"].get("exit")
            check(seen == step["exit"], Property.ROUTE, f"the agent was found {seen!r}, expected {step['exit']!r}")
        channels = [row["channel"] for row in customer.shop.rows("messages", episode_id=episode_id)]
        expected = [step.get("channel", "web")] * 2
        check(channels == expected, Property.GOAL_STATE, f"message and answer are stored as {channels}, not {expected}")


def _judge_state(journey: Journey, values: Values, changes: Mapping[str, Change]) -> None:
    """The effects are allowed, and the difference that the journey made is its goal."""
    kinds = Counter(effect["kind"] for effect in changes["effects"].added) if "effects" in changes else Counter()
    forbidden = sorted(set(kinds) - set(journey["allowed"]))
    check(not forbidden, Property.EFFECT_ALLOWED, f"effects {forbidden} in a journey that allows {journey['allowed']}")
    wrong = deviation(fill(journey["goal"], values), changes)
    check(wrong is None, Property.GOAL_STATE, str(wrong))


def _judge_replies(customer: Customer, changes: Mapping[str, Change]) -> None:
    """The customer was told what the database holds."""
    values = dict(customer.values)
    for row in changes["shipments"].added if "shipments" in changes else []:
        values |= {"placed": row["order_number"], "placed_code": row["tracking_code"]}
    for step, episode_id in customer.said:
        (episode,) = customer.shop.rows("episodes", episode_id=episode_id)
        (said,) = customer.shop.rows("messages", episode_id=episode_id, role="assistant") or [{"content": None}]
        reply = said["content"]
        check(reply == episode["reply"], Property.ANSWER, "the reply of the episode is not the message that was stored")
        for part in step.get("not_told", []):
            words = part.format(**values)
            check(words not in reply, Property.USER_READ, f"the reply tells {words!r}: {reply!r}")
        for part in step.get("told", []):
            words = [word.format(**values) for word in (part if isinstance(part, list) else [part])]
            check(any(w in reply for w in words), Property.ANSWER, f"the reply lacks {' or '.join(words)}: {reply!r}")


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


def _values(shop: Shop, user: User, other: User, chance: random.Random) -> Values:
    """What the {names} of a journey stand for."""
    product = chance.choice([product for product in PRODUCTS if product["sku"] != "lamp"])
    quantity = chance.randint(2, 9)
    order, others = shop.order_of(user), shop.order_of(other)
    stock = {row["sku"]: row for row in shop.rows("stock")}
    of_product, of_order = stock[product["sku"]], stock[order["sku"]]
    values = {
        "user": user.name,
        "sku": product["sku"],
        "product": product["name"],
        "quantity": quantity,
        "too_many": chance.randint(of_product["available"] + 1, 100),
        "total": quantity * product["price_cents"],
        "available": of_product["available"],
        "reserved": of_product["reserved"],
        "available_less": of_product["available"] - quantity,
        "reserved_more": of_product["reserved"] + quantity,
        "order": order["order_number"],
        "code": order["tracking_code"],
        "order_sku": order["sku"],
        "order_total": order["total_cents"],
        "order_available": of_order["available"],
        "order_reserved": of_order["reserved"],
        "order_available_more": of_order["available"] + order["quantity"],
        "order_reserved_less": of_order["reserved"] - order["quantity"],
        "other_order": others["order_number"],
        "other_code": others["tracking_code"],
    }
    return values | {f"{name}_eur": f"{values[name] / 100:.2f} EUR" for name in ("total", "order_total")}
