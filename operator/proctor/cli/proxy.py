"""The cassette proxy as its administrator sees it: the way to it, the key, and what it is asked.

The key is sent as a header and goes nowhere else: not into messages, not into arguments of other programs.
"""

import base64
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

from proctor.api.names import ENV_TARGET_PREFIX
from proctor.cli import kubectl
from proctor.cli.errors import CommandError

KEY = "ADMIN_KEY"
ENV_KEY = ENV_TARGET_PREFIX + KEY
_SECONDS = 600
"""The proxy asks its upstream for a whole cassette before it answers a `verify`."""
# The address is that of this machine or of the cluster; a company's web proxy knows neither.
_OPENER = build_opener(ProxyHandler({}))


@dataclass(frozen=True)
class Way:
    """Where the proxy is: at `url`, or behind a Service of a namespace, by a port-forward."""

    url: str | None = None
    namespace: str | None = None
    service: str = "cassette"
    secret: str = "bazaar-oracle"  # noqa: S105 - the name of an object


class Proxy:
    """A proxy that can be reached. Everything raises CommandError with what the proxy said."""

    def __init__(self, url: str, key: str, origin: str) -> None:
        self._url = url
        self._key = key
        self._origin = origin

    def state(self) -> tuple[str | None, dict[str, int]]:
        """Return the name of the recording that is on, and the cassettes by name with their interactions."""
        told = json.loads(self._ask("GET", "/cassettes"))
        return told["recording"], {one["name"]: one["interactions"] for one in told["cassettes"]}

    def unused(self, name: str) -> list[str]:
        """Return the ids of the interactions that were not replayed since the proxy started."""
        ids: list[str] = json.loads(self._ask("GET", f"/cassettes/{name}/usage"))["unused"]
        return ids

    def download(self, name: str) -> bytes:
        """Return a cassette as JSON lines."""
        return self._ask("GET", f"/cassettes/{name}")

    def upload(self, name: str, content: bytes) -> None:
        """Make this the content of a cassette."""
        self._ask("PUT", f"/cassettes/{name}", content, "application/x-ndjson")

    def remove(self, name: str) -> None:
        """Forget a cassette."""
        self._ask("DELETE", f"/cassettes/{name}")

    def verify(self, name: str) -> dict[str, Any]:
        """Have the upstream asked again; return `same` (a count), `different` and `failed`."""
        found: dict[str, Any] = json.loads(self._ask("POST", f"/cassettes/{name}:verify"))
        return found

    def record(self, name: str) -> None:
        """From now on, what no cassette answers is asked upstream and stored in this one."""
        self._ask("POST", "/recording", json.dumps({"cassette": name}).encode(), "application/json")

    def stop_recording(self) -> None:
        """From now on, a miss is a miss."""
        self._ask("DELETE", "/recording")

    def _ask(self, method: str, path: str, body: bytes | None = None, kind: str | None = None) -> bytes:
        headers = {"X-Admin-Key": self._key} | ({"Content-Type": kind} if kind else {})
        request = Request(self._url + path, body, headers, method=method)  # noqa: S310 - `opened` has looked at it
        try:
            with _OPENER.open(request, timeout=_SECONDS) as answer:
                content: bytes = answer.read()
                return content
        except HTTPError as error:
            if error.code == 401:
                raise CommandError(f"the cassette proxy refuses the admin key from {self._origin}") from error
            raise CommandError(f"the cassette proxy refuses {method} {path}: {_detail(error)}") from error
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise CommandError(f"no answer from the cassette proxy at {self._url}: {reason}") from error


@contextmanager
def opened(way: Way) -> Iterator[Proxy]:
    """Give the proxy, and close what was opened to reach it. Raises CommandError when there is no way or no key."""
    if way.url and not way.url.startswith(("http://", "https://")):
        raise CommandError(f"--url {way.url} is no address such as http://127.0.0.1:8080")
    key, origin = _key(way)
    if way.url:
        yield Proxy(way.url.rstrip("/"), key, origin)
        return
    with kubectl.forward(f"service/{way.service}", "http", namespace=way.namespace) as port:
        yield Proxy(f"http://127.0.0.1:{port}", key, origin)


def _key(way: Way) -> tuple[str, str]:
    """Return the admin key, and where it is from."""
    if key := os.environ.get(ENV_KEY):
        return key, f"the environment ({ENV_KEY})"
    if way.url:
        raise CommandError(f"the cassette proxy has an admin key: set {ENV_KEY}")
    secret = kubectl.call(["get", "secret", way.secret], namespace=way.namespace)
    if KEY not in secret.get("data", {}):
        raise CommandError(f"Secret {way.secret} has no key {KEY}: name another by --secret, or set {ENV_KEY}")
    return base64.b64decode(secret["data"][KEY]).decode(), f"Secret {way.secret}"


def _detail(error: HTTPError) -> str:
    """Return what a problem+json says, or the status if it is none."""
    try:
        problem = json.loads(error.read())
        return f"{problem['code']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"status {error.code}"
