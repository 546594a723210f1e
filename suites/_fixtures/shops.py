"""A shop of its own for every test, in a platform that all tests share."""

import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from _helpers.client import User
from _helpers.properties import Property, check
from _helpers.state import Database
from _helpers.target import Target

STOCK = 40
PRODUCTS: list[dict[str, Any]] = [
    {"sku": "mug-blue", "name": "Blue Mug", "price_cents": 1290, "stock": STOCK, "ships_to": ["DE", "AT"]},
    {"sku": "mug", "name": "Mug", "price_cents": 790, "stock": STOCK, "ships_to": ["DE", "AT"]},
    {"sku": "lamp", "name": "Desk Lamp", "price_cents": 4500, "stock": 3},
]
SCOPES = (
    *("messages:write", "episodes:read", "orders:read", "orders:write", "leads:read", "leads:write"),
    *("documents:read", "documents:write", "usage:read"),
)
DOCUMENTS = [
    {"document_id": "returns", "title": "Returns", "body": "You can return goods within 30 days of delivery."},
    {"document_id": "payment", "title": "Payment", "body": "We accept cards, bank transfer and invoice."},
    {"document_id": "hours", "title": "Opening hours", "body": "The service desk is open on weekdays from 8 to 18."},
]


@dataclass(frozen=True)
class Tenant:
    """A tenant and its users by name."""

    tenant_id: str
    users: dict[str, User]


@dataclass
class Shop:
    """A tenant with two users, products and documents."""

    tenant_id: str
    alice: User
    bob: User
    database: Database = field(repr=False)

    def user(self, name: str) -> User:
        return {"alice": self.alice, "bob": self.bob}[name]

    def rows(self, table: str, **equal: Any) -> list[dict[str, Any]]:
        return self.database.rows(table, self.tenant_id, **equal)

    def place(self, user: User, sku: str, quantity: int) -> None:
        """Place an order over the API. What goes wrong here is a failure of the test, not of its setup."""
        before = len(self.rows("orders", user_id=user.name))
        order, key = {"sku": sku, "quantity": quantity}, {"Idempotency-Key": f"order-{before + 1}"}
        placed = user.request("POST", "/v1/orders", json=order, headers=key)
        seen = f"POST /v1/orders gave {placed.status_code}, expected 201"
        check(placed.status_code == 201, Property.GOAL_STATE, seen)
        new = len(self.rows("orders", user_id=user.name)) - before
        check(new == 1, Property.GOAL_STATE, f"{new} orders of {user.name} after ordering once, expected 1")

    def order_once_each(self) -> None:
        """Let each user place an order."""
        for user in (self.alice, self.bob):
            self.place(user, "mug-blue", 1)

    def order_of(self, user: User) -> dict[str, Any]:
        """The user's first order, as the database has it, with its shipment's tracking code."""
        order = min(self.rows("orders", user_id=user.name), key=lambda o: str(o["order_number"]))
        (shipment,) = self.rows("shipments", order_number=order["order_number"])
        return order | {"tracking_code": shipment["tracking_code"]}


@dataclass(frozen=True)
class Platform:
    """The platform under test, through its public door and through its database."""

    target: Target
    http: httpx.Client
    database: Database

    @contextmanager
    def open_tenant(self, **fields: Any) -> Iterator[Tenant]:
        """A tenant with these fields of POST /v1/admin/tenants; by default alice, with every scope, and PRODUCTS.

        It is removed afterwards. Raises RuntimeError if the platform does not make one.
        """
        admin = {"Authorization": f"Bearer {self.target.admin_key}"}
        usual = {"seed": 1, "mode": self.target.mode, "products": PRODUCTS}
        body = {**usual, "users": [{"name": "alice", "scopes": SCOPES}], **fields}
        try:
            made = self.http.post("/v1/admin/tenants", json=body, headers=admin)
        except httpx.TransportError as error:
            url = self.target.gateway
            raise RuntimeError(f"PROCTOR_ENDPOINT_GATEWAY ({url}) does not answer: {error!r}") from error
        if made.status_code != 201:
            raise RuntimeError(f"POST /v1/admin/tenants gave {made.status_code}, expected 201: no tenant to test with")
        tenant_id = made.json()["tenant_id"]
        try:
            yield Tenant(tenant_id, {u["name"]: User(u["name"], u["key"], self.http) for u in made.json()["users"]})
        finally:
            self.http.delete(f"/v1/admin/tenants/{tenant_id}", headers=admin).raise_for_status()

    @contextmanager
    def open_shop(self, seed: int, mode: str | None = None) -> Iterator[Shop]:
        """A shop for one test, in the suites' mode or another; it is removed afterwards.

        Raises RuntimeError if the platform does not make one.
        """
        fewer = ["messages:write", "episodes:read", "orders:read", "orders:write"]
        users = [{"name": "alice", "scopes": SCOPES}, {"name": "bob", "scopes": fewer}]
        with self.open_tenant(seed=seed, mode=mode or self.target.mode, users=users) as made:
            alice, bob = made.users["alice"], made.users["bob"]
            stored = alice.request("POST", "/v1/documents:batch", json={"documents": DOCUMENTS})
            if stored.status_code != 200:
                raise RuntimeError(f"POST /v1/documents:batch gave {stored.status_code}, expected 200")
            yield Shop(made.tenant_id, alice, bob, self.database)


@pytest.fixture(scope="session")
def platform(target: Target, model_ready: None) -> Iterator[Platform]:
    with httpx.Client(base_url=target.gateway, timeout=30) as http, closing(Database(target.ops_dsn)) as database:
        yield Platform(target, http, database)


@pytest.fixture
def seeded(platform: Platform, request: pytest.FixtureRequest) -> random.Random:
    """The only source of chance: the run's seed and the test's name."""
    return random.Random(f"{platform.target.seed}/{request.node.nodeid}")


@pytest.fixture
def shop(platform: Platform, seeded: random.Random) -> Iterator[Shop]:
    """A fresh shop; it is removed after the test."""
    with platform.open_shop(seeded.getrandbits(32)) as shop:
        yield shop
