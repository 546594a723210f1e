"""The gateway: the only role that clients talk to. It knows who calls and what they may do, not the shop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from fastapi import Depends, FastAPI
from pydantic import Field, SecretStr
from redis.asyncio import BlockingConnectionPool, Redis

from bazaar import streams
from bazaar.db import Database
from bazaar.gateway.access import Connections, only_json
from bazaar.gateway.hub import Hub
from bazaar.gateway.quota import Quota
from bazaar.gateway.routes import admin, conversations, documents, episodes, messages, privacy, shop, stream, usage
from bazaar.outbox import Relay
from bazaar.problems import ProblemBody
from bazaar.server import serve
from bazaar.settings import DatabaseSettings
from bazaar.web import create_app

TIMEOUT = aiohttp.ClientTimeout(sock_connect=20, sock_read=20)
RESOURCES = (admin, messages, episodes, conversations, stream, shop, documents, privacy, usage)
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemBody} for status in (400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 503)
}


class GatewaySettings(DatabaseSettings):
    """What the gateway needs."""

    relay_dsn: SecretStr
    nats_url: SecretStr
    redis_url: SecretStr
    admin_key: SecretStr = Field(min_length=16)
    tools_url: str
    orchestrator_url: str
    internal_key: SecretStr = Field(min_length=16)
    stream_ttl: float = Field(default=300, gt=0)
    """Seconds after which a WebSocket is closed on which nobody said anything."""


def create_gateway(settings: GatewaySettings) -> FastAPI:
    """The gateway's application."""
    servers = Connections()
    servers.arm = settings.arm
    redis_pool = BlockingConnectionPool.from_url(
        settings.redis_url.get_secret_value(), max_connections=32, socket_timeout=2, socket_connect_timeout=2
    )
    redis = Redis.from_pool(redis_pool)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        servers.db = Database(settings.app_dsn, settings.pool_size)
        servers.quota = Quota(redis)
        relay_db = Database(settings.relay_dsn, 1)
        servers.nats, js = await streams.connect(settings.nats_url, "gateway")
        servers.relay = Relay(relay_db, js, settings.arm)
        servers.hub = Hub(servers.nats, js, settings.stream_ttl)
        relay = asyncio.create_task(servers.relay.run())
        key = {"X-Internal-Key": settings.internal_key.get_secret_value()}
        async with (
            aiohttp.ClientSession(settings.tools_url, timeout=TIMEOUT, headers=key) as servers.tools,
            aiohttp.ClientSession(settings.orchestrator_url, timeout=TIMEOUT, headers=key) as servers.orchestrator,
        ):
            yield
        relay.cancel()
        await asyncio.gather(relay, return_exceptions=True)
        await servers.nats.drain()
        await redis.aclose()
        await relay_db.close()
        await servers.db.close()

    async def ready() -> None:
        streams.require_connected(servers.nats)
        await redis.ping()
        await servers.db.ping()

    app = create_app("bazaar", ready, lifespan)
    describe = app.openapi
    app.openapi = lambda: _with_problems(describe())  # type: ignore[method-assign]
    app.state.servers = servers
    app.state.admin_key = settings.admin_key.get_secret_value()
    for resource in RESOURCES:
        app.include_router(resource.ROUTER, dependencies=[Depends(only_json)], responses=_ERRORS)
    return app


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    """An OpenAPI document whose errors have the media type that they are sent with; FastAPI knows that of successes."""
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    for answer in (operation["responses"][str(status)] for operation in operations for status in _ERRORS):
        content = answer["content"]
        content["application/problem+json"] = content.pop("application/json", content.get("application/problem+json"))
    return document


def run() -> None:
    """Serve this role until it is told to stop."""
    serve("gateway", GatewaySettings, create_gateway)
