"""The record/replay proxy through its admin API: what a suite may do to cassettes, and ask about them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from _helpers.target import endpoint

_NOT_LIVE = ("no-live-upstream", "upstream-failed", "ceiling-reached")
RECORDING_SECONDS = 60.0
"""How long another's recording may take before this one gives up."""


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

    def refusal_of(self, name: str, text: str) -> str | None:
        """Why a cassette is not taken, or None."""
        answer = self._send("PUT", f"/cassettes/{name}", content=text.encode())
        return None if answer.is_success else _problem(answer)

    @contextmanager
    def record(self, name: str) -> Iterator[None]:
        """Record into a cassette what GOLDEN misses while the block lasts; first wait for the end of another recording.

        The proxy is everybody's, and so is a recording: give it a name that nobody else has, and remove it.
        """
        deadline = time.monotonic() + RECORDING_SECONDS
        while (answer := self._send("POST", "/recording", json={"cassette": name})).status_code == 409:
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"the cassette proxy cannot record {name} ({RECORDING_SECONDS:.0f} s): {answer.text}"
                )
        if not answer.is_success:
            raise RuntimeError(f"the cassette proxy refuses to record {name}: {_problem(answer)}")
        try:
            yield
        finally:
            self._ask("DELETE", "/recording")

    def text(self, name: str) -> str:
        """A cassette: JSON lines."""
        return self._ask("GET", f"/cassettes/{name}").text

    def remove(self, name: str) -> None:
        """Have the proxy forget a cassette, if it has it."""
        answer = self._send("DELETE", f"/cassettes/{name}")
        if not answer.is_success and answer.status_code != 404:
            raise RuntimeError(f"the cassette proxy does not remove {name}: {_problem(answer)}")

    def unused(self, name: str) -> list[str]:
        """The ids of a cassette's interactions that were not replayed since the proxy's start."""
        unused: list[str] = self._ask("GET", f"/cassettes/{name}/usage").json()["unused"]
        return unused

    def verify(self, name: str) -> dict[str, Any]:
        """Have the first upstream asked for all again: {same: n, different: [{id, ...}], failed: [{id, ...}]}."""
        told: dict[str, Any] = self._ask("POST", f"/cassettes/{name}:verify").json()
        return told

    def live(self) -> dict[str, int]:
        """What LIVE_SMOKE has spent, and its ceilings: calls, tokens, max_calls, max_tokens."""
        told: dict[str, int] = self._ask("GET", "/live").json()
        return told

    def reset_live(self) -> None:
        """Let LIVE_SMOKE begin again. Only for an upstream whose calls cost nothing."""
        self._ask("DELETE", "/live")

    def refusal_of_live_call(self) -> str | None:
        """Why a call in LIVE_SMOKE would not be answered, or None. It costs one call of the ceiling and no token."""
        answer = self._send("GET", "/v1/models", headers={"X-Proctor-Mode": "LIVE_SMOKE"})
        if answer.is_success:
            return None
        if not any(code in answer.text for code in _NOT_LIVE):
            raise RuntimeError(f"the cassette proxy does not answer in LIVE_SMOKE: {_problem(answer)}")
        return _problem(answer)

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
