"""What the gateway will not do: each refusal is a problem with its code, and has done nothing."""

import random
from typing import Any

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import SCOPES, Platform, Shop
from _fixtures.tenants import MakeTenant
from _helpers.properties import Property, check

NOWHERE = "00000000-0000-4000-8000-000000000000"
JSON = {"Content-Type": "application/json"}
REFUSALS: dict[str, tuple[str, str, dict[str, Any], int, str]] = {
    "no such path": ("GET", "/v1/nothing", {}, 404, "not-found"),
    "no such method": ("PUT", "/v1/messages", {"json": {}}, 405, "method-not-allowed"),
    "no such episode": ("GET", f"/v1/episodes/{NOWHERE}", {}, 404, "not-found"),
    "no such conversation": ("POST", "/v1/messages", {"json": {"text": "a", "conversation": 99}}, 404, "not-found"),
    "no such order": ("GET", "/v1/orders/9999-1", {}, 404, "not-found"),
    "not an id": ("GET", "/v1/episodes/1", {}, 422, "invalid-request"),
    "not JSON": ("POST", "/v1/messages", {"content": b"{", "headers": JSON}, 400, "malformed-request"),
    "not JSON by type": (
        "POST",
        "/v1/messages",
        {"content": b"text=a", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
        415,
        "unsupported-media-type",
    ),
    "no text": ("POST", "/v1/messages", {"json": {}}, 422, "invalid-request"),
    "empty text": ("POST", "/v1/messages", {"json": {"text": ""}}, 422, "invalid-request"),
    "unknown field": ("POST", "/v1/messages", {"json": {"text": "a", "txet": "b"}}, 422, "invalid-request"),
    "wrong channel": ("POST", "/v1/messages", {"json": {"text": "a", "channel": "fax"}}, 422, "invalid-request"),
    "spaces in a key": (
        "POST",
        "/v1/messages",
        {"json": {"text": "a"}, "headers": {"Idempotency-Key": "a b"}},
        422,
        "invalid-request",
    ),
    "page too large": ("GET", "/v1/conversations?limit=101", {}, 422, "invalid-request"),
}
MEMBERS = {"type", "title", "status", "code", "detail", "errors"}
OPERATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "messages:write": ("POST", "/v1/messages", {"json": {"text": "I want to buy 1 Mug"}}),
    "episodes:read": ("GET", f"/v1/episodes/{NOWHERE}", {}),
    "orders:read": ("GET", "/v1/orders", {}),
    "orders:write": (
        "POST",
        "/v1/orders",
        {"json": {"sku": "mug", "quantity": 1}, "headers": {"Idempotency-Key": "scope"}},
    ),
    "leads:read": ("GET", "/v1/leads", {}),
    "leads:write": ("POST", "/v1/leads", {"json": {"sku": "mug"}, "headers": {"Idempotency-Key": "scope"}}),
    "documents:read": ("POST", "/v1/search", {"json": {"text": "returns"}}),
    "documents:write": (
        "POST",
        "/v1/documents:batch",
        {"json": {"documents": [{"document_id": "a", "title": "a", "body": "a"}]}},
    ),
    "usage:read": ("GET", "/v1/usage", {}),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal_is_a_problem(shop: Shop, evidence: Evidence, name: str) -> None:
    """Status, code and media type are the documented ones, the body is a problem, and no message was stored."""
    method, path, sent, status, code = REFUSALS[name]
    answer = shop.alice.request(method, path, **sent)
    kind = answer.headers.get("Content-Type", "").partition(";")[0]
    check(answer.status_code == status, Property.PROBLEM, f"{name}: status {answer.status_code}, expected {status}")
    check(kind == "application/problem+json", Property.PROBLEM, f"{name}: media type {kind}")
    problem = answer.json()
    told = set(problem), problem.get("code"), problem.get("status"), problem.get("type")
    expected = MEMBERS, code, status, f"urn:bazaar:problem:{code}"
    check(told == expected, Property.PROBLEM, f"{name}: the problem is {told[1:]}, expected {expected[1:]}")
    stored = len(shop.rows("messages"))
    check(stored == 0, Property.PROBLEM, f"{name}: {stored} messages stored for a refused request, expected 0")
    evidence("requests")


@pytest.mark.parametrize("scope", OPERATIONS)
def test_key_opens_what_its_scopes_name(
    platform: Platform, tenant: MakeTenant, seeded: random.Random, evidence: Evidence, scope: str
) -> None:
    """A key with every scope but one is refused that one's operation and changes no row; one with it alone may."""
    users = [{"name": "all-but", "scopes": [s for s in SCOPES if s != scope]}, {"name": "only", "scopes": [scope]}]
    made = tenant(seed=seeded.getrandbits(31), users=users)
    before = platform.database.snapshot(made.tenant_id)
    method, path, sent = OPERATIONS[scope]
    refused = made.users["all-but"].request(method, path, **sent)
    seen = refused.status_code, refused.json().get("code")
    check(seen == (403, "forbidden"), Property.AUTHORIZATION, f"without {scope}: {seen}, expected 403 forbidden")
    same = platform.database.snapshot(made.tenant_id) == before
    check(same, Property.AUTHORIZATION, f"a request that lacked {scope} changed the tenant's rows")
    served = made.users["only"].request(method, path, **sent).status_code
    expected = {404} if NOWHERE in path else {200, 201, 202}
    check(
        served in expected, Property.AUTHORIZATION, f"with {scope} alone: {served}, expected one of {sorted(expected)}"
    )
    evidence("requests", 2)


def test_key_of_another_tenant_finds_nothing(
    tenant: MakeTenant, shop: Shop, seeded: random.Random, evidence: Evidence
) -> None:
    """An episode, a conversation and an order of one tenant are unknown to a key of another with every scope."""
    stranger = tenant(seed=seeded.getrandbits(31)).users["alice"]
    episode = shop.alice.say("I want to buy 1 Mug")
    number = shop.order_of(shop.alice)["order_number"]
    paths = [
        f"/v1/episodes/{episode['episode_id']}",
        f"/v1/conversations/{episode['conversation']}/messages",
        f"/v1/orders/{number}",
        f"/v1/shipments/TR{number}",
    ]
    for path in paths:
        own, other = (user.request("GET", path).status_code for user in (shop.alice, stranger))
        check(own == 200, Property.ANSWER, f"{path[:12]}... of the own tenant gave {own}, expected 200")
        check(other == 404, Property.TENANT_READ, f"{path[:12]}... of another tenant gave {other}, expected 404")
    for path in ("/v1/conversations", "/v1/orders"):
        listed = next(iter(value for value in stranger.request("GET", path).json().values() if value is not None))
        check(listed == [], Property.TENANT_READ, f"{path} lists {len(listed)} entries to a tenant that has none")
    evidence("requests", 2 * len(paths) + 2)


def test_revoked_key_opens_nothing(platform: Platform, shop: Shop, evidence: Evidence) -> None:
    """From the next request on a revoked key is no key; the other user's is."""
    before = shop.bob.request("GET", "/v1/orders").status_code
    check(before == 200, Property.AUTHENTICATION, f"a good key was answered {before}, expected 200")
    path = f"/v1/admin/tenants/{shop.tenant_id}/users/bob/keys"
    admin = {"Authorization": f"Bearer {platform.target.admin_key}"}
    platform.http.delete(path, headers=admin).raise_for_status()
    after, other = (user.request("GET", "/v1/orders").status_code for user in (shop.bob, shop.alice))
    check(after == 401, Property.AUTHENTICATION, f"a revoked key was answered {after}, expected 401")
    check(other == 200, Property.AUTHENTICATION, f"the other user's key was answered {other}, expected 200")
    evidence("requests", 3)


@pytest.mark.parametrize("operation", ["POST tenants", "DELETE tenant", "DELETE keys", "GET record"])
def test_administration_needs_the_bootstrap_key(
    platform: Platform, shop: Shop, evidence: Evidence, operation: str
) -> None:
    """Without the bootstrap key, and with a user's, nobody makes, removes, revokes or reads."""
    method, what = operation.split()
    url = {
        "tenants": "/v1/admin/tenants",
        "tenant": f"/v1/admin/tenants/{shop.tenant_id}",
        "keys": f"/v1/admin/tenants/{shop.tenant_id}/users/bob/keys",
        "record": f"/v1/admin/episodes/{NOWHERE}/record?tenant_id={shop.tenant_id}",
    }[what]
    body: dict[str, Any] = {"json": {"seed": 1, "users": [{"name": "eve"}]}} if what == "tenants" else {}
    for headers in ({}, {"Authorization": f"Bearer {shop.alice.key}"}):
        answer = platform.http.request(method, url, headers=headers, **body)
        seen = answer.status_code, answer.json().get("code") if answer.content else None
        check(seen == (401, "unauthenticated"), Property.AUTHENTICATION, f"{operation} gave {seen}, expected 401")
    alive = [user.request("GET", "/v1/orders").status_code for user in (shop.alice, shop.bob)]
    check(alive == [200, 200], Property.AUTHENTICATION, f"the tenant's keys are answered {alive} afterwards")
    evidence("requests", 4)
