"""The proxy's doors: the model's wire under /v1, and the administration of cassettes behind a key of its own."""

import hmac
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import aiohttp
from fastapi import Depends, FastAPI, Header, Path, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, Counter, generate_latest
from pydantic import BaseModel, Field

from cassette import problems
from cassette.ceiling import Ceiling
from cassette.problems import Problem
from cassette.proxy import Proxy
from cassette.redact import Redactor
from cassette.settings import Mode, Settings
from cassette.store import Asked, Store, dump, parse

REQUESTS = Counter(
    "cassette_requests_total", "Calls to the model by mode, and what became of them.", ["mode", "result"]
)
MAX_BODY = 2 * 2**20
MAX_CASSETTE = 64 * 2**20
_NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
Name = Annotated[str, Path(pattern=_NAME)]


class Recording(BaseModel):
    """What to record into."""

    cassette: str = Field(pattern=_NAME)


def create_app(settings: Settings) -> FastAPI:
    """The proxy's application. Raises ValueError for a folder with a broken cassette."""
    store = Store(settings.folder)
    ceiling = Ceiling(settings.folder / "live.json", settings.max_calls, settings.max_tokens)
    proxy = Proxy(settings, store, ceiling)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=1000),
            timeout=aiohttp.ClientTimeout(sock_connect=3, sock_read=150),
            # What an upstream sends is passed on and kept as it is, so it must not be compressed.
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
        ) as proxy.client:
            yield

    def admin(x_admin_key: Annotated[str, Header()] = "") -> None:
        if not hmac.compare_digest(x_admin_key.encode(), settings.admin_key.get_secret_value().encode()):
            raise Problem("unauthenticated", "send the admin key as X-Admin-Key")

    def known(name: Name) -> str:
        if name not in store.cassettes:
            raise Problem("not-found", f"there is no cassette {name}")
        return name

    Known = Annotated[str, Depends(known)]
    app = FastAPI(title="cassette", version="0.1.0", lifespan=lifespan, docs_url=None, redoc_url=None)
    problems.install(app)

    @app.api_route("/v1/chat/completions", methods=["POST"])
    @app.api_route("/v1/embeddings", methods=["POST"])
    @app.api_route("/v1/models", methods=["GET"])
    async def call(request: Request, x_proctor_mode: Annotated[Mode | None, Header()] = None) -> Response:
        """A call to the model."""
        mode = x_proctor_mode or settings.mode
        try:
            body = await _read(request, MAX_BODY)
            asked = Asked(method=request.method, path=request.url.path, body=_json(body) if body else None)
            response, result = await proxy.answer(request, mode, asked, body)
        except Problem as problem:
            REQUESTS.labels(mode, problem.code).inc()
            raise
        REQUESTS.labels(mode, result).inc()
        return response

    @app.post("/recording", status_code=204, dependencies=[Depends(admin)])
    async def start(recording: Recording) -> None:
        """From now on what GOLDEN misses is recorded."""
        if proxy.recording not in (None, recording.cassette):
            raise Problem("already-recording", f"{proxy.recording} is being recorded")
        proxy.recording = recording.cassette

    @app.delete("/recording", status_code=204, dependencies=[Depends(admin)])
    async def end() -> None:
        """From now on a miss is a miss."""
        proxy.recording = None

    @app.get("/cassettes", dependencies=[Depends(admin)])
    async def listed() -> dict[str, Any]:
        """The cassettes and their sizes."""
        every = [{"name": name, "interactions": len(found)} for name, found in sorted(store.cassettes.items())]
        return {"recording": proxy.recording, "cassettes": every}

    @app.get("/cassettes/{name}", dependencies=[Depends(admin)])
    async def download(name: Known) -> Response:
        """A cassette as JSON lines."""
        return Response(dump(store.cassettes[name]), media_type="application/x-ndjson")

    @app.put("/cassettes/{name}", status_code=204, dependencies=[Depends(admin)])
    async def upload(name: Name, request: Request) -> None:
        """Put a cassette that is kept elsewhere. It is refused if it holds what must not be stored."""
        try:
            interactions = parse((await _read(request, MAX_CASSETTE)).decode())
        except ValueError as error:
            raise Problem("invalid-cassette", str(error)) from error
        for interaction in interactions.values():
            if Redactor().value(interaction.model_dump()) != interaction.model_dump():
                raise Problem("invalid-cassette", f"{interaction.id} holds a secret")
        store.put(name, interactions)

    @app.delete("/cassettes/{name}", status_code=204, dependencies=[Depends(admin)])
    async def remove(name: Known) -> None:
        """Forget a cassette."""
        store.remove(name)

    @app.get("/cassettes/{name}/usage", dependencies=[Depends(admin)])
    async def usage(name: Known) -> dict[str, Any]:
        """Which interactions were not replayed since this process started."""
        unused = store.unused(name)
        return {"interactions": len(store.cassettes[name]), "unused": unused}

    @app.post("/cassettes/{name}:verify", dependencies=[Depends(admin)])
    async def verify(name: Known) -> dict[str, Any]:
        """Ask the first upstream for all of a cassette again, store nothing, and tell what differs."""
        return await proxy.verify(name)

    @app.get("/live", dependencies=[Depends(admin)])
    async def live() -> dict[str, int]:
        """What LIVE_SMOKE has spent, and its ceilings."""
        return ceiling.told()

    @app.delete("/live", status_code=204, dependencies=[Depends(admin)])
    async def reset() -> None:
        """Let LIVE_SMOKE begin again."""
        ceiling.reset()

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> PlainTextResponse:
        return PlainTextResponse("ok")

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> PlainTextResponse:
        if not os.access(settings.folder, os.W_OK):
            raise Problem("not-writable", "the folder of the cassettes cannot be written")
        return PlainTextResponse("ready")

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app


async def _read(request: Request, most: int) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise Problem("too-large", f"the body has more than {most} bytes")
    return bytes(body)


def _json(body: bytes) -> Any:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Problem("malformed-request", "the body is not JSON") from error
    if not isinstance(value, dict):
        raise Problem("malformed-request", "the body is not a JSON object")
    return value
