"""Who has no right to an operation gets a problem and nothing else, whatever the operation is."""

import random

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform
from _helpers.client import User
from _helpers.properties import Property, check
from t02_contract.baseline import OPERATIONS
from t02_contract.refusals import check_problem, check_unchanged, everything
from t02_contract.world import World

KINDS = ("none", "empty", "scheme", "malformed", "changed", "expired", "revoked", "removed tenant", "of the other door")


def _header(kind: str, world: World, platform: Platform, *, is_admin: bool) -> str:
    """The Authorization that is tried at one of the two doors; "" for none."""
    good, other = world.admin.key, world.shop.alice.key
    if not is_admin:
        good, other = other, good
    if kind in ("expired", "revoked", "removed tenant"):
        return f"Bearer {_ended_key(kind, world, platform)}"
    return {
        "none": "",
        "empty": "Bearer",
        "scheme": f"Basic {good}",
        "malformed": "Bearer '; DROP TABLE api_keys; --",
        "changed": f"Bearer {good[:-1]}{'A' if good[-1] != 'A' else 'B'}",
        "of the other door": f"Bearer {other}",
    }[kind]


def _ended_key(kind: str, world: World, platform: Platform) -> str:
    """A key that was good once."""
    expires = {"expires_at": "2020-01-01T00:00:00Z"} if kind == "expired" else {}
    body = {"seed": 1, "mode": platform.target.mode, "users": [{"name": "dave", **expires}]}
    made = world.admin.request("POST", "/v1/admin/tenants", json=body).json()
    path = f"/v1/admin/tenants/{made['tenant_id']}"
    if kind == "revoked":
        gone = world.admin.request("DELETE", f"{path}/users/dave/keys")
        check(gone.status_code == 204, Property.AUTHENTICATION, f"keys to revoke gave {gone.status_code}, expected 204")
    if kind == "removed tenant":
        world.admin.request("DELETE", path).raise_for_status()
    else:
        world.made.append(made["tenant_id"])
    key: str = made["users"][0]["key"]
    return key


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_valid_key(world: World, platform: Platform, evidence: Evidence, kind: str) -> None:
    """Every operation answers 401, and what it would have done is not done."""
    before = everything(world.shop)
    headers = {door: _header(kind, world, platform, is_admin=door) for door in (True, False)}
    for operation in OPERATIONS:
        nobody = User("nobody", "", platform.http)
        response = world.request(operation, user=nobody, headers={"Authorization": headers[operation.is_admin]})
        what = f"{operation.id} with the key {kind!r}"
        seen = f"{what} gave {response.status_code}, expected 401"
        check(response.status_code == 401, Property.AUTHENTICATION, seen)
        check_problem(response, "unauthenticated", what)
        told = response.headers.get("WWW-Authenticate")
        check(told == "Bearer", Property.PROBLEM_CODE, f"{what}: WWW-Authenticate is {told!r}, expected 'Bearer'")
    left = len(platform.database.rows("tenants", world.spare))
    check(left == 1, Property.AUTHENTICATION, f"{left} tenants left after DELETE with the key {kind!r}, expected 1")
    check_unchanged(world.shop, before, f"requests with the key {kind!r}")
    evidence("refusals", len(OPERATIONS))


def test_without_the_scope(world: World, evidence: Evidence) -> None:
    """A key opens the operations of its scopes and no others: bob may write messages and has orders."""
    mine = {"send_message", "inspect_texts", "get_episode", "list_conversations", "list_messages"}
    mine |= {"list_orders", "get_order", "get_shipment", "place_order", "cancel_order", "pay_order", "refund_order"}
    before = everything(world.shop)
    others = [o for o in OPERATIONS if not o.is_admin and o.id not in mine]
    for operation in others:
        response = world.request(operation, user=world.shop.bob)
        check_problem(response, "forbidden", f"{operation.id} with a key that lacks its scope")
    check_unchanged(world.shop, before, "requests without the scope")
    listed = world.shop.bob.request("GET", "/v1/orders").status_code
    check(listed == 200, Property.AUTHENTICATION, f"GET /v1/orders with its scope gave {listed}, expected 200")
    evidence("refusals", len(others))


def test_key_of_another_tenant(world: World, platform: Platform, seeded: random.Random, evidence: Evidence) -> None:
    """What is named by an id of another tenant is answered like what does not exist."""
    before = everything(world.shop)
    names = ("episode_id", "conversation", "order_number", "tracking_code")
    with platform.open_shop(seeded.getrandbits(32)) as stranger:
        asked = [o for o in OPERATIONS if not o.is_admin and any(f"{{{name}}}" in o.path for name in names)]
        for operation in asked:
            response = world.request(operation, user=stranger.alice)
            what = f"{operation.id} of another tenant"
            check(
                response.status_code == 404, Property.TENANT_READ, f"{what} gave {response.status_code}, expected 404"
            )
            check_problem(response, "not-found", what)
    check_unchanged(world.shop, before, "requests with a key of another tenant")
    evidence("refusals", len(asked))
