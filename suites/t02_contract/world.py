"""A tenant in which there is one of everything, so that every operation has something to work on.

Its parts are made when an operation first needs them: most operations need one or two.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any
from uuid import UUID

import httpx
from _fixtures.shops import Platform, Shop
from _helpers.client import User
from t02_contract.baseline import Operation

_LISTED = {"list_orders": ["order"], "list_leads": ["_lead"], "list_conversations": ["_episode"]}
"""What must be there, though no parameter names it, so that an answer holds something."""
FIRST_KEY = "world-first"
"""The Idempotency-Key of the order that `values` names."""


class World:
    """A shop that serves a customer, and what its operations may be asked with."""

    def __init__(self, platform: Platform, shop: Shop, seed: int, removed_at_the_end: ExitStack) -> None:
        self.shop = shop
        self.admin = User("admin", platform.target.admin_key, platform.http)
        self.made: list[str] = []
        """Tenants that a test made besides, to be removed."""
        self._mode, self._seed, self._stack = platform.target.mode, seed, removed_at_the_end

    def caller(self, operation: Operation) -> User:
        return self.admin if operation.is_admin else self.shop.alice

    def prepare(self, *operations: Operation) -> None:
        """Make what the operations need, so that asking for them later makes nothing more."""
        for operation in operations:
            self.values(operation)
            self.body(operation)
            for part in _LISTED.get(operation.id, ()):
                getattr(self, part)

    def values(self, operation: Operation) -> dict[str, Any]:
        """The values of the operation's parameters, as far as it takes some."""
        names = [parameter["name"] for parameter in operation.definition.get("parameters", [])]
        known = {name: self._value(operation.id, name.lower()) for name in names}
        return {name: value for name, value in known.items() if value is not None}

    def body(self, operation: Operation) -> Any:
        """A body that is accepted, None if it takes none."""
        if operation.id == "replay":
            return {"record": self._record, "mode": "ADAPTIVE", "config": {"seed": 1}}
        return {**_BODIES, "create_tenant": {"seed": self._seed, **_TENANT}}.get(operation.id)

    def request(self, operation: Operation, **changed: Any) -> httpx.Response:
        """Ask for the operation with what it takes; `changed` are arguments of httpx instead, `user` is who asks."""
        values = self.values(operation)
        places = {parameter["name"]: parameter["in"] for parameter in operation.definition.get("parameters", [])}
        path = operation.path.format_map(values)
        arguments: dict[str, Any] = {
            "params": {name: value for name, value in values.items() if places[name] == "query"},
            "headers": {name: value for name, value in values.items() if places[name] == "header"},
        }
        body = self.body(operation)
        if body is not None and "content" not in changed:
            arguments["json"] = body
        user = changed.pop("user", self.caller(operation))
        arguments["headers"] |= changed.pop("headers", {})
        response: httpx.Response = user.request(operation.method.upper(), path, **arguments | changed)
        return response

    @cached_property
    def order(self) -> str:
        """The number of an order that is neither paid nor canceled; it was placed with FIRST_KEY."""
        return self._order(FIRST_KEY)

    @cached_property
    def spare(self) -> str:
        """The id of a tenant that a test may remove."""
        body = {"seed": self._seed, "mode": self._mode, "users": [{"name": "alice"}]}
        made = self.admin.request("POST", "/v1/admin/tenants", json=body)
        if made.status_code != 201:
            raise RuntimeError(f"POST /v1/admin/tenants gave {made.status_code}, expected 201")
        tenant_id = str(UUID(made.json()["tenant_id"]))
        self._stack.callback(self._remove_spare, tenant_id)
        return tenant_id

    def _value(self, operation_id: str, name: str) -> Any:
        """What an operation may be asked with; None for a parameter that it can do without."""
        own = {"delete_tenant": "spare", "revoke_keys": "spare", "pay_order": "_to_pay", "cancel_order": "_to_cancel"}
        own["refund_order"] = "_paid"
        if name in ("tenant_id", "order_number") and operation_id in own:
            return getattr(self, own[operation_id])
        match name:
            case "tenant_id":
                return self.shop.tenant_id
            case "episode_id" | "conversation":
                return self._episode[name]
            case "order_number":
                return self.order
            case "tracking_code":
                return f"TR{self.order}"
            case "idempotency-key":
                return f"key-{self._seed:x}"
            case _:
                return {"user": "alice", "prefer": "wait=0", "after": 0, "limit": 10}.get(name)

    @cached_property
    def _episode(self) -> dict[str, Any]:
        self.shop.alice.say("I want to buy 2 Blue Mug")
        episodes = self.shop.rows("episodes")
        if len(episodes) != 1:
            raise RuntimeError(f"{len(episodes)} episodes in the database after one message, expected 1")
        return episodes[0]

    @cached_property
    def _record(self) -> Any:
        path = f"/v1/admin/episodes/{self._episode['episode_id']}/record"
        record = self.admin.request("GET", path, params={"tenant_id": self.shop.tenant_id})
        if record.status_code != 200:
            raise RuntimeError(f"GET {path} gave {record.status_code}, expected 200: no record to replay")
        return record.json()

    @cached_property
    def _to_pay(self) -> str:
        return self._order("world-to-pay")

    @cached_property
    def _to_cancel(self) -> str:
        return self._order("world-to-cancel")

    @cached_property
    def _paid(self) -> str:
        number = self._order("world-paid")
        self._make(f"/v1/orders/{number}/payments", "world-payment", {"token": "tok_visa"})
        return number

    @cached_property
    def _lead(self) -> dict[str, Any]:
        return self._make("/v1/leads", "world-lead", {"sku": "mug-blue"})

    def _order(self, key: str) -> str:
        number: str = self._make("/v1/orders", key, {"sku": "mug-blue", "quantity": 1})["order_number"]
        return number

    def _make(self, path: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
        response = self.shop.alice.request("POST", path, json=body, headers={"Idempotency-Key": key})
        if response.status_code != 201:
            raise RuntimeError(f"POST {path} gave {response.status_code}, expected 201: nothing to test with")
        made: dict[str, Any] = response.json()
        return made

    def _remove_spare(self, tenant_id: str) -> None:
        gone = self.admin.request("DELETE", f"/v1/admin/tenants/{tenant_id}")
        if gone.status_code not in (204, 404):
            raise RuntimeError(f"DELETE of a tenant gave {gone.status_code}, expected 204, or 404 if the test did it")


@contextmanager
def open_world(platform: Platform, shop: Shop, seed: int) -> Iterator[World]:
    """A world of the shop; the tenants that were made besides are removed at the end."""
    with ExitStack() as stack:
        world = World(platform, shop, seed, stack)
        try:
            yield world
        finally:
            for tenant_id in world.made:
                world.admin.request("DELETE", f"/v1/admin/tenants/{tenant_id}")


_TENANT: dict[str, Any] = {
    "quota": {"limit": 1000, "window": 60},
    "users": [{"name": "carol", "scopes": ["messages:write"], "groups": ["staff"]}],
    "products": [{"sku": "cup", "name": "Cup", "price_cents": 990, "stock": 1, "ships_to": ["DE"]}],
}
_BODIES: dict[str, Any] = {
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
