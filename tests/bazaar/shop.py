"""A tenant as a client sees it."""

from dataclasses import dataclass
from typing import Any

import httpx

SCOPES = ["messages:write", "episodes:read", "orders:read", "documents:read", "documents:write"]


@dataclass
class Shop:
    """A tenant with the users alice and bob, and 10 mugs."""

    http: httpx.Client
    tenant_id: str
    keys: dict[str, str]

    def request(self, method: str, path: str, user: str = "alice", **kwargs: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.keys[user]}", **kwargs.pop("headers", {})}
        return self.http.request(method, path, headers=headers, **kwargs)

    def send(
        self, text: str, user: str = "alice", headers: dict[str, str] | None = None, **body: Any
    ) -> httpx.Response:
        return self.request("POST", "/v1/messages", user, json={"text": text, **body}, headers=headers or {})

    def say(self, text: str, user: str = "alice", headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
        """Send a message; gives its episode when it has ended."""
        episode_id = self.send(text, user, headers, **body).raise_for_status().json()["episode_id"]
        return self.wait(episode_id, user)

    def wait(self, episode_id: str, user: str = "alice") -> dict[str, Any]:
        """An episode when it has ended, or as it is after 20 seconds."""
        response = self.request("GET", f"/v1/episodes/{episode_id}", user, headers={"Prefer": "wait=20"})
        episode: dict[str, Any] = response.raise_for_status().json()
        return episode


def new_shop(http: httpx.Client, admin_key: str, seed: int = 1, **tenant: Any) -> Shop:
    body = {
        "seed": seed,
        "users": [{"name": name, "scopes": SCOPES} for name in ("alice", "bob")],
        "products": [{"sku": "mug", "name": "Mug", "price_cents": 790, "stock": 10}],
        **tenant,
    }
    response = http.post("/v1/admin/tenants", json=body, headers={"Authorization": f"Bearer {admin_key}"})
    made = response.raise_for_status().json()
    return Shop(http, made["tenant_id"], {user["name"]: user["key"] for user in made["users"]})
