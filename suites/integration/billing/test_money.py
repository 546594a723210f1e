"""Money: prices times quantities, payments, refunds and cancellations, in a ledger of double entries."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform, Tenant
from _fixtures.tenants import MakeTenant
from _helpers.client import User
from _helpers.properties import Property, check

ENDS = {
    "placed": [],
    "paid": ["payments"],
    "refunded": ["payments", "refunds"],
    "cancelled": [":cancel"],
    "cancelled-paid": ["payments", ":cancel"],
    "cancelled-refunded": ["payments", "refunds", ":cancel"],
}
"""What is done to an order that was placed."""
OWED = {
    "placed": {"receivables": 1, "sales": -1},
    "paid": {"cash": 1, "sales": -1},
    "refunded": {"refunds": 1, "sales": -1},
}
"""What an order adds to the accounts, in times of its total; nothing if it was cancelled."""


def _command(user: User, path: str, body: dict[str, Any] | None, key: str) -> dict[str, Any]:
    response = user.request("POST", f"/v1/orders{path}", json=body, headers={"Idempotency-Key": key})
    ok = response.status_code in (200, 201)
    check(ok, Property.GOAL_STATE, f"POST /v1/orders{path[-9:]} gave {response.status_code}, expected 200 or 201")
    order: dict[str, Any] = response.json()
    return order


def _end_at(user: User, end: str, sku: str, quantity: int, seeded: random.Random) -> dict[str, Any]:
    """Place an order and bring it to an end; gives it as the API tells it last."""
    order = _command(user, "", {"sku": sku, "quantity": quantity}, f"place-{seeded.getrandbits(64):x}")
    for step in ENDS[end]:
        separator = "" if step.startswith(":") else "/"
        body = {"token": "tok_visa"} if step == "payments" else None
        path = f"/{order['order_number']}{separator}{step}"
        order = _command(user, path, body, f"{step.strip(':')}-{seeded.getrandbits(64):x}")
    return order


def _balances(platform: Platform, made: Tenant, keys: set[str] | None = None) -> Counter[str]:
    """Debits minus credits of each account, of all effects or of those with the given keys; zeros are left out."""
    balances: Counter[str] = Counter()
    for row in platform.database.rows("ledger", made.tenant_id):
        if keys is None or row["effect_key"] in keys:
            balances[row["account"]] += row["debit_cents"] - row["credit_cents"]
    return Counter({account: cents for account, cents in balances.items() if cents})


@pytest.mark.parametrize("end", ENDS)
def test_accounts_hold_what_the_order_is_worth(
    platform: Platform, tenant: MakeTenant, seeded: random.Random, evidence: Evidence, end: str
) -> None:
    """Wherever an order ends, its accounts hold price times quantity where they should, and sum to zero."""
    made = tenant(seed=seeded.getrandbits(31))
    (product,) = platform.database.rows("products", made.tenant_id, sku=(sku := seeded.choice(["mug", "mug-blue"])))
    quantity = seeded.randint(1, 9)
    order = _end_at(made.users["alice"], end, sku, quantity, seeded)
    total = product["price_cents"] * quantity
    told = order["total_cents"]
    check(told == total, Property.GOAL_STATE, f"total {told}, expected {quantity} x {product['price_cents']} = {total}")
    expected = {account: sign * total for account, sign in OWED.get(end, {}).items()}
    seen = dict(_balances(platform, made))
    check(seen == expected, Property.LEDGER_BALANCE, f"{end}: accounts {seen}, expected {expected}")
    rows = platform.database.rows("ledger", made.tenant_id)
    for key in sorted({row["effect_key"] for row in rows}):
        balance = sum(_balances(platform, made, {key}).values())
        check(balance == 0, Property.LEDGER_BALANCE, f"the rows of one effect sum to {balance}, expected 0")
    evidence("ledger-rows", len(rows))


def test_payments_and_refunds_are_the_cash(
    platform: Platform, tenant: MakeTenant, seeded: random.Random, evidence: Evidence
) -> None:
    """Over several orders: cash is what was paid minus what was refunded, receivables are what is not yet paid."""
    made = tenant(seed=seeded.getrandbits(31))
    for end in seeded.sample(sorted(ENDS), len(ENDS)):
        _end_at(made.users["alice"], end, "mug", seeded.randint(1, 5), seeded)
    database, tenant_id = platform.database, made.tenant_id
    orders = database.rows("orders", tenant_id)
    check(len(orders) == len(ENDS), Property.GOAL_STATE, f"{len(orders)} orders are stored, expected {len(ENDS)}")
    paid = sum(row["amount_cents"] for row in database.rows("payments", tenant_id))
    back = sum(row["amount_cents"] for row in database.rows("refunds", tenant_id))
    owed = sum(row["total_cents"] for row in orders if row["status"] == "placed")
    kept = [row for row in orders if row["status"] != "cancelled"]
    balances = _balances(platform, made)
    expected = {"cash": paid - back, "receivables": owed, "sales": -sum(row["total_cents"] for row in kept)}
    for account, cents in expected.items():
        check(balances[account] == cents, Property.LEDGER_BALANCE, f"{account} {balances[account]}, expected {cents}")
    check(sum(balances.values()) == 0, Property.LEDGER_BALANCE, f"accounts sum to {sum(balances.values())}, expected 0")
    evidence("ledger-rows", len(database.rows("ledger", tenant_id)))


@pytest.mark.parametrize("together", [False, True], ids=["one after the other", "together"])
def test_repeated_command_is_charged_once(
    platform: Platform, tenant: MakeTenant, seeded: random.Random, evidence: Evidence, together: bool
) -> None:
    """An order and a payment that are sent four times under one key are one order and one payment."""
    made = tenant(seed=seeded.getrandbits(31))
    alice, key = made.users["alice"], f"once-{seeded.getrandbits(64):x}"

    def four_times(path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        with ThreadPoolExecutor(4 if together else 1) as pool:
            return list(pool.map(lambda _: _command(alice, path, body, key + path[-8:]), range(4)))

    numbers = {order["order_number"] for order in four_times("", {"sku": "mug", "quantity": 2})}
    orders = [row["order_number"] for row in platform.database.rows("orders", made.tenant_id)]
    check(len(orders) == 1, Property.EFFECT_ONCE, f"{len(orders)} orders for one Idempotency-Key, expected 1")
    check(numbers == set(orders), Property.EFFECT_ONCE, f"repetitions were told {len(numbers)} orders, expected 1")
    four_times(f"/{orders[0]}/payments", {"token": "tok_visa"})
    effects = Counter(row["kind"] for row in platform.database.rows("effects", made.tenant_id))
    check(effects == {"order": 1, "payment": 1}, Property.EFFECT_ONCE, f"effects {dict(effects)}, expected one of each")
    evidence("requests", 8)
