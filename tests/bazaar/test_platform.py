"""The platform as its clients see it: real servers, real roles, no cluster."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from deliveries import deliver, rewind
from loopback import Platform
from shop import Shop, new_shop


@pytest.fixture
def ops(bazaar: Platform) -> Any:
    with psycopg.connect(bazaar.ops_dsn, autocommit=True) as connection:
        yield connection


def test_order_from_message_to_database(shop: Shop, ops: psycopg.Connection) -> None:
    episode = shop.say("I want to buy 2 Mug")
    assert (episode["state"], episode["intent"]) == ("done", "order")
    orders = shop.request("GET", "/v1/orders").json()["orders"]
    assert [(o["order_number"], o["quantity"], o["total_cents"]) for o in orders] == [("1001-1", 2, 1580)]
    stock = ops.execute("SELECT available, reserved FROM stock WHERE tenant_id = %s", (shop.tenant_id,)).fetchall()
    assert stock == [(8, 2)]
    ledger = "SELECT sum(debit_cents), sum(credit_cents) FROM ledger WHERE tenant_id = %s"
    assert ops.execute(ledger, (shop.tenant_id,)).fetchone() == (1580, 1580)
    steps = "SELECT step FROM episode_steps WHERE tenant_id = %s AND done_at IS NOT NULL ORDER BY started_at, done_at"
    done = [step for (step,) in ops.execute(steps, (shop.tenant_id,))]
    assert done == ["route", "retrieve", "plan", "tool-1", "compose"]


def test_parallel_orders_never_oversell(shop: Shop, ops: psycopg.Connection) -> None:
    with ThreadPoolExecutor(8) as pool:
        states = list(pool.map(lambda _: shop.say("I want to buy 2 Mug")["state"], range(8)))
    assert states == ["done"] * 8
    stock = ops.execute("SELECT available, reserved FROM stock WHERE tenant_id = %s", (shop.tenant_id,)).fetchall()
    assert stock == [(0, 10)]
    assert len(shop.request("GET", "/v1/orders").json()["orders"]) == 5


def test_idempotency_key(shop: Shop) -> None:
    key = {"Idempotency-Key": "k-1"}
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: shop.send("I want to buy 1 Mug", headers=key), range(6)))
    assert len({answer.json()["episode_id"] for answer in answers}) == 1
    assert sorted(answer.headers.get("Idempotency-Replayed", "") for answer in answers) == ["", *["true"] * 5]
    other = shop.send("I want to buy 2 Mug", headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency-conflict")


def test_redelivered_task_has_no_second_effect(bazaar: Platform, shop: Shop, ops: psycopg.Connection) -> None:
    """The tool is called again with the key of an effect that exists, as after a crash before the checkpoint."""
    episode = shop.say("I want to buy 2 Mug")
    call = {
        "tenant_id": shop.tenant_id,
        "user_id": "alice",
        "conversation": episode["conversation"],
        "episode_id": episode["episode_id"],
        "key": f"{episode['episode_id']}/tool-1",
        "arguments": {"sku": "mug", "quantity": 2},
    }
    key = {"X-Internal-Key": bazaar.internal_key}
    again = httpx.post(f"{bazaar.urls['tools']}/tools/place_order", json=call, headers=key).raise_for_status()
    assert again.json()["order_number"] == "1001-1"
    assert ops.execute("SELECT count(*) FROM orders WHERE tenant_id = %s", (shop.tenant_id,)).fetchone() == (1,)
    refused = httpx.post(f"{bazaar.urls['tools']}/tools/place_order", json=call, headers={"X-Internal-Key": "x"})
    assert refused.status_code == 401


def test_interrupted_episode_continues_from_its_checkpoint(bazaar: Platform, shop: Shop) -> None:
    """The finished steps are not asked of the model again, and the effect that had happened does not happen again."""
    episode = shop.say("I want to buy 2 Mug")
    calls = httpx.get(f"{bazaar.urls['model']}/ledger").json()["calls"]
    deliver(bazaar, rewind(bazaar, shop, episode))
    assert shop.wait(episode["episode_id"]) == episode
    since = {"since": calls[-1]["sequence"]}
    again = httpx.get(f"{bazaar.urls['model']}/ledger", params=since).json()["calls"]
    assert [(call["role"], call["key"]) for call in again] == [("compose", calls[-1]["key"])]
    assert [o["order_number"] for o in shop.request("GET", "/v1/orders").json()["orders"]] == ["1001-1"]


def test_step_that_keeps_failing_fails_its_episode(bazaar: Platform, shop: Shop) -> None:
    """After the last delivery the customer is told, and the conversation is free again."""
    episode = shop.say("I want to buy 2 Mug")
    deliver(bazaar, rewind(bazaar, shop, episode, plan={"calls": [{"tool": "no_such_tool", "arguments": {}}]}))
    failed = shop.wait(episode["episode_id"])
    assert (failed["state"], failed["error"]) == ("failed", "step-failed")
    again = {"text": "I want to buy 1 Mug", "conversation": episode["conversation"]}
    assert shop.request("POST", "/v1/messages", json=again).status_code == 202


def test_repeated_and_malformed_tasks_change_nothing(bazaar: Platform, shop: Shop, ops: psycopg.Connection) -> None:
    episode = shop.say("I want to buy 2 Mug")
    task = {"tenant_id": shop.tenant_id, "episode_id": episode["episode_id"]}
    deliver(bazaar, json.dumps(task).encode(), b"not a task")
    assert shop.say("I want to buy 3 Mug")["state"] == "done"
    assert ops.execute("SELECT count(*) FROM orders WHERE tenant_id = %s", (shop.tenant_id,)).fetchone() == (2,)


def test_one_open_episode_per_conversation(shop: Shop) -> None:
    first = shop.send("I want to buy 1 Mug").json()
    body = {"text": "How are you?", "conversation": first["conversation"]}
    codes = {shop.request("POST", "/v1/messages", json=body).status_code for _ in range(2)}
    assert 409 in codes
    assert codes <= {202, 409}
    stranger = shop.request("POST", "/v1/messages", "bob", json=body)
    assert (stranger.status_code, stranger.json()["code"]) == (404, "not-found")


def test_prompts_of_two_tenants_with_one_seed_are_equal(bazaar: Platform) -> None:
    keys = []
    with httpx.Client(base_url=bazaar.urls["gateway"], timeout=30) as http:
        for seed in (7, 7, 8):
            shop = new_shop(http, bazaar.admin_key, seed)
            trace_id = uuid4().hex
            trace = {"traceparent": f"00-{trace_id}-{uuid4().hex[:16]}-01"}
            shop.say("I want to buy 2 Mug", headers=trace)
            ledger = httpx.get(f"{bazaar.urls['model']}/ledger", params={"trace_id": trace_id}).json()
            keys.append([(call["role"], call["key"]) for call in ledger["calls"]])
    assert [role for role, _ in keys[0]] == ["plan", "compose"]
    assert keys[0] == keys[1] != keys[2]


def test_quota_is_exact_under_concurrency(bazaar: Platform) -> None:
    with httpx.Client(base_url=bazaar.urls["gateway"], timeout=30) as http:
        shop = new_shop(http, bazaar.admin_key, quota={"limit": 7, "window": 600})
        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(lambda _: shop.request("GET", "/v1/orders"), range(20)))
    assert sum(a.status_code == 200 for a in answers) == 7
    refused = [a for a in answers if a.status_code == 429]
    assert len(refused) == 13
    assert {a.json()["code"] for a in refused} == {"quota-exceeded"}
    assert all(0 < int(a.headers["Retry-After"]) <= 600 for a in refused)


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"method": "POST", "url": "/v1/messages", "json": {}}, 422, "invalid-request"),
        ({"method": "POST", "url": "/v1/messages", "json": {"text": "a", "extra": 1}}, 422, "invalid-request"),
        ({"method": "POST", "url": "/v1/messages", "json": {"text": "a\x00"}}, 422, "invalid-request"),
        (
            {"method": "POST", "url": "/v1/messages", "json": {"text": "a", "conversation": 2**70}},
            422,
            "invalid-request",
        ),
        (
            {
                "method": "POST",
                "url": "/v1/messages",
                "content": b'{"text": "\\ud800"}',
                "headers": {"Content-Type": "application/json"},
            },
            422,
            "invalid-request",
        ),
        (
            {
                "method": "POST",
                "url": "/v1/messages",
                "content": b"{",
                "headers": {"Content-Type": "application/json"},
            },
            400,
            "malformed-request",
        ),
        ({"method": "GET", "url": "/v1/episodes/not-a-uuid"}, 422, "invalid-request"),
        ({"method": "GET", "url": f"/v1/episodes/{uuid4()}"}, 404, "not-found"),
        ({"method": "GET", "url": "/v1/orders/9999-1"}, 404, "not-found"),
        ({"method": "GET", "url": "/nowhere"}, 404, "not-found"),
        ({"method": "PUT", "url": "/v1/messages"}, 405, "method-not-allowed"),
        ({"method": "GET", "url": "/v1/orders", "headers": {"Authorization": "Bearer x"}}, 401, "unauthenticated"),
        ({"method": "DELETE", "url": f"/v1/admin/tenants/{uuid4()}"}, 401, "unauthenticated"),
    ],
)
def test_errors_are_problems(shop: Shop, request_: dict[str, Any], status: int, code: str) -> None:
    response = shop.request(request_.pop("method"), request_.pop("url"), **request_)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    body = response.json()
    assert (body["status"], body["code"], body["type"]) == (status, code, f"urn:bazaar:problem:{code}")


def test_scope_is_needed(bazaar: Platform) -> None:
    with httpx.Client(base_url=bazaar.urls["gateway"]) as http:
        shop = new_shop(http, bazaar.admin_key, users=[{"name": "alice", "scopes": ["orders:read"]}])
        assert shop.send("I want to buy 1 Mug").json()["code"] == "forbidden"
        assert shop.request("GET", "/v1/orders").status_code == 200


def test_removed_tenant_leaves_nothing(bazaar: Platform, shop: Shop, ops: psycopg.Connection) -> None:
    shop.say("I want to buy 1 Mug")
    admin = {"Authorization": f"Bearer {bazaar.admin_key}"}
    assert shop.http.delete(f"/v1/admin/tenants/{shop.tenant_id}", headers=admin).status_code == 204
    assert shop.request("GET", "/v1/orders").status_code == 401
    tables = [t for (t,) in ops.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'bazaar'")]
    assert "orders" in tables
    for table in set(tables) - {"migrations", "audit"}:  # what was done outlives whom it was done to
        assert ops.execute(f"SELECT count(*) FROM {table} WHERE tenant_id = %s", (shop.tenant_id,)).fetchone() == (0,)


def test_every_role_has_probes_and_metrics(bazaar: Platform) -> None:
    for name in ("gateway", "orchestrator", "tools", "model", "dlq", "logsink"):
        for path in ("/healthz", "/readyz", "/metrics"):
            response = httpx.get(bazaar.urls[name] + path)
            assert response.status_code == 200, (name, path)
        assert "process_start_time_seconds" in response.text
