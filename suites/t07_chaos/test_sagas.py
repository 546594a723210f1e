"""Sagas: what was done before a step that is refused is undone, in the other order, once, and the books balance."""

import random
from itertools import islice

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform, Tenant
from _helpers.properties import Property, check
from t07_chaos.conftest import StartLoad
from t07_chaos.judge import STOCK, judge
from t07_chaos.load import orders

pytestmark = pytest.mark.mock_only
TASKS = 24
TABLES = ("orders", "payments", "effects", "ledger")
SAGAS = {
    "declined": ("pay with tok_declined and ship it to Germany", ["undo-1"], "cancelled", None),
    "not shipped": (
        "pay with tok_visa and ship it to France",
        ["undo-2", "undo-1"],
        "cancelled",
        "refunded",
    ),
    "delivered": ("pay with tok_visa and ship it to Germany", [], "shipped", "captured"),
}
"""What is said besides; the steps that undo, the order's end and that of its payment."""


@pytest.mark.parametrize("saga", SAGAS)
def test_saga_ends(platform: Platform, store: Tenant, evidence: Evidence, saga: str) -> None:
    """The steps that undo are run once, last first; stock and money are where the saga's end says."""
    text, undone, status, payment = SAGAS[saga]
    episode_id = store.users["alice"].say(f"I want to buy 2 Mug, {text}")["episode_id"]
    rows = {table: platform.database.rows(table, store.tenant_id) for table in TABLES}
    steps = sorted(platform.database.rows("episode_steps", store.tenant_id), key=lambda row: str(row["started_at"]))
    seen = [row["step"] for row in steps if row["step"].startswith("undo")]
    check(seen == undone, Property.COMPENSATION, f"steps that undo: {seen}, expected {undone}")
    states = [row["status"] for row in rows["orders"]]
    check(states == [status], Property.COMPENSATION, f"orders are {states}, expected one that is {status}")
    paid = [row["status"] for row in rows["payments"]]
    check(paid == ([payment] if payment else []), Property.COMPENSATION, f"payments are {paid}, expected {payment}")
    balance = sum(row["debit_cents"] - row["credit_cents"] for row in rows["ledger"])
    check(balance == 0, Property.LEDGER_BALANCE, f"debits less credits are {balance} cents, expected 0")
    gone = 2 if status == "shipped" else 0
    (stock,) = platform.database.rows("stock", store.tenant_id, sku="mug")
    left = stock["available"], stock["reserved"]
    check(left == (STOCK - gone, 0), Property.STOCK_CONSERVED, f"available and reserved are {left} after {saga}")
    own = {row["episode_id"] for row in rows["effects"]}
    check(own == {episode_id}, Property.EFFECT_ALLOWED, f"effects of {len(own)} episodes, expected of one")
    evidence("sagas")


def test_sagas_side_by_side(
    platform: Platform, store: Tenant, load: StartLoad, seeded: random.Random, evidence: Evidence
) -> None:
    """Many at once over two products: each is undone or not by itself, and the sums are right."""
    with load(islice(orders(store.tenant_id, seeded, ("saga", "declined")), TASKS), 30) as running:
        running.finish()
    judge(platform.database, store, running)
    evidence("sagas", TASKS)


def test_cancelled_order_is_undone(platform: Platform, store: Tenant, evidence: Evidence) -> None:
    """An order that its customer takes back leaves stock and accounts as they were."""
    alice = store.users["alice"]
    bought = alice.say("I want to buy 2 Mug")
    alice.say("Cancel my order", bought["conversation"])
    states = [row["status"] for row in platform.database.rows("orders", store.tenant_id)]
    check(states == ["cancelled"], Property.GOAL_STATE, f"orders are {states}, expected one that is cancelled")
    (stock,) = platform.database.rows("stock", store.tenant_id, sku="mug")
    left = stock["available"], stock["reserved"]
    check(left == (STOCK, 0), Property.STOCK_CONSERVED, f"available and reserved are {left} after a cancellation")
    accounts: dict[str, int] = {}
    for row in platform.database.rows("ledger", store.tenant_id):
        accounts[row["account"]] = accounts.get(row["account"], 0) + row["debit_cents"] - row["credit_cents"]
    check(not any(accounts.values()), Property.LEDGER_BALANCE, f"accounts after a cancellation: {accounts}, expected 0")
    evidence("sagas")
