"""The client and the watches against a real HTTP server on loopback, which answers what a test tells it to."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client as kubernetes_client

from proctor.api import names
from proctor.edge import watch
from proctor.edge.client import ApiError, Client
from proctor.edge.observe import refusal_of
from proctor.edge.store import Store

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Answers every request with `handler` and notes what was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.handler: Handler | None = None
        self.port = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        asked = (request.method, request.path, dict(request.query), json.loads(text) if text else None)
        self.requests.append(asked)
        assert self.handler is not None
        return await self.handler(request)

    def answer(self, status: int, body: Any) -> None:
        async def handler(_: web.Request) -> web.StreamResponse:
            text = body if isinstance(body, str) else json.dumps(body)
            return web.Response(status=status, text=text, content_type="application/json")

        self.handler = handler


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.port = runner.addresses[0][1]
    yield server
    await runner.cleanup()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    configuration = kubernetes_client.Configuration(host=f"http://127.0.0.1:{server.port}")
    client = Client(kubernetes_client.ApiClient(configuration))
    yield client
    await client.close()


@pytest.mark.parametrize(
    ("status", "body", "reason", "final"),
    [
        (404, {"reason": "NotFound", "message": "no such job"}, "NotFound", True),
        (409, {"reason": "AlreadyExists", "message": "there"}, "AlreadyExists", False),
        (422, {"reason": "Invalid", "message": "bad"}, "Invalid", True),
        (403, {"reason": "Forbidden", "message": "exceeded quota: q"}, "Forbidden", True),
        (429, {"reason": "TooManyRequests", "message": "later"}, "TooManyRequests", False),
        (500, {"reason": "InternalError", "message": "x"}, "InternalError", False),
        (502, "<html>bad gateway</html>", "", False),
        (503, "[]", "", False),
    ],
)
async def test_refusals_keep_status_reason_and_message(
    server: Server, client: Client, status: int, body: Any, reason: str, final: bool
) -> None:
    server.answer(status, body)
    with pytest.raises(ApiError) as refused:
        await client.create("jobs", "ns", {"metadata": {"name": "j"}})
    error = refused.value
    assert (error.status, error.reason, error.final) == (status, reason, final)
    assert error.message == (body["message"] if isinstance(body, dict) else body)


@pytest.mark.parametrize(
    ("status", "message", "quota"),
    [
        (403, "pods is forbidden: exceeded quota: q", True),
        (403, "denied by policy", False),
        (422, "exceeded quota", False),
    ],
)
def test_only_a_forbidden_quota_is_a_quota(status: int, message: str, quota: bool) -> None:
    assert refusal_of(ApiError(status, "", message)).quota is quota


async def test_requests_are_what_the_api_server_expects(server: Server, client: Client) -> None:
    server.answer(200, {"metadata": {"resourceVersion": "1"}})
    body = {"metadata": {"name": "r"}}
    await client.get("jobs", "ns", "j")
    await client.create("pods", "ns", body, dry_run=True)
    await client.replace("testruns", "ns", body, part="status")
    await client.merge("testruns", "ns", "r", {"spec": {"abort": True}})
    await client.delete("jobs", "ns", "j", "uid-1")
    get, create, replace, merge, delete = server.requests
    assert get[:2] == ("GET", "/apis/batch/v1/namespaces/ns/jobs/j")
    assert create[:2] == ("POST", "/api/v1/namespaces/ns/pods")
    assert (create[2]["fieldValidation"], create[2]["dryRun"]) == ("Strict", "All")
    assert replace[:2] == ("PUT", f"/apis/{names.API_VERSION}/namespaces/ns/testruns/r/status")
    assert merge[0] == "PATCH"
    assert merge[3] == {"spec": {"abort": True}}
    assert delete[3]["preconditions"] == {"uid": "uid-1"}
    assert delete[3]["propagationPolicy"] == "Background"


async def test_lists_are_read_page_by_page(server: Server, client: Client) -> None:
    async def pages(request: web.Request) -> web.StreamResponse:
        second = request.query.get("continue") == "token"
        meta = {"resourceVersion": "7", **({} if second else {"continue": "token"})}
        return web.json_response({"metadata": meta, "items": [{"n": 2}] if second else [{"n": 1}]})

    server.handler = pages
    assert await client.list("jobs", None, "a=b") == ([{"n": 1}, {"n": 2}], "7")
    assert [request[1] for request in server.requests] == ["/apis/batch/v1/jobs"] * 2
    assert server.requests[0][2]["labelSelector"] == "a=b"


async def test_a_dead_server_is_an_os_error(server: Server, client: Client) -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    server.handler = hang_up
    with pytest.raises(OSError, match=r".+"):
        await client.get("jobs", "ns", "j")


def event(kind: str, name: str, version: int) -> bytes:
    labels = {names.LABEL_RUN_UID: "r", names.LABEL_STEP: "s", names.LABEL_ROLE: names.ROLE_STEP}
    meta = {
        "name": name,
        "uid": name,
        "namespace": "ns",
        "resourceVersion": str(version),
        "labels": labels,
        "creationTimestamp": "2026-03-02T09:00:00Z",
        "annotations": {"big": "x" * 300_000},
    }
    return json.dumps({"type": kind, "object": {"metadata": meta, "spec": {}, "status": {}}}).encode() + b"\n"


GONE = json.dumps({"type": "ERROR", "object": {"code": 410, "message": "too old"}}).encode() + b"\n"


@pytest.mark.parametrize(
    ("tail", "cut"),
    [
        (b"", False),
        (b"", True),
        (b'{"type": "MODI', False),
        (b'{"type": "MODI', True),
        (GONE, False),
    ],
    ids=["ends", "breaks", "ends in an event", "breaks in an event", "too old"],
)
async def test_a_watch_that_ends_in_any_way_is_followed_by_a_new_list(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch, tail: bytes, cut: bool
) -> None:
    monkeypatch.setattr(watch, "PAUSE", 0.001)
    lists = 0
    again = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal lists
        if "watch" not in request.query:
            lists += 1
            if lists == 3:
                again.set()
            return web.json_response({"metadata": {"resourceVersion": "5"}, "items": []})
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(event("ADDED", "a", 6) + event("ADDED", "b", 7) + event("DELETED", "b", 8) + tail)
        if cut:
            await asyncio.sleep(0.01)
            assert request.transport is not None
            request.transport.abort()
        return response

    server.handler = handler
    store, listed = Store(lambda _: None), asyncio.Event()
    task = asyncio.create_task(watch.children(client, store, "jobs", "ns", listed))
    async with asyncio.timeout(10):
        await asyncio.wait({task, asyncio.create_task(again.wait())}, return_when=asyncio.FIRST_COMPLETED)
    assert not task.done(), "a broken watch must not end the operator"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert listed.is_set()
    assert [job.name for job in store.jobs("r")] == ["a"], "version 6 is newer than the list of 5"
