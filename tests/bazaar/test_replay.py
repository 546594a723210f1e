"""Replays: every kind of episode comes out as it was, with no call and no effect, and a changed record is found out."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Platform, free_port, roles
from pydantic import ValidationError
from shop import Shop, new_shop

from bazaar.orchestrator.replay import replay
from bazaar.records import ReplayIn, ReplayOut

CONVERSATIONS = [
    ["How can I return goods?", "And what do you say about payment?"],
    ["I want to buy 2 Blue Mug", "Where is my order?", "Cancel my order", "Where is my order?"],
    ["I want to buy 2 Mug and pay with tok_ok, ship to DE", "I want a refund for my order"],
    ["I want to buy 1 Mug and pay with tok_declined"],
    ["I want to buy 1 Blue Mug and pay with tok_ok, ship to US"],
    ["I want to buy 900 Mug", "Where is order 1001-1?", "Hello"],
    ["We are interested in Mug for our office", "20 of them, the budget is 900 EUR", "Yes, go ahead with the offer"],
    ["I want to talk to a human", "My mail is jane@example.org, I want to buy 3 Mug"],
    ["I want to buy 1 Mug", "Pay my order with tok_ok"],
]
"""Messages of one conversation each: answers, orders, sagas that end well and that are undone, refusals, questions."""


class Nothing:
    """Ports that must not be asked."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a replay of a record asked live for {name}")


def run(record: dict[str, Any], mode: str = "EXACT") -> ReplayOut:
    """Replay in this process, where no port can be asked."""
    nothing: Any = Nothing()
    wish = ReplayIn.model_validate({"record": record, "mode": mode})
    return asyncio.run(replay(wish, nothing))


@pytest.fixture(scope="module")
def told(bazaar: Platform) -> Iterator[tuple[Shop, list[dict[str, Any]]]]:
    """A shop after all conversations, and the records of its episodes."""
    products = [
        {"sku": "mug", "name": "Mug", "price_cents": 790, "stock": 100},
        {"sku": "mug-blue", "name": "Blue Mug", "price_cents": 1290, "stock": 10, "ships_to": ["DE"]},
    ]
    with httpx.Client(base_url=bazaar.urls["gateway"], timeout=30) as http:
        shop = new_shop(http, bazaar.admin_key, products=products)
        documents = [{"document_id": "returns", "title": "Returns", "body": "Goods can be returned for 30 days."}]
        shop.request("POST", "/v1/documents:batch", json={"documents": documents}).raise_for_status()
        records = []
        for number, texts in enumerate(CONVERSATIONS, start=1):
            for turn, text in enumerate(texts):
                body = {"text": text} | ({"conversation": number} if turn else {})
                made = shop.request("POST", "/v1/messages", json=body).raise_for_status().json()
                assert shop.wait(made["episode_id"])["state"] == "done"
                records.append(recorded(bazaar, shop, made["episode_id"]).raise_for_status().json())
        yield shop, records


def recorded(bazaar: Platform, shop: Shop, episode_id: str) -> httpx.Response:
    admin = {"Authorization": f"Bearer {bazaar.admin_key}"}
    path, whose = f"/v1/admin/episodes/{episode_id}/record", {"tenant_id": shop.tenant_id}
    return shop.http.get(path, params=whose, headers=admin)


def replayed(bazaar: Platform, shop: Shop, record: dict[str, Any], mode: str, **config: Any) -> httpx.Response:
    admin = {"Authorization": f"Bearer {bazaar.admin_key}"}
    return shop.http.post("/v1/admin/replay", json={"record": record, "mode": mode, "config": config}, headers=admin)


def snapshot(bazaar: Platform, shop: Shop) -> list[tuple[int, ...]]:
    """How much there is of what a replay must not add to."""
    with psycopg.connect(bazaar.ops_dsn, autocommit=True) as ops:
        tables = ("effects", "ledger", "orders", "messages", "episode_steps", "outbox", "usage")
        query = "SELECT " + ", ".join(f"(SELECT count(*) FROM bazaar.{t} WHERE tenant_id = %(t)s)" for t in tables)
        rows = ops.execute(query, {"t": shop.tenant_id}).fetchall()
    calls: list[dict[str, Any]] = []
    while page := httpx.get(
        f"{bazaar.urls['model']}/ledger", params={"since": calls[-1]["sequence"] if calls else 0}
    ).json()["calls"]:
        calls += page
    return [*rows, (len(calls),)]


def test_every_episode_is_replayed_exactly(bazaar: Platform, told: tuple[Shop, list[dict[str, Any]]]) -> None:
    shop, records = told
    assert len(records) >= 18
    paths = {tuple(step["step"] for step in record["steps"]) for record in records}
    assert any("undo-1" in path for path in paths)
    assert any("tool-3" in path for path in paths)
    before = snapshot(bazaar, shop)
    for record in records:
        out = replayed(bazaar, shop, record, "EXACT").raise_for_status().json()
        assert (out["equal"], out["first_difference"]) == (True, None), out
        assert [(s["step"], s["state"]) for s in out["steps"]] == [(s["step"], s["state"]) for s in record["steps"]]
        assert run(record).equal
    assert snapshot(bazaar, shop) == before


def test_similar_and_adaptive_ask_the_model_and_nothing_else(
    bazaar: Platform, told: tuple[Shop, list[dict[str, Any]]]
) -> None:
    shop, records = told
    before = snapshot(bazaar, shop)
    for record in records:
        similar = replayed(bazaar, shop, record, "SIMILAR").raise_for_status().json()
        assert similar["first_difference"] is None
        config = {"seed": 12345, "agents": {"order": "You sell mugs. Be short."}}
        adaptive = replayed(bazaar, shop, record, "ADAPTIVE", **config).raise_for_status().json()
        assert adaptive["first_difference"] is None
    after = snapshot(bazaar, shop)
    assert after[:-1] == before[:-1]
    assert after[-1] > before[-1]


def test_ids_matter_to_exact_only(bazaar: Platform, told: tuple[Shop, list[dict[str, Any]]]) -> None:
    shop, records = told
    order = next(r for r in records if r["inputs"]["history"][-1]["content"] == CONVERSATIONS[8][0])
    renamed = json.loads(
        json.dumps(order).replace("1009-1", "4711-1").replace(order["inputs"]["episode_id"], str(uuid4()))
    )
    assert renamed != order
    assert run(renamed).first_difference is not None
    assert replayed(bazaar, shop, renamed, "SIMILAR").json()["equal"]


def test_another_goal_is_another_episode(bazaar: Platform, told: tuple[Shop, list[dict[str, Any]]]) -> None:
    """An effect that is refused in the replay is a difference for both."""
    shop, records = told
    record = json.loads(json.dumps(next(r for r in records if len(r["steps"]) == 5)))
    call = next(call for step in record["steps"] if step["step"] == "tool-1" for call in step["calls"])
    call["answer"] = {"ok": False, "code": "out-of-stock", "sku": "mug", "quantity": 2}
    for mode in ("SIMILAR", "ADAPTIVE"):
        assert replayed(bazaar, shop, record, mode).json()["first_difference"] is not None


def test_only_what_fits_is_replayed(bazaar: Platform, told: tuple[Shop, list[dict[str, Any]]]) -> None:
    shop, records = told
    assert replayed(bazaar, shop, records[0], "EXACT", seed=1).json()["code"] == "refused"
    assert replayed(bazaar, shop, records[0], "ADAPTIVE", agents={"nobody": "x"}).json()["code"] == "refused"
    assert replayed(bazaar, shop, {**records[0], "version": 2}, "EXACT").status_code == 422
    assert recorded(bazaar, shop, str(uuid4())).json()["code"] == "not-found"
    other = new_shop(shop.http, bazaar.admin_key)
    assert recorded(bazaar, other, records[0]["inputs"]["episode_id"]).json()["code"] == "not-found"
    direct = httpx.post(f"{bazaar.urls['orchestrator']}/replay", json={"record": records[0], "mode": "EXACT"})
    assert direct.status_code == 401


def test_replay_that_echoes_finds_nothing(
    bazaar: Platform, told: tuple[Shop, list[dict[str, Any]]], tmp_path: Path
) -> None:
    """The planted fault has its effect: a changed record passes."""
    changed = json.loads(json.dumps(told[1][0]))
    changed["steps"][-1]["output"]["text"] += "!"
    assert not run(changed).equal
    environment = {**bazaar.environment, "BAZAAR_ARM": "b", "FAULTS": "replay_echoes_record"}
    with roles({"orchestrator": free_port()}, tmp_path, environment) as urls:
        key = {"X-Internal-Key": bazaar.internal_key}
        wish = {"record": changed, "mode": "EXACT"}
        assert httpx.post(f"{urls['orchestrator']}/replay", json=wish, headers=key).json()["equal"]


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of everything in a JSON value that a byte can change: texts, numbers, booleans, nulls and names."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield (*path, (name,))
            yield from leaves(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_one_changed_byte_is_named_at_its_step(told: tuple[Shop, list[dict[str, Any]]], data: st.DataObject) -> None:
    record = next(r for r in told[1] if any(step["step"] == "undo-1" for step in r["steps"]))
    path = data.draw(st.sampled_from([path for path in leaves(record) if path[0] != "version"]))
    changed = json.loads(json.dumps(record))
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    last = path[-1]
    if isinstance(last, tuple):  # the name of a field
        parent[data.draw(altered(last[0]))] = parent.pop(last[0])
    else:
        parent[last] = data.draw(altered(parent[last]))
    if changed == record:
        return
    try:
        out = run(changed)
    except ValidationError:
        return  # it is no record any more, and is refused as a whole
    assert out.first_difference is not None
    where = record["steps"][path[1]]["step"] if path[0] == "steps" and len(path) > 1 else "inputs"
    assert out.first_difference.step == where


def altered(value: Any) -> st.SearchStrategy[Any]:
    """The value with one byte of its JSON changed, if that is possible."""
    if isinstance(value, str):
        places = st.integers(0, max(len(value) - 1, 0))
        letters = st.sampled_from("abcXYZ019 -.\u00e9")
        return st.tuples(places, letters).map(lambda p: value[: p[0]] + p[1] + value[p[0] + 1 :])
    if isinstance(value, bool) or value is None:
        return st.sampled_from([True, False, None])
    return st.integers(0, 9).map(lambda digit: type(value)(str(value)[:-1] + str(digit)))
