"""A proxy between one operator process and the API server that kills the operator at its n-th write.

SIGKILL just before the write leaves the proxy, or just after the API server's answer came back and before the operator
sees it: the two sides of the only moments at which a crash can matter.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import aiohttp
from aiohttp import web
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config

Moment = Literal["before", "after"]
HOP = {"host", "authorization", "content-length", "transfer-encoding", "connection", "content-encoding"}


class KillingProxy:
    """Forwards to the API server of the current context; `on_kill` is called when the moment has come."""

    def __init__(self, on_kill: Callable[[], None], moment: Moment, nth: int | None) -> None:
        self._on_kill = on_kill
        self._moment = moment
        self._nth = nth
        self.writes: list[str] = []
        self.url = ""

    async def __aenter__(self) -> "KillingProxy":
        configuration = kubernetes_client.Configuration()
        await kubernetes_config.load_kube_config(client_configuration=configuration)
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
        self._server = configuration.host
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        app = web.Application(client_max_size=8 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._forward)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        mine = False
        if request.method != "GET" and "/leases" not in request.path:
            self.writes.append(f"{request.method} {request.path}")
            mine = len(self.writes) == self._nth
        if mine and self._moment == "before":
            self._on_kill()
            raise web.HTTPServiceUnavailable
        headers = {key: value for key, value in request.headers.items() if key.lower() not in HOP}
        body = await request.read()
        timeout = aiohttp.ClientTimeout(total=None)
        url = self._server + request.raw_path
        async with self._session.request(
            request.method, url, headers=headers, data=body or None, timeout=timeout
        ) as answer:
            kept = {key: value for key, value in answer.headers.items() if key.lower() not in HOP}
            if mine:
                await answer.read()
                self._on_kill()
                raise web.HTTPServiceUnavailable
            response = web.StreamResponse(status=answer.status, headers=kept)
            with contextlib.suppress(ConnectionResetError):  # The operator was killed while it was being answered.
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
            return response


class OperatorProcess:
    """The operator as a process of this machine, for one namespace, started again whenever it has been killed."""

    def __init__(self, namespace: str, folder: Path, runner_image: str) -> None:
        self._namespace = namespace
        self._folder = folder
        self._image = runner_image
        self._process: asyncio.subprocess.Process | None = None
        self.starts = 0

    async def keep_running(self, url: str) -> None:
        """Run it until cancelled."""
        config = self._folder / "kubeconfig"
        cluster, context = {"name": "c", "cluster": {"server": url}}, {"cluster": "c", "user": "u"}
        value = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [cluster],
            "users": [{"name": "u", "user": {"token": "none"}}],
            "contexts": [{"name": "c", "context": context}],
            "current-context": "c",
        }
        config.write_text(json.dumps(value))
        environment = os.environ | {
            "KUBECONFIG": str(config),
            "PROCTOR_RUNNER_IMAGE": self._image,
            "PROCTOR_NAMESPACES": self._namespace,
            "POD_NAMESPACE": self._namespace,
            "POD_NAME": "operator-under-test",
            "PROCTOR_PORT": str(_free_port()),
        }
        command = [sys.executable, "-m", "kopf", "run", "-m", "proctor.edge.main", "--namespace", self._namespace]
        try:
            while True:
                self.starts += 1
                with (self._folder / f"operator-{self.starts}.log").open("wb") as log:
                    self._process = await asyncio.create_subprocess_exec(
                        *command, env=environment, stdout=log, stderr=log
                    )
                    await self._process.wait()
                if self.starts > 10:
                    raise AssertionError(f"the operator ended 10 times; see {self._folder}")
        finally:
            self.kill()
            if self._process is not None:
                await self._process.wait()

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
