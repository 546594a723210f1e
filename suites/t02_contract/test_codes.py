"""Each code of the catalog is reached as the catalog says; one key never stands for two requests."""

import random
from collections.abc import Callable

import httpx
import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Shop
from _helpers.client import User, accepted
from _helpers.properties import Property, check
from t02_contract.baseline import CODES, OPERATIONS
from t02_contract.refusals import check_problem, check_unchanged, everything
from t02_contract.world import FIRST_KEY, World

Refused = Callable[[World], httpx.Response]
BY_ID = {operation.id: operation for operation in OPERATIONS}


def _with_key(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


def _post(path: str, body: object, key: str = "other") -> Refused:
    return lambda world: world.shop.alice.request("POST", path, json=body, headers=_with_key(key))


def _limited(limit: dict[str, object], **user: object) -> Refused:
    """The second request of a tenant or key that may make one."""

    def ask(world: World) -> httpx.Response:
        body = {"seed": 1, "users": [{"name": "erin", **user}], **limit}
        made = world.admin.request("POST", "/v1/admin/tenants", json=body).json()
        world.made.append(made["tenant_id"])
        erin = User("erin", made["users"][0]["key"], world.admin.http)
        for _ in range(5):  # a window may end between two requests, not between five
            response = erin.request("GET", "/v1/orders")
            if response.status_code == 429:
                break
        return response

    return ask


CONFLICT = {"sku": "mug-blue", "quantity": 2}
REFUSED: dict[str, Refused] = {
    "malformed-request": lambda w: w.request(
        BY_ID["send_message"], content=b"{", headers={"Content-Type": "application/json"}
    ),
    "unauthenticated": lambda w: w.admin.request("GET", "/v1/orders"),
    "forbidden": lambda w: w.shop.bob.request("GET", "/v1/usage"),
    "not-found": lambda w: w.shop.alice.request("GET", "/v1/orders/9999-9"),
    "method-not-allowed": lambda w: w.shop.alice.request("PUT", "/v1/orders"),
    "refused": lambda w: _post(f"/v1/orders/{w.order}/refunds", None)(w),
    "out-of-stock": _post("/v1/orders", {"sku": "lamp", "quantity": 4}),
    "payment-declined": lambda w: _post(f"/v1/orders/{w.order}/payments", {"token": "tok_declined"})(w),
    "idempotency-conflict": _post("/v1/orders", CONFLICT, FIRST_KEY),
    "repeated-name": _post("/v1/documents:batch", {"documents": [{"document_id": "a", "title": "a", "body": "a"}] * 2}),
    "payload-too-large": lambda w: w.shop.alice.send("a" * 2**20),
    "unsupported-media-type": lambda w: w.shop.alice.request(
        "POST", "/v1/messages", content=b"text=hello", headers={"Content-Type": "application/x-www-form-urlencoded"}
    ),
    "invalid-request": lambda w: w.shop.alice.request("GET", "/v1/orders/none"),
    "rate-limited": _limited({}, per_second=1),
    "quota-exceeded": _limited({"quota": {"limit": 1, "window": 3600}}),
}
SERVER = {"internal", "unavailable", "conversation-busy"}
"""The server's own failures are provoked by other suites; a busy conversation has a test of its own."""


@pytest.mark.parametrize("code", sorted(CODES.keys() - SERVER))
def test_code(world: World, evidence: Evidence, code: str) -> None:
    """The refusal has its code and changes nothing."""
    before = everything(world.shop)
    response = REFUSED[code](world)
    check_problem(response, code, f"what asks for {code}")
    if CODES[code] == 429:
        wait = response.headers.get("Retry-After", "")
        check(wait.isdecimal(), Property.PROBLEM_CODE, f"{code}: Retry-After is {wait!r}, expected seconds")
    check_unchanged(world.shop, before, code)
    evidence("refusals")


@pytest.mark.mock_only
def test_busy_conversation(shop: Shop, seeded: random.Random, evidence: Evidence) -> None:
    """While a message is not answered the next one of its conversation is refused, and the first is answered."""
    text = f"[[stream n=2000 bytes=256]] How can I pay? {seeded.getrandbits(32)}"
    first = shop.alice.send(text)
    second = shop.alice.send("And when?", conversation=first.json()["conversation"])
    check_problem(second, "conversation-busy", "a second message before the first is answered")
    stored = len(shop.rows("messages", conversation=first.json()["conversation"], role="user"))
    check(
        stored == 1, Property.REFUSED_UNCHANGED, f"{stored} messages of the customer in a busy conversation, expected 1"
    )
    state = shop.alice.wait(accepted(first))["state"]
    check(state == "done", Property.EPISODE_ENDS, f"the first message is {state}, expected done")
    evidence("refusals")


BODIES = {
    "send_message": ({"text": "How can I pay?"}, {"text": "How can I pay? "}),
    "place_order": ({"sku": "mug-blue", "quantity": 1}, {"sku": "mug-blue", "quantity": 2}),
    "create_lead": ({"sku": "mug"}, {"sku": "lamp"}),
    "pay_order": ({"token": "tok_visa"}, {"token": "tok_other"}),
}


@pytest.mark.parametrize("name", sorted(BODIES))
def test_one_key_with_two_bodies(own_world: World, seeded: random.Random, evidence: Evidence, name: str) -> None:
    """The first is served, the second refused and changes nothing, and the first again is the first one's answer."""
    operation, (body, other) = BY_ID[name], BODIES[name]
    headers = _with_key(f"key-{seeded.getrandbits(64):x}")
    own_world.prepare(operation)
    first = own_world.request(operation, json=body, headers=headers)
    check(first.is_success, Property.CONTRACT_STABLE, f"{name} gave {first.status_code}, expected success")
    if name == "send_message":
        own_world.shop.alice.wait(accepted(first))
    before = everything(own_world.shop)
    refused = own_world.request(operation, json=other, headers=headers)
    what = f"{name} with a used key and another body"
    seen = (refused.status_code, refused.json().get("code") if refused.content else None)
    expected = (409, "idempotency-conflict")
    check(seen == expected, Property.IDEMPOTENCY_CONFLICT, f"{what} gave {seen}, expected {expected}")
    check_problem(refused, "idempotency-conflict", what)
    again = own_world.request(operation, json=body, headers=headers)
    same = (again.status_code, again.json()) == (first.status_code, first.json())
    check(same, Property.EFFECT_ONCE, f"{name} again gave {again.status_code} or another answer, expected the first")
    check_unchanged(own_world.shop, before, what)
    evidence("refusals")


def test_one_key_for_two_operations(world: World, evidence: Evidence) -> None:
    """A key that ordered something cannot note an interest."""
    before = everything(world.shop)
    refused = world.shop.alice.request("POST", "/v1/leads", json={"sku": "mug"}, headers=_with_key(FIRST_KEY))
    seen = f"a key of an order gave {refused.status_code} for a lead, expected 409"
    check(refused.status_code == 409, Property.IDEMPOTENCY_CONFLICT, seen)
    check_problem(refused, "idempotency-conflict", "a key of an order for a lead")
    check_unchanged(world.shop, before, "a key of an order for a lead")
    evidence("refusals")
