"""The Kubernetes API server, as a pod reaches it with its service account. Standard library only."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MOUNT = "var/run/secrets/kubernetes.io/serviceaccount"
_SECONDS = 10.0
_MAX_BYTES = 4 << 20


class ApiError(Exception):
    """A request had no success. `status` is 0 if there was no answer at all; `reason` is the server's word for why."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.status, self.reason, self.message = status, reason, message

    @property
    def passing(self) -> bool:
        """Return whether the same request may have success later: no answer, too many requests, a server's trouble."""
        return self.status in (0, 429) or self.status >= 500


class ApiServer:
    """The server, and this pod's credential."""

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        """Find the server in `environ` and the mounted token below `root`. Raises ApiError if this pod has none."""
        self._folder = root / MOUNT
        host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
        if not host or not (self._folder / "token").is_file():
            raise ApiError(
                0, "NoCredential", f"this pod has no {self._folder / 'token'}: give the step a serviceAccountName"
            )
        self._url = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        context = ssl.create_default_context(cafile=str(self._folder / "ca.crt"))
        # A proxy of the environment is for the world outside, never for this server.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

    def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, timeout: float = _SECONDS
    ) -> dict[str, Any]:
        """Return the JSON answer to one request; a PATCH is a JSON merge patch. Raises ApiError."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        # The kubelet renews the token's file.
        token = (self._folder / "token").read_text(encoding="ascii").strip()
        request = urllib.request.Request(  # noqa: S310 - https only
            self._url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": kind, "Accept": "application/json"},
            method=method,
        )
        try:
            with self._opener.open(request, timeout=timeout) as answer:
                found: dict[str, Any] = json.loads(answer.read(_MAX_BYTES))
                return found
        except urllib.error.HTTPError as error:
            with error:
                raise ApiError(error.code, *_told(error.read(_MAX_BYTES), error.reason)) from error
        except (OSError, ValueError) as error:
            raise ApiError(0, "NoAnswer", f"{method} {self._url}{path}: {error}") from error


def _told(body: bytes, otherwise: str) -> tuple[str, str]:
    """Return reason and message of a Status object."""
    try:
        status = json.loads(body)
        return str(status["reason"] or "Refused"), str(status["message"])
    except (ValueError, KeyError, TypeError):
        return "Refused", otherwise
