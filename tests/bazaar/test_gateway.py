"""Commands over REST: each is had once for its key; who may give them, and how many."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from loopback import Platform, free_port, listening, need, roles
from shop import Shop, new_shop

ALL = ["messages:write", "episodes:read", "orders:read", "orders:write", "leads:read", "leads:write", "usage:read"]


@pytest.fixture
def store(bazaar: Platform, shop: Shop) -> Shop:
    users = [{"name": name, "scopes": ALL} for name in ("alice", "bob")]
    return new_shop(shop.http, bazaar.admin_key, users=users)


def do(shop: Shop, path: str, body: Any = None, key: str | None = None, user: str = "alice") -> httpx.Response:
    headers = {"Idempotency-Key": key or uuid4().hex}
    return shop.request("POST", f"/v1{path}", user, json=body, headers=headers)


def refusal(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_an_order_from_placed_to_refunded(bazaar: Platform, store: Shop) -> None:
    placed = do(store, "/orders", {"sku": "mug", "quantity": 2})
    assert placed.status_code == 201
    number = placed.json()["order_number"]
    assert (placed.json()["status"], placed.json()["total_cents"]) == ("placed", 1580)
    assert refusal(do(store, f"/orders/{number}/payments", {"token": "tok_declined"})) == (409, "payment-declined")
    assert do(store, f"/orders/{number}/payments", {"token": "tok_ok"}).json()["status"] == "paid"
    assert refusal(do(store, f"/orders/{number}/payments", {"token": "tok_ok"})) == (409, "refused")
    assert refusal(do(store, f"/orders/{number}/refunds", user="bob")) == (404, "not-found")
    assert do(store, f"/orders/{number}/refunds").json()["status"] == "refunded"
    assert store.request("GET", f"/v1/orders/{number}").json()["status"] == "refunded"
    shipment = store.request("GET", f"/v1/shipments/{placed.json()['tracking_code']}").json()
    assert shipment == {"tracking_code": f"TR{number}", "order_number": number, "status": "cancelled"}
    with psycopg.connect(bazaar.ops_dsn) as ops:
        balance = "SELECT sum(debit_cents - credit_cents) FROM ledger WHERE tenant_id = %s"
        stock = "SELECT available, reserved FROM stock WHERE tenant_id = %s"
        assert ops.execute(balance, (store.tenant_id,)).fetchone() == (0,)
        assert ops.execute(stock, (store.tenant_id,)).fetchone() == (10, 0)


def test_a_command_is_carried_out_once_for_its_key(store: Shop) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: do(store, "/orders", {"sku": "mug", "quantity": 1}, "k-1"), range(8)))
    assert {a.status_code for a in answers} == {201}
    assert len({a.json()["order_number"] for a in answers}) == 1
    assert refusal(do(store, "/orders", {"sku": "mug", "quantity": 2}, "k-1")) == (409, "idempotency-conflict")
    assert do(store, "/orders", {"sku": "mug", "quantity": 1}, "k-1", "bob").status_code == 201
    number = answers[0].json()["order_number"]
    assert refusal(do(store, f"/orders/{number}:cancel", key="k-1")) == (409, "idempotency-conflict")
    cancelled = [do(store, f"/orders/{number}:cancel", key="k-2").json()["status"] for _ in range(2)]
    assert cancelled == ["cancelled", "cancelled"]
    assert store.request("POST", "/v1/orders", json={"sku": "mug", "quantity": 1}).status_code == 422
    assert refusal(do(store, "/orders", {"sku": "mug", "quantity": 11})) == (409, "out-of-stock")
    assert refusal(do(store, "/orders", {"sku": "cup", "quantity": 1})) == (404, "not-found")


def test_leads_and_conversations_and_usage(store: Shop) -> None:
    lead = do(store, "/leads", {"sku": "mug"}).json()
    assert store.request("GET", "/v1/leads").json()["leads"] == [lead]
    assert store.request("GET", "/v1/leads", "bob").json()["leads"] == []
    for _ in range(3):
        store.say("How are you?")
    pages: list[int] = []
    after: int | None = 0
    while after is not None:
        page = store.request("GET", "/v1/conversations", params={"limit": 2, "after": after}).json()
        pages += [c["conversation"] for c in page["conversations"]]
        after = page["next"]
    assert pages == [1, 2, 3]
    said = store.request("GET", "/v1/conversations/2/messages").json()["messages"]
    assert [(m["ordinal"], m["role"], m["channel"]) for m in said] == [(1, "user", "web"), (2, "assistant", "web")]
    assert refusal(store.request("GET", "/v1/conversations/2/messages", "bob")) == (404, "not-found")
    usage = store.request("GET", "/v1/usage").json()
    assert usage["episodes"] == 3
    assert usage["prompt_tokens"] > usage["completion_tokens"] > 0


def test_keys_end(bazaar: Platform, shop: Shop) -> None:
    """By time and by revocation; then they are answered like keys that never were."""
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    users = [{"name": "alice", "expires_at": soon}, {"name": "bob"}]
    made = new_shop(shop.http, bazaar.admin_key, users=users)
    assert [made.request("GET", "/v1/orders", user).status_code for user in ("alice", "bob")] == [200, 200]
    path, admin = f"/v1/admin/tenants/{made.tenant_id}/users/bob/keys", {"Authorization": f"Bearer {bazaar.admin_key}"}
    assert [shop.http.delete(path, headers=admin).status_code for _ in range(2)] == [204, 404]
    time.sleep(1.1)
    foreign = made.keys["bob"].replace(made.keys["bob"][4:36], uuid4().hex)
    answers = [made.request("GET", "/v1/orders", user) for user in ("alice", "bob")]
    answers += [shop.http.get("/v1/orders", headers={"Authorization": f"Bearer {k}"}) for k in (foreign, "x", "bzr_")]
    assert {(a.status_code, a.text, a.headers["www-authenticate"]) for a in answers} == {
        (401, answers[0].text, "Bearer")
    }


@pytest.mark.parametrize(
    ("moment", "status"),
    [
        ("2133-08-22T17:24:01+22:11", 200),
        ("0017-04-08T09:46:55-19:05", 401),
        ("0001-01-01T00:00:00+23:59", 401),
        ("9999-12-31T23:59:59-23:59", 200),
    ],
)
def test_keys_end_at_any_moment_that_can_be_written(bazaar: Platform, shop: Shop, moment: str, status: int) -> None:
    """The database knows fewer of them than the schema."""
    made = new_shop(shop.http, bazaar.admin_key, users=[{"name": "alice", "expires_at": moment}])
    assert made.request("GET", "/v1/orders", "alice").status_code == status


def test_quota_is_exact_for_a_thousand_at_once(bazaar: Platform, shop: Shop) -> None:
    made = new_shop(shop.http, bazaar.admin_key, quota={"limit": 100, "window": 3600})
    assert asyncio.run(hammer(bazaar.urls["gateway"], made, 1000)) == {200: 100, 429: 900}


def test_planted_race_lets_too_many_through(bazaar: Platform, shop: Shop, tmp_path: Path) -> None:
    made = new_shop(shop.http, bazaar.admin_key, quota={"limit": 100, "window": 3600})
    with roles({"gateway": free_port()}, tmp_path, {**bazaar.environment, "FAULTS": "quota_race"}) as urls:
        assert asyncio.run(hammer(urls["gateway"], made, 500))[200] > 100


async def hammer(gateway: str, shop: Shop, requests: int) -> dict[int, int]:
    """How often each status was the answer to so many requests at the same time, each on its own connection."""
    url = httpx.URL(gateway)
    head = (
        f"GET /v1/orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {shop.keys['alice']}\r\n\r\n"
    )

    async def status() -> int:
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(head.encode())
        answer = await reader.read()
        writer.close()
        return int(answer[9:12])

    statuses = await asyncio.wait_for(asyncio.gather(*(status() for _ in range(requests))), 120)
    return {status: statuses.count(status) for status in sorted(set(statuses))}


def test_rate_of_a_key(bazaar: Platform, shop: Shop) -> None:
    """A bucket of one second's requests; it is the key's own."""
    users = [{"name": "alice", "per_second": 5}, {"name": "bob"}]
    made = new_shop(shop.http, bazaar.admin_key, users=users)
    started = time.monotonic()
    answers = [made.request("GET", "/v1/orders") for _ in range(30)]
    took = time.monotonic() - started
    admitted = sum(a.status_code == 200 for a in answers)
    assert 5 <= admitted <= 5 + 5 * took + 1
    assert {refusal(a) for a in answers if a.status_code != 200} == {(429, "rate-limited")}
    assert made.request("GET", "/v1/orders", "bob").status_code == 200


def test_without_redis_nothing_is_admitted_that_must_be_counted(bazaar: Platform, shop: Shop, tmp_path: Path) -> None:
    made = new_shop(shop.http, bazaar.admin_key, quota={"limit": 100, "window": 60})
    port = free_port()
    environment = {**bazaar.environment, "BAZAAR_REDIS_URL": f"redis://127.0.0.1:{port}/0"}
    argv = [need("redis-server", "apt-get install redis-server"), "--bind", "127.0.0.1", "--port", str(port)]
    with ExitStack() as redis:
        redis.enter_context(listening("redis", [*argv, "--save", ""], port, tmp_path, environment))
        with roles({"gateway": free_port()}, tmp_path, environment) as urls:
            with_quota, without = made.keys["alice"], shop.keys["alice"]

            def status(key: str) -> int:
                return httpx.get(f"{urls['gateway']}/v1/orders", headers={"Authorization": f"Bearer {key}"}).status_code

            assert [status(with_quota), status(without)] == [200, 200]
            redis.close()
            assert [status(with_quota), status(without)] == [503, 200]
