"""The record/replay proxy through its admin API: what a suite may do to cassettes, and ask about them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from _helpers.target import endpoint


@dataclass(frozen=True)
class CassetteProxy:
    """The proxy. Every method raises RuntimeError that says what the proxy refused."""

    http: httpx.Client = field(repr=False)

    @classmethod
    @contextmanager
    def of_environment(cls, admin_key: str) -> Iterator["CassetteProxy"]:
        """The proxy at PROCTOR_ENDPOINT_CASSETTE. Raises RuntimeError if the environment does not name it."""
        with httpx.Client(base_url=endpoint("cassette"), headers={"X-Admin-Key": admin_key}, timeout=60) as http:
            yield cls(http)

    def recording(self) -> str | None:
        """The name of the cassette that is being recorded."""
        name: str | None = self._ask("GET", "/cassettes").json()["recording"]
        return name

    def put(self, name: str, text: str) -> None:
        """Put a cassette, JSON lines, in place of the one of this name."""
        self._ask("PUT", f"/cassettes/{name}", content=text.encode())

    def refusal_of_live_call(self) -> str | None:
        """Why a call in LIVE_SMOKE would not be answered, or None. It costs one call of the ceiling and no token."""
        answer = self._send("GET", "/v1/models", headers={"X-Proctor-Mode": "LIVE_SMOKE"})
        return None if answer.is_success else _problem(answer)

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        answer = self._send(method, path, **more)
        if not answer.is_success:
            raise RuntimeError(f"the cassette proxy refuses {method} {path}: {_problem(answer)}")
        return answer

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            return self.http.request(method, path, **more)
        except httpx.TransportError as error:
            url = self.http.base_url
            raise RuntimeError(f"PROCTOR_ENDPOINT_CASSETTE ({url}) does not answer: {error!r}") from error


def _problem(answer: httpx.Response) -> str:
    return f"{answer.status_code} {answer.text[:300]}"
