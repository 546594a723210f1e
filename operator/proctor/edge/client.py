"""Requests to the API server as plain JSON.

The generated model classes of the kubernetes client cost memory and time that 1,000 runs would feel, so only its
connection, authentication and retry layers are used.
"""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import aiohttp
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config

from proctor.api import names
from proctor.edge import metrics

TIMEOUT = 30
"""Seconds for one request."""
Json = dict[str, Any]

PREFIXES = {
    "configmaps": "/api/v1",
    "pods": "/api/v1",
    "events": "/api/v1",
    "namespaces": "/api/v1",
    "serviceaccounts": "/api/v1",
    "resourcequotas": "/api/v1",
    "limitranges": "/api/v1",
    "jobs": "/apis/batch/v1",
    "deployments": "/apis/apps/v1",
    "statefulsets": "/apis/apps/v1",
    "daemonsets": "/apis/apps/v1",
    "leases": "/apis/coordination.k8s.io/v1",
    "horizontalpodautoscalers": "/apis/autoscaling/v2",
    "podchaos": "/apis/chaos-mesh.org/v1alpha1",
    "networkchaos": "/apis/chaos-mesh.org/v1alpha1",
} | dict.fromkeys(names.PLURALS.values(), f"/apis/{names.API_VERSION}")


class ApiError(Exception):
    """The API server's refusal: HTTP status, its one-word reason, its message."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message

    @property
    def final(self) -> bool:
        """Whether repeating the request unchanged cannot help."""
        return self.status in (400, 403, 404, 405, 413, 415, 422)


class Client:
    """One connection pool to one API server."""

    def __init__(self, api: kubernetes_client.ApiClient) -> None:
        self._api = api

    @classmethod
    async def connect(cls) -> "Client":
        """Return a client for the cluster that we run in, or else for the current context of the kubeconfig."""
        configuration = kubernetes_client.Configuration()
        configuration.connection_pool_maxsize = 64
        try:
            kubernetes_config.load_incluster_config(client_configuration=configuration)
        except kubernetes_config.ConfigException:
            await kubernetes_config.load_kube_config(client_configuration=configuration)
        return cls(kubernetes_client.ApiClient(configuration))

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def get(self, plural: str, namespace: str, name: str) -> Json:
        """Return one object."""
        return await self._call("GET", plural, namespace, name)

    async def list(self, plural: str, namespace: str | None, selector: str = "") -> tuple[list[Json], str]:
        """Return the objects that match a label selector, and the list's resourceVersion. None: all namespaces."""
        items: list[Json] = []
        query = {"labelSelector": selector, "limit": "500"}
        while True:
            page = await self._call("GET", plural, namespace, query=query)
            items += page.get("items") or []
            token = page["metadata"].get("continue")
            if not token:
                return items, page["metadata"]["resourceVersion"]
            query["continue"] = token

    async def create(
        self,
        plural: str,
        namespace: str | None,
        body: Mapping[str, Any],
        *,
        part: str = "",
        dry_run: bool = False,
    ) -> Json:
        """Create an object, or a `part` of the one that the body names ("eviction"). Unknown fields are refused."""
        name = body["metadata"]["name"] if part else ""
        query = {"fieldValidation": "Strict", "fieldManager": "proctor"} | _dry(dry_run)
        return await self._call("POST", plural, namespace, name, part=part, query=query, body=body)

    async def replace(self, plural: str, namespace: str, body: Mapping[str, Any], *, part: str = "") -> Json:
        """Replace an object, or its `part` such as "status", if it still has the body's resourceVersion."""
        query = {"fieldManager": "proctor"}
        return await self._call("PUT", plural, namespace, body["metadata"]["name"], part=part, query=query, body=body)

    async def merge(self, plural: str, namespace: str, name: str, body: Mapping[str, Any]) -> Json:
        """Merge `body` into an object (JSON merge patch)."""
        return await self._call("PATCH", plural, namespace, name, query={"fieldManager": "proctor"}, body=body)

    async def add(
        self, plural: str, namespace: str, name: str, body: Mapping[str, Any], *, part: str, dry_run: bool = False
    ) -> Json:
        """Merge `body` into a `part` of an object, list items by their names (strategic merge patch)."""
        query = {"fieldManager": "proctor"} | _dry(dry_run)
        return await self._call("PATCH", plural, namespace, name, part=part, query=query, body=body)

    async def delete(
        self,
        plural: str,
        namespace: str,
        name: str,
        uid: str,
        *,
        grace: int | None = None,
        dry_run: bool = False,
    ) -> None:
        """Delete an object and, in the background, what it owns, if it still has this uid; `grace` in seconds."""
        body: Json = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        await self._call("DELETE", plural, namespace, name, query=_dry(dry_run), body=body)

    async def watch(
        self, plural: str, namespace: str | None, selector: str, since: str, seconds: int
    ) -> AsyncIterator[Json]:
        """Yield watch events after resourceVersion `since`, for at most `seconds`."""
        query = {
            "watch": "true",
            "labelSelector": selector,
            "resourceVersion": since,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(seconds),
        }
        response = await self._send("GET", plural, namespace, query=query, seconds=seconds + TIMEOUT)
        try:
            with _connection():
                async for line in response.response.content:
                    if not line.endswith(b"\n"):
                        raise ConnectionError("the watch was cut off in the middle of an event")
                    yield json.loads(line)
        finally:
            response.response.close()

    async def _call(self, method: str, plural: str, namespace: str | None, name: str = "", **kwargs: Any) -> Json:
        response = await self._send(method, plural, namespace, name, **kwargs)
        with _connection():
            value: Json = json.loads(await response.read())
        return value

    async def _send(
        self,
        method: str,
        plural: str,
        namespace: str | None,
        name: str = "",
        *,
        part: str = "",
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        seconds: int = TIMEOUT,
    ) -> Any:
        path = PREFIXES[plural]
        path += f"/namespaces/{namespace}" if namespace else ""
        path += "".join(f"/{piece}" for piece in (plural, name, part) if piece)
        kind = "strategic-merge-patch" if part else "merge-patch"
        content = f"application/{kind}+json" if method == "PATCH" else "application/json"
        request = await self._api.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Content-Type": content, "Accept": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        verb, url, headers, payload, _ = request
        with _connection():
            response = await self._api.call_api(verb, url, headers, payload, _request_timeout=seconds)
        metrics.api_request(method, plural, response.status)
        if not 200 <= response.status < 300:
            with _connection():
                raise _error(response.status, await response.read())
        return response


def _dry(run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if run else {}


@contextmanager
def _connection() -> Iterator[None]:
    """Raise what aiohttp says of a broken connection as the OSError that callers expect of any socket."""
    try:
        yield
    except aiohttp.ClientError as error:
        raise ConnectionError(f"{type(error).__name__}: {error}") from error


def _error(status: int, text: bytes) -> ApiError:
    try:
        answer = json.loads(text)
        return ApiError(status, str(answer.get("reason", "")), str(answer.get("message", "")))
    except (ValueError, AttributeError):
        return ApiError(status, "", text[:200].decode(errors="replace"))
