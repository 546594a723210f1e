"""A tenant of a test's own making: with a quota, a rate, scopes or products that the usual shop has not."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from _helpers.client import User

from _fixtures.shops import PRODUCTS, Platform

SCOPES = (
    *("messages:write", "episodes:read", "orders:read", "orders:write", "leads:read", "leads:write"),
    *("documents:read", "documents:write", "usage:read"),
)


@dataclass(frozen=True)
class Tenant:
    """A tenant and its users by name."""

    tenant_id: str
    users: dict[str, User]


MakeTenant = Callable[..., Tenant]
"""Makes a tenant with the given fields of POST /v1/admin/tenants; by default alice, with every scope, and PRODUCTS."""


@pytest.fixture
def tenant(platform: Platform) -> Iterator[MakeTenant]:
    """Make tenants; they are removed after the test. Raises RuntimeError if the platform does not make one."""
    with ExitStack() as stack:
        yield lambda **fields: stack.enter_context(_made(platform, fields))


@contextmanager
def _made(platform: Platform, fields: dict[str, Any]) -> Iterator[Tenant]:
    admin = {"Authorization": f"Bearer {platform.target.admin_key}"}
    usual = {"seed": 1, "mode": platform.target.mode, "products": PRODUCTS}
    body = {**usual, "users": [{"name": "alice", "scopes": SCOPES}], **fields}
    made = platform.http.post("/v1/admin/tenants", json=body, headers=admin)
    if made.status_code != 201:
        raise RuntimeError(f"POST /v1/admin/tenants gave {made.status_code}, expected 201: no tenant to test with")
    tenant_id = made.json()["tenant_id"]
    try:
        users = {user["name"]: User(user["name"], user["key"], platform.http) for user in made.json()["users"]}
        yield Tenant(tenant_id, users)
    finally:
        platform.http.delete(f"/v1/admin/tenants/{tenant_id}", headers=admin).raise_for_status()
