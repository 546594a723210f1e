"""The gateway: the only role that clients talk to. It knows who calls and what they may do, not the shop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from pydantic import Field, SecretStr
from redis.asyncio import Redis

from bazaar import streams
from bazaar.db import Database
from bazaar.gateway.access import Connections
from bazaar.gateway.quota import Quota
from bazaar.gateway.routes import admin, documents, episodes, messages, privacy, shop
from bazaar.outbox import Relay
from bazaar.settings import DatabaseSettings
from bazaar.web import ProblemBody, create_app, serve

ROUTERS = (admin.ROUTER, messages.ROUTER, episodes.ROUTER, shop.ROUTER, documents.ROUTER, privacy.ROUTER)
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemBody, "content": {"application/problem+json": {}}}
    for status in (400, 401, 403, 404, 409, 422, 429, 503)
}


class GatewaySettings(DatabaseSettings):
    """What the gateway needs."""

    relay_dsn: SecretStr
    nats_url: SecretStr
    redis_url: SecretStr
    admin_key: SecretStr = Field(min_length=16)


def create_gateway(settings: GatewaySettings) -> FastAPI:
    """The gateway's application."""
    servers = Connections()
    servers.arm = settings.arm
    redis = Redis.from_url(settings.redis_url.get_secret_value(), socket_timeout=5, socket_connect_timeout=5)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        servers.db = Database(settings.app_dsn, settings.pool_size)
        servers.quota = Quota(redis)
        relay_db = Database(settings.relay_dsn, 1)
        servers.nats, js = await streams.connect(settings.nats_url, "gateway")
        servers.relay = Relay(relay_db, js)
        relay = asyncio.create_task(servers.relay.run())
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
    app.state.servers = servers
    app.state.admin_key = settings.admin_key.get_secret_value()
    for router in ROUTERS:
        app.include_router(router, responses=_ERRORS)
    return app


def run() -> None:
    """Serve this role until it is told to stop."""
    settings = GatewaySettings.load()
    serve("gateway", create_gateway(settings), settings)
