"""What must hold of a shop after its load, whatever was killed meanwhile: by the rows, the streams and the history.

The order matters: a test names the first thing that does not hold, and that is the cause rather than what follows.
"""

import json
from collections import Counter
from typing import Any
from uuid import UUID

from _fixtures.shops import Tenant
from _helpers.checkers import History, Kind, conservation, total_queue, whole_set
from _helpers.jetstream import read_stream
from _helpers.properties import Property, check
from _helpers.state import Database
from t07_chaos.letters import letters
from t07_chaos.load import Load

Row = dict[str, Any]
STOCK = 100_000
PRODUCTS: list[Row] = [
    {"sku": "mug", "name": "Mug", "price_cents": 790, "stock": STOCK, "ships_to": ["DE"]},
    {"sku": "mug-blue", "name": "Blue Mug", "price_cents": 1290, "stock": STOCK, "ships_to": ["DE"]},
]
HELD = ("placed", "paid")
"""Orders whose goods are reserved."""


def judge(database: Database, shop: Tenant, load: Load, given_up: bool = False) -> None:
    """Check everything. `given_up` allows tasks to have failed: the fault was longer than the queue's patience."""
    rows = {
        table: database.rows(table, shop.tenant_id)
        for table in ("idempotency_keys", "episodes", "episode_steps", "effects", "orders", "ledger", "stock")
    }
    of = {row["episode_id"]: row["key"] for row in rows["idempotency_keys"]}
    states = {of.get(row["episode_id"], row["episode_id"]): row["state"] for row in rows["episodes"]}
    _accepted(load, of, states, given_up)
    done = {key for key, state in states.items() if state == "done"}
    _given_up(shop, of, states)
    _effects(load, of, rows, done)
    _checkpoints(rows)
    _undone(load, of, rows["orders"], done)
    _money(rows["ledger"], rows["orders"])
    _stock(rows["stock"], rows["orders"])
    _frames(database, shop.tenant_id)


def _accepted(load: Load, of: dict[str, str], states: dict[str, str], given_up: bool) -> None:
    stored = whole_set(load.history, of.values())
    check(not stored.lost, Property.ACCEPTED_THEN_LOST, f"{_some(stored.lost)} acknowledged and not in the database")
    check(not stored.unexpected, Property.EFFECT_ALLOWED, f"{_some(stored.unexpected)} stored and never sent")
    strange = states.keys() - load.tasks.keys()
    check(not strange, Property.EFFECT_ONCE, f"{len(strange)} episodes beyond one for each Idempotency-Key")
    ends = ("done", "failed") if given_up else ("done",)
    ended = Counter(states.get(key) for key in load.seen)
    unfinished = f"{dict(ended)} of {len(load.seen)} acknowledged messages, expected done"
    check(not ended.keys() - set(ends), Property.ACCEPTED_THEN_LOST, unfinished)
    told = [key for key, seen in load.seen.items() if seen.ended_at and seen.state != states.get(key)]
    seen = f"{len(told)} customers are told another state than the database's"
    check(not told, Property.ACCEPTED_THEN_LOST, seen)


def _given_up(shop: Tenant, of: dict[str, str], states: dict[str, str]) -> None:
    failed = {key for key, state in states.items() if state == "failed"}
    kept = {of.get(episode_id) for episode_id in letters(shop.tenant_id)} if failed else set()
    told = f"{len(failed - kept)} of {len(failed)} tasks that were given up are not in the DLQ"
    check(failed <= kept, Property.DEAD_LETTER_KEPT, told)


def _effects(load: Load, of: dict[str, str], rows: dict[str, list[Row]], done: set[str]) -> None:
    """Each kind of effect that a message is to have goes in as a message of its own; what comes out are the rows."""
    asked = History()
    for key in load.history.possible():
        for kind in load.tasks[key].effects:
            asked.note(Kind.INVOKE, f"{key} {kind}")
            asked.note(Kind.OK if key in done else Kind.UNKNOWN, f"{key} {kind}")
    found = total_queue(asked, (f"{of.get(row['episode_id'])} {row['kind']}" for row in rows["effects"]))
    check(not found.lost, Property.EFFECT_KEPT, f"{_some(found.lost)} of messages that are done has no row in effects")
    seen = f"{_some(found.duplicated)} in effects beyond the first, of {len(load.seen)} messages"
    check(not found.duplicated, Property.EFFECT_ONCE, seen)
    check(not found.unexpected, Property.EFFECT_ALLOWED, f"{_some(found.unexpected)} that no message asked for")
    doubled = Counter(of.get(row["episode_id"], "") for row in rows["orders"])
    doubled.subtract(set(doubled))
    check(not +doubled, Property.EFFECT_ONCE, f"{_some(+doubled)} orders beyond the first of their message")


def _checkpoints(rows: dict[str, list[Row]]) -> None:
    """A tool's step that is done tells the result of its effect, which is not younger."""
    effects = {row["key"]: row for row in rows["effects"]}
    for row in rows["episode_steps"]:
        if not row["step"].startswith(("tool-", "undo-")) or row["done_at"] is None or not row["output"]["ok"]:
            continue
        effect = effects.get(f"{row['episode_id']}/{row['step']}")
        if effect is not None:
            same = row["output"] == effect["result"] and str(effect["created_at"]) <= str(row["done_at"])
            check(same, Property.CHECKPOINT, f"{row['step']} was done before its effect, or tells another result")


def _undone(load: Load, of: dict[str, str], orders: list[Row], done: set[str]) -> None:
    wanted = {("order",): "placed", ("order", "payment", "shipment"): "shipped", ("order", "cancellation"): "cancelled"}
    for order in orders:
        key = of[order["episode_id"]]
        if key in done:
            status = wanted[load.tasks[key].effects]
            prop = Property.COMPENSATION if status == "cancelled" else Property.GOAL_STATE
            check(order["status"] == status, prop, f"an order is {order['status']}, expected {status}")


def _money(ledger: list[Row], orders: list[Row]) -> None:
    books = conservation(ledger)
    check(not books.entries, Property.LEDGER_BALANCE, f"{len(books.entries)} entries are out of balance, expected 0")
    sales = sum(row["credit_cents"] - row["debit_cents"] for row in ledger if row["account"] == "sales")
    sold = sum(order["total_cents"] for order in orders if order["status"] != "cancelled")
    check(sales == sold, Property.LEDGER_BALANCE, f"sales are {sales} cents, the orders come to {sold}")
    cash = sum(row["debit_cents"] - row["credit_cents"] for row in ledger if row["account"] == "cash")
    paid = sum(order["total_cents"] for order in orders if order["status"] in ("paid", "shipped"))
    check(cash == paid, Property.LEDGER_BALANCE, f"cash is {cash} cents, the paid orders come to {paid}")


def _stock(stock: list[Row], orders: list[Row]) -> None:
    for row in stock:
        mine = [order for order in orders if order["sku"] == row["sku"]]
        held = sum(order["quantity"] for order in mine if order["status"] in HELD)
        gone = sum(order["quantity"] for order in mine if order["status"] == "shipped")
        seen, wanted = (row["available"], row["reserved"]), (STOCK - held - gone, held)
        check(seen == wanted, Property.STOCK_CONSERVED, f"available and reserved are {seen}, the orders say {wanted}")


def _frames(database: Database, tenant_id: str) -> None:
    """In the stream, each conversation has the frames 1, 2, 3 ... as many as the database counts, in this order."""
    numbers: dict[str, list[int]] = {}
    prefix = f"events.{UUID(tenant_id).hex}."
    for message in read_stream("EVENTS", f"{prefix}*"):
        if message.subject != f"{prefix}audit":
            numbers.setdefault(message.subject.removeprefix(prefix), []).append(json.loads(message.data)["seq"])
    for row in database.rows("conversations", tenant_id):
        seen, wanted = numbers.get(str(row["conversation"]), []), list(range(1, row["frames"] + 1))
        first = next((number for number, right in zip(seen, wanted, strict=False) if number != right), None)
        told = (
            f"{len(seen)} frames in the stream, the database counts {len(wanted)}; the first that is wrong is {first}"
        )
        check(seen == wanted, Property.FRAMES_CONTIGUOUS, told)


def _some(found: Counter[str]) -> str:
    return f"{found.total()} ({', '.join(sorted(found)[:2])}{', ...' if len(found) > 2 else ''})"
