"""The router's own door: what each of its pods decides of a text."""

import http.client
import json
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

OTHER = "other"
"""The label of what no agent is for."""
SECONDS = 30.0
CONNECTIONS = 2
"""More would only queue: a pod decides one text at a time."""
DIGITS = 6
"""Of a probability."""


Told = tuple[int, bytes]
"""Status and body of an answer."""


@dataclass(frozen=True)
class Answer:
    """A decision, as the router tells it."""

    agent: str
    exit: bool
    """Whether the agent is final; if not, a language model is asked."""
    probabilities: dict[str, float]
    model_version: str

    @property
    def probability(self) -> float:
        """That of the agent."""
        return self.probabilities[self.agent]


@dataclass(frozen=True)
class Router:
    """The pods of the router, which all answer alike."""

    pods: Sequence[str]
    http: httpx.Client = field(repr=False)
    """A client of the first of them."""

    def models(self) -> list[dict[str, Any]]:
        """What each pod says that it decides with. Raises RuntimeError for a pod that does not say."""
        return [_json(_Door(pod).send("GET", "/model"), f"GET {pod}/model") for pod in self.pods]

    def ask(self, texts: Sequence[str], chance: random.Random) -> list[Answer]:
        """The decision on each text, in turn by each pod, each in a trace of its own.

        Raises RuntimeError for an answer that is no decision.
        """
        bodies = [json.dumps({"text": text}).encode() for text in texts]
        traces = [trace_header(chance) for _ in texts]
        count = max(CONNECTIONS, len(self.pods))
        parts = [range(number, len(texts), count) for number in range(count)]

        def work(number: int) -> list[Answer]:
            door = _Door(self.pods[number % len(self.pods)])
            return [_decision(door.send("POST", "/route", bodies[at], traces[at])) for at in parts[number]]

        answers: dict[int, Answer] = {}
        with ThreadPoolExecutor(count) as pool:
            for part, decided in zip(parts, pool.map(work, range(count)), strict=True):
                answers |= dict(zip(part, decided, strict=True))
        return [answers[at] for at in range(len(texts))]

    def post(self, pod: str, body: bytes, sent: Callable[[], object] = lambda: None) -> int:
        """Send a body to one pod on a connection of its own, and call `sent` before waiting; gives the status."""
        return _Door(pod).send("POST", "/route", body, sent=sent)[0]

    def send(self, body: bytes) -> httpx.Response:
        """Send any body to /route. Raises RuntimeError if there is no answer, of whatever status."""
        try:
            return self.http.post("/route", content=body, headers={"Content-Type": "application/json"})
        except httpx.TransportError as error:
            raise RuntimeError(f"the router ({self.pods[0]}) does not answer POST /route: {error!r}") from error


def trace_header(chance: random.Random) -> dict[str, str]:
    """A trace of its own for a request (W3C Trace Context)."""
    return {"traceparent": f"00-{chance.getrandbits(128) or 1:032x}-{chance.getrandbits(64) or 1:016x}-01"}


class _Door:
    """One connection that is kept: httpx would take longer to ask than the router to answer."""

    def __init__(self, pod: str) -> None:
        url = urlsplit(pod)
        self._pod, self._connection = pod, http.client.HTTPConnection(url.hostname or "", url.port, timeout=SECONDS)

    def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        trace: Mapping[str, str] | None = None,
        sent: Callable[[], object] = lambda: None,
    ) -> Told:
        try:
            self._connection.request(method, path, body, {"Content-Type": "application/json", **(trace or {})})
            sent()
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise RuntimeError(f"the router ({self._pod}) does not answer {method} {path}: {error!r}") from error


def _json(answer: Told, what: str) -> Any:
    status, body = answer
    if status != 200:
        raise RuntimeError(f"{what} gave {status}, expected 200")
    return json.loads(body)


def _decision(answer: Told) -> Answer:
    told = _json(answer, "POST /route")
    try:
        return Answer(**told)
    except TypeError as error:
        raise RuntimeError(f"POST /route gave {str(told)[:200]}, which is no decision: {error}") from error
