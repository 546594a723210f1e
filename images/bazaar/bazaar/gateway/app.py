"""The gateway: the only role that clients talk to. It knows who calls and what they may do, not the shop."""

import asyncio
import hmac
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

import nats.errors
from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from nats.aio.client import Client
from pydantic import Field, SecretStr
from redis.asyncio import Redis

from bazaar import streams
from bazaar.db import Database
from bazaar.gateway import api, messages, tenants
from bazaar.gateway.keys import Principal, Scope, authenticate
from bazaar.gateway.quota import Quota
from bazaar.outbox import Relay
from bazaar.settings import DatabaseSettings
from bazaar.web import Problem, ProblemBody, create_app, serve

MAX_WAIT_SECONDS = 30
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


class _Servers:
    """Connections that live as long as the process."""

    db: Database
    nats: Client
    quota: Quota
    relay: Relay


def create_gateway(settings: GatewaySettings) -> FastAPI:
    """The gateway's application."""
    servers = _Servers()
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
    app.include_router(ADMIN)
    app.include_router(V1)
    return app


def _servers(request: Request) -> _Servers:
    servers: _Servers = request.app.state.servers
    return servers


Servers = Annotated[_Servers, Depends(_servers)]
Key = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


def _bootstrap(request: Request, key: Key) -> None:
    expected: str = request.app.state.admin_key
    if not hmac.compare_digest((key.credentials if key else "").encode(), expected.encode()):
        raise Problem("unauthenticated", "send the bootstrap key as a bearer token", {"WWW-Authenticate": "Bearer"})


def _caller(scope: Scope) -> Callable[..., Coroutine[Any, Any, Principal]]:
    async def caller(servers: Servers, key: Key) -> Principal:
        principal = await authenticate(servers.db, key.credentials if key else "")
        if scope not in principal.scopes:
            raise Problem("forbidden", f"the key lacks the scope {scope}")
        if principal.quota:
            await servers.quota.take(principal.tenant_id, *principal.quota)
        return principal

    return caller


ADMIN = APIRouter(prefix="/v1/admin", tags=["admin"], dependencies=[Depends(_bootstrap)], responses=_ERRORS)
V1 = APIRouter(prefix="/v1", responses=_ERRORS)


@ADMIN.post("/tenants", status_code=201)
async def create_tenant(tenant: api.TenantIn, servers: Servers) -> api.TenantOut:
    """Make a tenant with users, keys, products and stock. The keys are shown here and never again."""
    return await tenants.create(servers.db, tenant)


@ADMIN.delete("/tenants/{tenant_id}", status_code=204)
async def delete_tenant(tenant_id: UUID, servers: Servers) -> None:
    """Remove a tenant and everything that it has."""
    await tenants.delete(servers.db, tenant_id)


@V1.post("/documents:batch")
async def store_documents(
    batch: api.DocumentsIn, servers: Servers, caller: Annotated[Principal, Depends(_caller("documents:write"))]
) -> api.DocumentsOut:
    """Add or replace documents that answers are taken from."""
    return api.DocumentsOut(stored=await tenants.store_documents(servers.db, caller.tenant_id, batch.documents))


@V1.post("/messages", status_code=202)
async def send_message(
    message: api.MessageIn,
    response: Response,
    servers: Servers,
    caller: Annotated[Principal, Depends(_caller("messages:write"))],
    idempotency_key: Annotated[str | None, Header(pattern=r"^[!-~]{1,200}$")] = None,
) -> api.MessageOut:
    """Take a message in. With an Idempotency-Key a repetition is answered with the first one's episode."""
    accepted, new = await messages.accept(servers.db, caller, message, idempotency_key)
    if new:
        servers.relay.wake()
    else:
        response.headers["Idempotency-Replayed"] = "true"
    return accepted


@V1.get("/episodes/{episode_id}")
async def get_episode(
    episode_id: UUID,
    servers: Servers,
    caller: Annotated[Principal, Depends(_caller("episodes:read"))],
    prefer: Annotated[str | None, Header(description="`wait=N`: answer when it ends, at most N seconds")] = None,
) -> api.EpisodeOut:
    """What became of a message."""
    wish = re.search(r"(?:^|[,;\s])wait=(\d{1,2})(?![\d])", prefer or "")
    seconds = min(int(wish[1]), MAX_WAIT_SECONDS) if wish else 0
    episode = await _episode(servers, caller, episode_id)
    if episode.state in ("queued", "running") and seconds:
        episode = await _ended_episode(servers, caller, episode, seconds)
    return episode


@V1.get("/orders")
async def list_orders(servers: Servers, caller: Annotated[Principal, Depends(_caller("orders:read"))]) -> api.OrdersOut:
    """The caller's own orders, at most 100."""
    async with servers.db.tenant(caller.tenant_id) as transaction:
        rows = await transaction.rows("list_orders", user_id=caller.user_id)
    return api.OrdersOut(orders=[api.OrderOut(**row._mapping) for row in rows])


@V1.get("/orders/{order_number}")
async def get_order(
    order_number: api.OrderNumber,
    servers: Servers,
    caller: Annotated[Principal, Depends(_caller("orders:read"))],
) -> api.OrderOut:
    """One of the caller's own orders. Another's order is answered like one that does not exist."""
    async with servers.db.tenant(caller.tenant_id) as transaction:
        row = await transaction.row("find_order", user_id=caller.user_id, order_number=order_number)
    if row is None:
        raise Problem("not-found", "you have no such order")
    return api.OrderOut(**row._mapping)


async def _episode(servers: _Servers, caller: Principal, episode_id: UUID) -> api.EpisodeOut:
    async with servers.db.tenant(caller.tenant_id) as transaction:
        row = await transaction.row("find_episode", user_id=caller.user_id, episode_id=episode_id)
    if row is None:
        raise Problem("not-found", "you have no such episode")
    return api.EpisodeOut(**row._mapping)


async def _ended_episode(servers: _Servers, caller: Principal, episode: api.EpisodeOut, seconds: int) -> api.EpisodeOut:
    """The episode when it has ended, or as it is after `seconds`."""
    subject = streams.event_subject(caller.tenant_id, episode.conversation)
    deadline = asyncio.get_running_loop().time() + seconds
    events = await servers.nats.subscribe(subject)
    try:
        await servers.nats.flush(5)  # the server knows of us before we look again, so no end is missed
        while True:
            episode = await _episode(servers, caller, episode.episode_id)
            left = deadline - asyncio.get_running_loop().time()
            if episode.state not in ("queued", "running") or left <= 0:
                return episode
            try:
                await events.next_msg(timeout=left)
            except nats.errors.TimeoutError:
                return episode
    finally:
        await events.unsubscribe()


def run() -> None:
    """Serve this role until it is told to stop."""
    settings = GatewaySettings.load()
    serve("gateway", create_gateway(settings), settings)
