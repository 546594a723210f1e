"""A tenant in which there is one of everything, so that every operation has something to work on."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
from _fixtures.shops import Platform, Shop
from _helpers.client import User
from t02_contract.baseline import Operation


@dataclass
class World:
    """A shop that has served a customer, and what its operations may be asked with."""

    shop: Shop
    admin: User
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Values by operation id and parameter; of all operations under ""."""
    bodies: dict[str, Any] = field(default_factory=dict)
    """A body that is accepted, by operation id."""
    made: list[str] = field(default_factory=list)
    """Tenants that a test made besides, to be removed."""

    def caller(self, operation: Operation) -> User:
        return self.admin if operation.is_admin else self.shop.alice

    def values(self, operation: Operation) -> dict[str, Any]:
        """The values of the operation's parameters, as far as it takes some."""
        known = self.parameters[""] | self.parameters.get(operation.id, {})
        names = [parameter["name"] for parameter in operation.definition.get("parameters", [])]
        return {name: known[name.lower()] for name in names if name.lower() in known}

    def request(self, operation: Operation, **changed: Any) -> httpx.Response:
        """Ask for the operation with what it takes; `changed` are arguments of httpx instead, `user` is who asks."""
        values = self.values(operation)
        places = {parameter["name"]: parameter["in"] for parameter in operation.definition.get("parameters", [])}
        path = operation.path.format_map(values)
        arguments: dict[str, Any] = {
            "params": {name: value for name, value in values.items() if places[name] == "query"},
            "headers": {name: value for name, value in values.items() if places[name] == "header"},
        }
        if operation.id in self.bodies and "content" not in changed:
            arguments["json"] = self.bodies[operation.id]
        user = changed.pop("user", self.caller(operation))
        arguments["headers"] |= changed.pop("headers", {})
        response: httpx.Response = user.request(operation.method.upper(), path, **arguments | changed)
        return response


@contextmanager
def open_world(platform: Platform, shop: Shop, seed: int) -> Iterator[World]:
    """Let a customer of the shop order, pay and ask; a second tenant is there to be removed."""
    admin = User("admin", platform.target.admin_key, platform.http)
    shop.alice.say("I want to buy 2 Blue Mug")
    episodes = shop.rows("episodes")
    if len(episodes) != 1:
        raise RuntimeError(f"{len(episodes)} episodes in the database after one message, expected 1")
    episode = episodes[0]
    order = _new_order(shop, "first")
    paid = _new_order(shop, "paid")
    _made(shop.alice, f"/v1/orders/{paid}/payments", "payment", {"token": "tok_visa"})
    _made(shop.alice, "/v1/leads", "lead", {"sku": "mug-blue"})
    path = f"/v1/admin/episodes/{episode['episode_id']}/record"
    record = admin.request("GET", path, params={"tenant_id": shop.tenant_id})
    if record.status_code != 200:
        raise RuntimeError(f"GET {path} gave {record.status_code}, expected 200: no record to replay")
    world = World(shop, admin)
    with ExitStack() as stack:
        spare = stack.enter_context(_spare_tenant(platform, admin, seed))
        world.parameters = {
            "": {
                "tenant_id": shop.tenant_id,
                "user": "alice",
                "episode_id": episode["episode_id"],
                "conversation": episode["conversation"],
                "order_number": order,
                "tracking_code": f"TR{order}",
                "prefer": "wait=0",
                "idempotency-key": f"key-{seed:x}",
                "after": 0,
                "limit": 10,
            },
            "delete_tenant": {"tenant_id": spare},
            "revoke_keys": {"tenant_id": spare},
            "cancel_order": {"order_number": _new_order(shop, "to cancel")},
            "pay_order": {"order_number": _new_order(shop, "to pay")},
            "refund_order": {"order_number": paid},
        }
        world.bodies = {
            "create_tenant": {
                "seed": seed,
                "quota": {"limit": 1000, "window": 60},
                "users": [{"name": "carol", "scopes": ["messages:write"], "groups": ["staff"]}],
                "products": [{"sku": "cup", "name": "Cup", "price_cents": 990, "stock": 1, "ships_to": ["DE"]}],
            },
            "replay": {"record": record.json(), "mode": "ADAPTIVE", "config": {"seed": 1}},
            "send_message": {"text": "Where is my order?", "channel": "mail"},
            "place_order": {"sku": "mug-blue", "quantity": 1},
            "pay_order": {"token": "tok_visa"},
            "create_lead": {"sku": "mug-blue"},
            "store_documents": {
                "documents": [
                    {"document_id": "care", "title": "Care", "body": "Wash by hand.", "readers": {"users": ["alice"]}}
                ]
            },
            "search_documents": {"text": "return of goods", "limit": 3},
            "inspect_texts": {"texts": ["Where is my order 1000-1?"]},
        }
        yield world
        for tenant_id in world.made:
            admin.request("DELETE", f"/v1/admin/tenants/{tenant_id}")


def _new_order(shop: Shop, name: str) -> str:
    made = _made(shop.alice, "/v1/orders", name, {"sku": "mug-blue", "quantity": 1})
    number: str = made["order_number"]
    return number


def _made(user: User, path: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
    response = user.request("POST", path, json=body, headers={"Idempotency-Key": f"world-{key.replace(' ', '-')}"})
    if response.status_code != 201:
        raise RuntimeError(f"POST {path} gave {response.status_code}, expected 201: nothing to test operations with")
    made: dict[str, Any] = response.json()
    return made


@contextmanager
def _spare_tenant(platform: Platform, admin: User, seed: int) -> Iterator[str]:
    """A tenant that a test may remove; gives its id."""
    body = {"seed": seed, "mode": platform.target.mode, "users": [{"name": "alice"}]}
    made = admin.request("POST", "/v1/admin/tenants", json=body)
    if made.status_code != 201:
        raise RuntimeError(f"POST /v1/admin/tenants gave {made.status_code}, expected 201")
    tenant_id = str(UUID(made.json()["tenant_id"]))
    try:
        yield tenant_id
    finally:
        gone = admin.request("DELETE", f"/v1/admin/tenants/{tenant_id}")
        if gone.status_code not in (204, 404):
            raise RuntimeError(f"DELETE of a tenant gave {gone.status_code}, expected 204, or 404 if the test did it")
