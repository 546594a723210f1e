"""Sagas and journeys: what the shop does for a customer, judged by the rows that are there in the end."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from deliveries import deliver, rewind
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Platform, free_port, roles
from shop import Shop, new_shop

PRODUCTS = [
    {"sku": "mug-blue", "name": "Blue Mug", "price_cents": 1290, "stock": 10, "ships_to": ["DE", "AT"]},
    {"sku": "mug", "name": "Mug", "price_cents": 790, "stock": 10},
]
DOCUMENTS = [
    {"document_id": "returns", "title": "Returns", "body": "You can return goods within 30 days of delivery."},
    {"document_id": "payment", "title": "Payment", "body": "We accept cards, bank transfer and invoice."},
    {"document_id": "hours", "title": "Opening hours", "body": "The service desk is open on weekdays from 8 to 18."},
]
TABLES = (
    "orders",
    "payments",
    "refunds",
    "shipments",
    "leads",
    "notifications",
    "handoffs",
    "stock",
    "effects",
    "ledger",
)


@contextmanager
def open_shop(bazaar: Platform, gateway: str | None = None, seed: int = 1) -> Iterator[Shop]:
    with httpx.Client(base_url=gateway or bazaar.urls["gateway"], timeout=30) as http:
        shop = new_shop(http, bazaar.admin_key, seed, products=PRODUCTS)
        shop.request("POST", "/v1/documents:batch", json={"documents": DOCUMENTS}).raise_for_status()
        yield shop


@pytest.fixture
def big(bazaar: Platform) -> Iterator[Shop]:
    """A shop with documents and two products, one of which is not sold to every country."""
    with open_shop(bazaar) as shop:
        yield shop


@contextmanager
def faulty(bazaar: Platform, names: tuple[str, ...], fault: str, folder: Path) -> Iterator[dict[str, str]]:
    """The roles once more as arm b, with a planted fault."""
    environment = {**bazaar.environment, "BAZAAR_ARM": "b", "FAULTS": fault}
    ports = {name: free_port() for name in names}
    environment |= {f"BAZAAR_{name.upper()}_URL": f"http://127.0.0.1:{port}" for name, port in ports.items()}
    with roles(ports, folder, environment) as urls:
        yield urls


def rows(bazaar: Platform, shop: Shop) -> dict[str, list[dict[str, Any]]]:
    """All rows of the shop's tables, without what says when."""
    with psycopg.connect(bazaar.ops_dsn, autocommit=True) as ops:
        one = "SELECT to_jsonb(t) - 'created_at' - 'tenant_id' AS row FROM {} t WHERE tenant_id = %s"
        ordered = f"SELECT row FROM ({one}) found ORDER BY row::text"
        return {t: [r for (r,) in ops.execute(ordered.format(t), (shop.tenant_id,))] for t in TABLES}


def require_books(found: dict[str, list[dict[str, Any]]]) -> None:
    """The books balance, for each effect and with the orders; no stock is lost."""
    sums: dict[str, int] = {}
    accounts = dict.fromkeys(("receivables", "sales", "cash", "refunds"), 0)
    for row in found["ledger"]:
        amount = row["debit_cents"] - row["credit_cents"]
        sums[row["effect_key"]] = sums.get(row["effect_key"], 0) + amount
        accounts[row["account"]] += amount
    assert set(sums.values()) <= {0}
    by_status = {s: sum(o["total_cents"] for o in found["orders"] if o["status"] == s) for s in ("placed", "refunded")}
    captured = sum(p["amount_cents"] for p in found["payments"] if p["status"] == "captured")
    assert (accounts["receivables"], accounts["cash"]) == (by_status["placed"], captured)
    assert accounts["refunds"] == by_status["refunded"]
    gone = [s["order_number"] for s in found["shipments"] if s["status"] == "shipped"]
    for stock in found["stock"]:
        orders = [o for o in found["orders"] if o["sku"] == stock["sku"]]
        held = sum(o["quantity"] for o in orders if o["status"] in ("placed", "paid"))
        sent = sum(o["quantity"] for o in orders if o["order_number"] in gone)
        assert (stock["reserved"], stock["available"] + held + sent) == (held, 10)


def steps(bazaar: Platform, shop: Shop, episode: dict[str, Any]) -> list[str]:
    with psycopg.connect(bazaar.ops_dsn, autocommit=True) as ops:
        found = ops.execute(
            "SELECT step FROM episode_steps WHERE tenant_id = %s AND episode_id = %s ORDER BY done_at",
            (shop.tenant_id, episode["episode_id"]),
        )
        return [step for (step,) in found]


BUY, DECLINED, REFUSED = (
    "I want to buy 2 Blue Mug and pay with tok_ok, ship it to DE",
    "Please buy 2 Blue Mug and pay with tok_declined, ship to DE",
    "I want to buy 2 Blue Mug and pay with tok_ok, ship it to FR",
)
SAGAS = {
    BUY: ("shipped", ["tool-1", "tool-2", "tool-3"], ["order", "payment", "shipment"], "on its way|shipped"),
    DECLINED: ("cancelled", ["tool-1", "tool-2", "undo-1"], ["order", "cancellation"], "declined"),
    REFUSED: (
        "cancelled",
        ["tool-1", "tool-2", "tool-3", "undo-2", "undo-1"],
        ["order", "payment", "refund", "cancellation"],
        "do not ship this to FR",
    ),
}


@pytest.mark.parametrize("says", SAGAS, ids=["all is well", "payment declined", "shipment refused"])
def test_saga_whatever_is_interrupted(bazaar: Platform, big: Shop, says: str) -> None:
    """A saga ends in its goal state, and again so after an interruption in each of its steps."""
    status, saga, kinds, told = SAGAS[says]
    episode = big.say(says)
    assert episode["state"] == "done"
    assert any(words in episode["reply"] for words in told.split("|")), episode["reply"]
    found = rows(bazaar, big)
    require_books(found)
    assert [order["status"] for order in found["orders"]] == [status]
    assert sorted(effect["kind"] for effect in found["effects"]) == sorted(kinds)
    way = steps(bazaar, big, episode)
    assert way == ["route", "retrieve", "plan", *saga, "compose"]
    if status == "cancelled":
        assert found["stock"][0]["reserved"] == 0
        assert "is placed" not in episode["reply"]
    for number, step in enumerate(way):
        deliver(bazaar, rewind(bazaar, big, episode, step, way[number + 1 :]))
        assert big.wait(episode["episode_id"]) == episode
        assert (rows(bazaar, big), steps(bazaar, big, episode)) == (found, way)


JOURNEYS: dict[str, tuple[list[str], list[str], str]] = {
    "cancel": (["I want to buy 2 Mug", "Please cancel my order"], ["order", "cancellation"], "cancelled"),
    "tracking": (
        ["I want to buy 2 Mug", "Where is my order? Tell me when it arrives"],
        ["order", "notification"],
        "TR",
    ),
    "payment": (
        ["I want to buy 2 Mug", "I would like to pay for my order with tok_visa"],
        ["order", "payment"],
        "15.80",
    ),
    "refund": (
        ["I want to buy 2 Mug and pay with tok_ok", "I want my money back"],
        ["order", "payment", "refund"],
        "15.80 EUR",
    ),
    "lead": (
        [
            "We are interested in the Blue Mug",
            "We need 5, our budget is 80 EUR",
            "Go ahead with the offer",
        ],
        ["lead", "qualification", "conversion"],
        "1001-1",
    ),
    "lead without the budget": (
        ["We are interested in the Blue Mug", "We need 5 of them, our budget is 50 EUR"],
        ["lead"],
        "more than the budget",
    ),
    "handoff": (["I want to talk to a human"], ["handoff"], "here"),
    "suggestion": (["I want to buy 2 Mug"], ["order"], "payment token"),
    "asking back": (["I want to buy a teapot"], [], "product"),
    "context": (["When is the service desk open?", "And on weekdays only?"], [], "8 to 18"),
    "no order": (["Please cancel order 1999-1"], [], "no such order"),
}


@pytest.mark.parametrize("name", JOURNEYS)
def test_journey(bazaar: Platform, big: Shop, name: str) -> None:
    said, kinds, told = JOURNEYS[name]
    body: dict[str, Any] = {}
    for text in said:
        episode = big.say(text, **body)
        assert episode["state"] == "done", text
        # The same conversation, on another channel.
        body = {"conversation": episode["conversation"], "channel": "phone"}
    found = rows(bazaar, big)
    assert sorted(effect["kind"] for effect in found["effects"]) == sorted(kinds)
    assert told in episode["reply"]
    require_books(found)


def asked(bazaar: Platform, trace_id: str) -> list[dict[str, Any]]:
    """What the model was asked in a trace; what a redelivery asked again counts once."""
    calls = httpx.get(f"{bazaar.urls['model']}/ledger", params={"trace_id": trace_id}).json()["calls"]
    return list({call["key"]: call for call in calls}.values())


def test_prompts_do_not_depend_on_the_tenant(bazaar: Platform) -> None:
    """Two tenants with one seed and the same messages ask the model the same, in every step of every saga."""
    said = [BUY, DECLINED, REFUSED, "Where is my order?", "We are interested in the Mug", "How can I return goods?"]
    keys: list[list[tuple[str, str]]] = []
    for seed in (7, 7, 8):
        with open_shop(bazaar, seed=seed) as shop:
            trace_id = uuid4().hex
            for text in said:
                shop.say(text, headers={"traceparent": f"00-{trace_id}-{uuid4().hex[:16]}-01"})
            keys.append([(call["role"], call["key"]) for call in asked(bazaar, trace_id)])
    assert [role for role, _ in keys[0]].count("compose") == len(said)
    assert keys[0] == keys[1]
    assert not {key for _, key in keys[0]} & {key for _, key in keys[2]}


def test_usage_is_what_the_model_counted(bazaar: Platform, big: Shop) -> None:
    trace_id = uuid4().hex
    episode = big.say(BUY, headers={"traceparent": f"00-{trace_id}-{uuid4().hex[:16]}-01"})
    calls = asked(bazaar, trace_id)
    with psycopg.connect(bazaar.ops_dsn) as ops:
        statement = "SELECT prompt_tokens, completion_tokens FROM usage WHERE tenant_id = %s AND episode_id = %s"
        used = ops.execute(statement, (big.tenant_id, episode["episode_id"])).fetchone()
    assert used == tuple(sum(call[kind] for call in calls) for kind in ("prompt_tokens", "completion_tokens"))


class Clerk:
    """Calls tools as the gateway does for a user's commands."""

    def __init__(self, bazaar: Platform, shop: Shop, url: str | None = None) -> None:
        self._http = httpx.Client(base_url=url or bazaar.urls["tools"], headers={"X-Internal-Key": bazaar.internal_key})
        self._shop = shop

    def use(self, tool: str, key: str, user: str = "alice", **arguments: Any) -> dict[str, Any]:
        call = {"tenant_id": self._shop.tenant_id, "user_id": user, "key": f"{user}/{key}", "arguments": arguments}
        answer: dict[str, Any] = self._http.post(f"/tools/{tool}", json=call).raise_for_status().json()
        return answer


ORDER = st.integers(1, 3).map(lambda n: {"order_number": f"1000-{n}"})
COMMANDS = st.tuples(
    st.one_of(
        st.tuples(st.just("place_order"), st.integers(1, 6).map(lambda n: {"sku": "mug-blue", "quantity": n})),
        st.tuples(st.just("pay_order"), ORDER.map(lambda o: o | {"token": "tok_ok"})),
        st.tuples(st.just("ship_order"), ORDER.map(lambda o: o | {"country": "DE"})),
        st.tuples(st.sampled_from(["cancel_order", "refund_order"]), ORDER),
    ),
    st.integers(0, 9),
)


@given(st.lists(COMMANDS, min_size=4, max_size=14))
@settings(max_examples=15, deadline=None)
def test_books_balance_after_any_commands(bazaar: Platform, commands: list[Any]) -> None:
    """In any order, with keys that come again: the books balance and no stock is lost."""
    with open_shop(bazaar) as shop:
        clerk = Clerk(bazaar, shop)
        first: dict[int, tuple[Any, dict[str, Any]]] = {}
        for (tool, arguments), key in commands:
            answer = clerk.use(tool, str(key), **arguments)
            command, earlier = first.get(key, ((tool, arguments), answer))
            conflict = {"ok": False, "code": "idempotency-conflict"}
            assert answer == (earlier if command == (tool, arguments) else conflict)
            if answer["ok"]:
                first[key] = (command, answer)
        require_books(rows(bazaar, shop))


def test_commands_at_the_same_time(bazaar: Platform, big: Shop) -> None:
    """Equal keys have one effect, numbers are given once, and nobody acts on another's order."""
    clerk = Clerk(bazaar, big)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: clerk.use("place_order", f"k{n % 4}", sku="mug", quantity=1), range(16)))
        assert len({answer["order_number"] for answer in answers}) == 4
        paid = list(pool.map(lambda n: clerk.use("pay_order", f"p{n}", order_number="1000-1", token="tok_a"), range(8)))
    assert sorted(answer["ok"] for answer in paid) == [False] * 7 + [True]
    assert clerk.use("cancel_order", "x", "bob", order_number="1000-1") == {"ok": False, "code": "no-such-order"}
    assert clerk.use("place_order", "y", sku="mug", quantity=0) == {"ok": False, "code": "bad-arguments"}
    require_books(rows(bazaar, big))


def test_tenant_removed_while_its_episodes_run(bazaar: Platform) -> None:
    """The removal waits for what is being written and then wins: no deadlock, no dead letter."""
    admin = {"Authorization": f"Bearer {bazaar.admin_key}"}
    tenants = []
    for _ in range(6):
        with open_shop(bazaar) as shop, ThreadPoolExecutor(8) as pool:
            tenants.append(shop.tenant_id)
            sent = [pool.submit(shop.send, text, user) for text in (BUY, REFUSED) for user in ("alice", "bob") * 2]
            sent[0].result().raise_for_status()
            removed = shop.http.delete(f"/v1/admin/tenants/{shop.tenant_id}", headers=admin)
            assert removed.status_code == 204, removed.text
            assert {answer.result().status_code for answer in sent} <= {202, 401}
            found = rows(bazaar, shop)
            assert [table for table in found if found[table]] == []
    with open_shop(bazaar) as shop:
        assert shop.say(BUY)["state"] == "done"
    dead = httpx.get(f"{bazaar.urls['dlq']}/dlq", headers={"X-Internal-Key": bazaar.internal_key}).json()
    assert [letter for letter in dead["messages"] if letter["task"] and letter["task"]["tenant_id"] in tenants] == []


@pytest.mark.parametrize("fault", ["compensation_skipped", "cancel_keeps_stock"])
def test_planted_defects_of_compensation(bazaar: Platform, tmp_path: Path, fault: str) -> None:
    names = ("gateway", "orchestrator", "tools")
    with faulty(bazaar, names, fault, tmp_path) as urls, open_shop(bazaar, urls["gateway"]) as shop:
        assert shop.say(REFUSED if fault == "compensation_skipped" else DECLINED)["state"] == "done"
        stock = {s["sku"]: s["reserved"] for s in rows(bazaar, shop)["stock"]}
    assert stock["mug-blue"] == 2
