"""A customer of the shop, over HTTP."""

import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from _helpers.properties import Property, check

EPISODE_SECONDS = 15.0
"""A message is answered in a fraction of a second; this is the patience of a customer."""


@dataclass
class User:
    """One user of one tenant."""

    name: str
    key: str = field(repr=False)
    http: httpx.Client = field(repr=False)

    def request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}", **kwargs.pop("headers", {})}
        return self.http.request(method, path, headers=headers, **kwargs)

    def send(self, text: str, key: str | None = None, conversation: int | None = None) -> httpx.Response:
        """POST a message, with an Idempotency-Key if one is given."""
        body: dict[str, Any] = {"text": text}
        if conversation is not None:
            body["conversation"] = conversation
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.request("POST", "/v1/messages", json=body, headers=headers)

    def say(self, text: str, conversation: int | None = None) -> dict[str, Any]:
        """Send a message and wait for its end; gives the episode."""
        return self.wait(accepted(self.send(text, conversation=conversation)))

    def wait(self, episode_id: str) -> dict[str, Any]:
        """The episode when it has ended; the gateway holds the answer back until then."""
        deadline = time.monotonic() + EPISODE_SECONDS
        episode: dict[str, Any] = {}
        for _ in range(10):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            response = self.request(
                "GET", f"/v1/episodes/{episode_id}", headers={"Prefer": f"wait={min(max(int(left), 1), 20)}"}
            )
            seen = f"GET /v1/episodes/... gave {response.status_code}, expected 200"
            check(response.status_code == 200, Property.EPISODE_ENDS, seen)
            episode = response.json()
            if episode["state"] in ("done", "failed"):
                return episode
        raise AssertionError(
            f"{Property.EPISODE_ENDS}: an accepted message is {episode.get('state')!r} after {EPISODE_SECONDS:.0f} s"
        )


def accepted(response: httpx.Response) -> str:
    """The episode id of a message that was accepted."""
    seen = f"POST /v1/messages gave {response.status_code}, expected 202"
    check(response.status_code == 202, Property.EPISODE_ENDS, seen)
    episode_id: str = response.json()["episode_id"]
    return episode_id
