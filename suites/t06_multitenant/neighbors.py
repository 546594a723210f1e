"""A tenant with a row in every table, of which it is known what others may name and what they must never see."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from _fixtures.factories import World, make_world
from _fixtures.shops import SCOPES, Platform, Tenant
from _helpers.client import User

COUNT = 5
STOCK = 10_000
"""More than is ever ordered, so that no answer depends on how much is left."""
ORDINALS = frozenset({"conversation"})
"""Kinds of names that every tenant counts from 1: another's may be one's own as well."""
Name = str | int


@dataclass(frozen=True)
class Neighbor:
    """One of several tenants. No name and no secret is another's, but for `alice`, conversations and the ordinals."""

    tenant: Tenant = field(repr=False)
    names: dict[str, Name]
    """What another may know and say, by the name of the parameter that asks for it. All are in the tenant's rows."""
    secrets: frozenset[str]
    """Words of its rows that nobody else ever says: where one turns up outside, it was read."""

    @property
    def tenant_id(self) -> str:
        return self.tenant.tenant_id

    @property
    def alice(self) -> User:
        return self.tenant.users["alice"]


def settle(platform: Platform, stack: ExitStack, number: int, seed: int) -> Neighbor:
    """Make a tenant and live in it. Raises RuntimeError or AssertionError if the platform does not do its part.

    It orders in its conversation `number + 1`, and so has an order number that no other number's tenant has.
    """
    world = make_world(seed)
    group = f"group-{world.users[1]['name'][5:]}"
    alice = {"name": "alice", "scopes": SCOPES, "groups": [group]}
    products = [{**product, "stock": STOCK} for product in world.products]
    fields = {"seed": seed, "users": [alice, *world.users], "products": products}
    tenant = stack.enter_context(platform.open_tenant(**fields))
    return Neighbor(tenant, _live(platform, tenant, world, number) | {"group": group}, frozenset(_secrets(world)))


def _live(platform: Platform, tenant: Tenant, world: World, number: int) -> dict[str, Name]:
    alice, (offered, kept, *_) = tenant.users["alice"], world.products
    key = f"key-{world.documents[0]['document_id'][9:]}"
    (own, *others), readers = world.documents, {"users": ["alice"]}
    _call(alice, "/v1/documents:batch", documents=[own, *({**document, "readers": readers} for document in others)])
    for _ in range(number):
        alice.say("How can I pay?")
    opened = alice.request(
        "POST", "/v1/messages", json={"text": f"I want to buy 2 {kept['name']}"}, headers={"Idempotency-Key": key}
    )
    if opened.status_code != 202:
        raise RuntimeError(f"POST /v1/messages gave {opened.status_code}, expected 202: no neighbor to test with")
    episode = alice.wait(opened.json()["episode_id"])
    placed = platform.database.rows("orders", tenant.tenant_id, episode_id=episode["episode_id"])
    if len(placed) != 1:
        raise RuntimeError(f"{len(placed)} orders after ordering in conversation, expected 1: no neighbor to test with")
    order = str(placed[0]["order_number"])
    alice.say(f"Where is my order {order}? Let me know when it arrives")
    alice.say("I want to talk to a human")
    paid = _call(alice, "/v1/orders", key, sku=kept["sku"], quantity=1)["order_number"]
    _call(alice, f"/v1/orders/{paid}/payments", f"{key}-paid", token="tok_visa")
    _call(alice, f"/v1/orders/{paid}/refunds", f"{key}-back")
    _call(alice, "/v1/leads", f"{key}-lead", sku=kept["sku"])
    return {
        "tenant_id": tenant.tenant_id,
        "episode_id": str(episode["episode_id"]),
        "conversation": int(episode["conversation"]),
        "order_number": order,
        "tracking_code": f"TR{order}",
        "sku": offered["sku"],
        "document_id": own["document_id"],
        "user": world.users[0]["name"],
        "idempotency-key": key,
    }


def _secrets(world: World) -> list[str]:
    """Words of products that are not offered to others, of the second user and of documents' texts."""
    (_, *documents), (_, *products) = world.documents, world.products
    words = [product["sku"] for product in products] + [product["name"].split()[-1] for product in products]
    words += [document["document_id"] for document in documents]
    words += [document["body"].split()[3] for document in world.documents]
    return [*words, world.users[1]["name"]]


def _call(user: User, path: str, key: str | None = None, **body: Any) -> dict[str, Any]:
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = (
        user.request("POST", path, json=body, headers=headers) if body else user.request("POST", path, headers=headers)
    )
    if answer.status_code not in (200, 201):
        raise RuntimeError(f"POST {path} gave {answer.status_code}, expected success: no neighbor to test with")
    said: dict[str, Any] = answer.json()
    return said
