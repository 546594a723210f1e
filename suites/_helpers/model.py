"""The model server's own witness and its stage: what it was asked, and the answers that it withholds."""

import hashlib
import random
from dataclasses import dataclass, field
from typing import Any

import httpx

RELEASE_TRIES = 2000
"""A hold is met a few milliseconds after the step was announced; each try is a request of a millisecond or more."""


@dataclass(frozen=True)
class ModelServer:
    """The first upstream, PROCTOR_ENDPOINT_MODEL."""

    http: httpx.Client = field(repr=False)

    def calls(self, trace_id: str) -> list[dict[str, Any]]:
        """The calls of a trace, oldest first: role (the step), prompt_tokens, completion_tokens, status."""
        answer = self.http.get("/ledger", params={"trace_id": trace_id}).raise_for_status()
        calls: list[dict[str, Any]] = answer.json()["calls"]
        return calls

    def held(self, key: str) -> list[str]:
        """The trace ids of the answers that are held under a key now."""
        holds = self.http.get("/holds").raise_for_status().json()["holds"]
        return [hold["trace_id"] for hold in holds if hold["key"] == key]

    def let_go(self, key: str) -> int:
        """Let all answers that are held under a key now go on; gives their number, which may be 0."""
        released: int = self.http.post(f"/holds/{key}/release").raise_for_status().json()["released"]
        return released

    def release(self, key: str) -> None:
        """Let the answer that is held under a key go on. Raises RuntimeError if none is ever held."""
        for _ in range(RELEASE_TRIES):
            if self.let_go(key):
                return
        raise RuntimeError(f"the model holds no answer under {key}: its directive did not reach it")


def new_trace(tenant_id: str, seeded: random.Random) -> tuple[str, dict[str, str]]:
    """A trace id, and the headers that have a request belong to it (W3C Trace Context).

    It is a function of the tenant too, whose id no other run has: the ledger outlives a run, and a seed comes again.
    """
    trace_id = hashlib.sha256(f"{tenant_id}/{seeded.getrandbits(64)}".encode()).hexdigest()[:32]
    return trace_id, {"traceparent": f"00-{trace_id}-{trace_id[:16]}-01"}


def hold_key(tenant_id: str) -> str:
    """A key for `[[hold KEY]]` that no other test has. In letters: digits might be somebody's, and are redacted."""
    return "hold-" + tenant_id.replace("-", "").translate(str.maketrans("0123456789", "ghijklmnop"))
