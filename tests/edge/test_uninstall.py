"""What heals before the operator goes, against a real HTTP server that holds experiments."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client as kubernetes_client

from proctor.api import names
from proctor.edge import uninstall
from proctor.edge.client import ApiError, Client

PATH = re.compile(rf"/apis/{names.API_VERSION}/namespaces/(\w+)/chaosexperiments(?:/(\w+))?")


class Server:
    """Holds experiments by namespace and name. `operator` sees each change and heals as it likes."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], dict[str, Any]] = {}
        self.patches: list[tuple[str, str, dict[str, Any]]] = []
        self.operator: Callable[[dict[str, Any]], None] = lambda experiment: None
        self.status = 0

    def add(self, namespace: str, name: str, *, finalizers: list[str], **fields: Any) -> None:
        meta = {"namespace": namespace, "name": name, "finalizers": finalizers}
        self.held[namespace, name] = {"metadata": meta, "spec": {}, "status": {}, **fields}

    def on(self) -> list[tuple[str, str]]:
        held = [(key, one["metadata"]["finalizers"]) for key, one in self.held.items()]
        return [key for key, finalizers in held if names.FINALIZER in finalizers]

    async def handle(self, request: web.Request) -> web.Response:
        match = PATH.fullmatch(request.path)
        assert match is not None, request.path
        if self.status:
            return self._answer({"reason": "Odd", "message": "odd"}, self.status)
        namespace, name = match.groups()
        if request.method == "GET":
            for known in list(self.held.values()):
                self.operator(known)
            items = [one for (where, _), one in self.held.items() if where == namespace]
            return self._answer({"items": items, "metadata": {"resourceVersion": "1"}})
        body = await request.json()
        self.patches.append((namespace, name, body))
        one = self.held.get((namespace, name))
        if one is None:
            return self._answer({"reason": "NotFound", "message": name}, 404)
        for part, value in body.items():
            one[part] = {**one[part], **value}
        return self._answer(one)

    def _answer(self, body: Any, status: int = 200) -> web.Response:
        return web.Response(status=status, text=json.dumps(body), content_type="application/json")


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setattr(uninstall, "PAUSE", 0.02)
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    client = Client(kubernetes_client.ApiClient(kubernetes_client.Configuration(host=host)))
    server.client = client  # type: ignore[attr-defined]
    yield server
    await client.close()
    await runner.cleanup()


async def heal(server: Server, *namespaces: str, patience: float = 5) -> int:
    async with asyncio.timeout(10):
        return await uninstall.heal(server.client, namespaces, patience)  # type: ignore[attr-defined]


def heals(experiment: dict[str, Any]) -> None:
    """The operator still works: what is aborted is healed."""
    if experiment["spec"].get("abort"):
        experiment["status"]["verdict"] = "Error"
        experiment["metadata"]["finalizers"] = [
            name for name in experiment["metadata"]["finalizers"] if name != names.FINALIZER
        ]


async def test_what_is_on_is_aborted_and_waited_for(server: Server) -> None:
    server.operator = heals
    server.add("shop", "cut", finalizers=[names.FINALIZER])
    server.add("bank", "kill", finalizers=["other", names.FINALIZER])
    server.add("shop", "over", finalizers=[], status={"verdict": "Passed"})
    server.add("alien", "cut", finalizers=[names.FINALIZER])
    assert await heal(server, "shop", "bank") == 0
    assert sorted((where, name) for where, name, _ in server.patches) == [("bank", "kill"), ("shop", "cut")]
    assert all(body == {"spec": {"abort": True}} for *_, body in server.patches)
    assert server.on() == [("alien", "cut")], "other namespaces are not its business"


async def test_what_has_not_begun_is_aborted_too_and_what_begins_meanwhile(server: Server) -> None:
    server.operator = heals
    server.add("shop", "chosen", finalizers=[])
    looks = 0

    def another(experiment: dict[str, Any]) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            server.held["shop", "late"] = {
                "metadata": {"namespace": "shop", "name": "late", "finalizers": [names.FINALIZER]},
                "spec": {},
                "status": {},
            }
        heals(experiment)

    server.operator = lambda experiment: (
        another(experiment) if experiment["metadata"]["name"] == "chosen" else heals(experiment)
    )
    assert await heal(server, "shop") == 0
    assert {name for _, name, _ in server.patches} == {"chosen", "late"}
    assert server.on() == []


async def test_without_an_operator_the_finalizers_come_off_in_the_end(server: Server) -> None:
    server.add("shop", "cut", finalizers=["other", names.FINALIZER])
    assert await heal(server, "shop", patience=0.1) == 1
    assert server.held["shop", "cut"]["metadata"]["finalizers"] == ["other"]
    assert server.patches[0][2] == {"spec": {"abort": True}}, "it was aborted first"


async def test_an_experiment_that_goes_meanwhile_is_fine(server: Server) -> None:
    server.add("shop", "cut", finalizers=[names.FINALIZER])

    def goes(experiment: dict[str, Any]) -> None:
        asyncio.get_running_loop().call_soon(server.held.clear)

    server.operator = goes
    assert await heal(server, "shop") == 0


async def test_an_api_server_that_refuses_is_told(server: Server) -> None:
    server.status = 403
    with pytest.raises(ApiError, match="403"):
        await heal(server, "shop")


async def test_nothing_to_do(server: Server) -> None:
    assert await heal(server) == 0
    assert await heal(server, "shop") == 0
    assert server.patches == []
