"""A cassette proxy in front of two real model servers, for tests, and a client of both sides of it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import loopback
from loopback import ROOT, free_port, roles

ADMIN = {"X-Admin-Key": "a-key-for-tests-only"}
MODEL = "bazaar-scripted"


@dataclass
class Proxy:
    """A proxy, its two upstreams and its folder."""

    url: str
    first: str
    second: str
    folder: Path
    process: subprocess.Popen[bytes]

    def call(self, body: Any, mode: str = "GOLDEN", path: str = "chat/completions") -> httpx.Response:
        return httpx.post(f"{self.url}/v1/{path}", json=body, headers={"X-Proctor-Mode": mode}, timeout=30)

    def admin(self, method: str, path: str, **more: Any) -> httpx.Response:
        return httpx.request(method, self.url + path, headers=ADMIN, timeout=60, **more)

    def calls(self, upstream: str) -> int:
        """How many calls the ledger of an upstream has."""
        count = since = 0
        while rows := httpx.get(f"{upstream}/ledger", params={"since": since}).json()["calls"]:
            count, since = count + len(rows), rows[-1]["sequence"]
        return count

    def record(self, bodies: list[Any], name: str = "one") -> list[httpx.Response]:
        self.admin("POST", "/recording", json={"cassette": name}).raise_for_status()
        answers = [self.call(body) for body in bodies]
        self.admin("DELETE", "/recording").raise_for_status()
        return answers


def chat(text: str, seed: int = 0, **more: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    return {"model": MODEL, "seed": seed, "messages": messages, "metadata": {"step": "compose"}, **more}


@contextmanager
def two_models(folders: list[Path]) -> Iterator[list[str]]:
    """Two model servers; gives their URLs."""
    with ExitStack() as stack:
        urls = []
        for upstream, folder in zip(("first", "second"), folders, strict=True):
            environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "images/bazaar")}
            environment |= {"BAZAAR_UPSTREAM": upstream, "BAZAAR_LEDGER_PATH": str(folder / "calls.sqlite")}
            urls.append(stack.enter_context(roles({"model": free_port()}, folder, environment))["model"])
        yield urls


@contextmanager
def proxy(models: list[str], folder: Path, **environment: str) -> Iterator[Proxy]:
    """The proxy, with its cassettes in `folder`."""
    key = {"CASSETTE_ADMIN_KEY": ADMIN["X-Admin-Key"]}
    with loopback.cassette(folder, models[0], models[1], **{**key, **environment}) as (url, process):
        yield Proxy(url, models[0], models[1], folder, process)
