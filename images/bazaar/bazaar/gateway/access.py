"""Who may do what: what every route depends on to reach the servers and to know its caller."""

import asyncio
import hmac
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import aiohttp
from fastapi import Depends, Request
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase
from nats.aio.client import Client
from starlette.requests import HTTPConnection

from bazaar.db import Database, Transaction
from bazaar.faults import fault
from bazaar.gateway.hub import Hub
from bazaar.gateway.keys import Principal, Scope, authenticate
from bazaar.gateway.quota import Quota
from bazaar.outbox import Relay
from bazaar.problems import Problem


class Connections:
    """Connections that live as long as the process, and the arm of the platform that they are of."""

    arm: str
    db: Database
    nats: Client
    quota: Quota
    relay: Relay
    hub: Hub
    tools: aiohttp.ClientSession
    orchestrator: aiohttp.ClientSession


async def _servers(connection: HTTPConnection) -> Connections:
    servers: Connections = connection.app.state.servers
    return servers


class _Bearer(SecurityBase):
    """The key of a request or a WebSocket, from its header and from nowhere else; "" if there is none."""

    model = HTTPBearerModel()
    scheme_name = "key"

    async def __call__(self, connection: HTTPConnection) -> str:
        scheme, _, key = connection.headers.get("Authorization", "").partition(" ")
        return key.strip() if scheme.lower() == "bearer" else ""


Servers = Annotated[Connections, Depends(_servers)]
Key = Annotated[str, Depends(_Bearer())]


async def only_json(connection: HTTPConnection) -> None:
    """Let no body of another type than JSON in. Raises Problem `unsupported-media-type`."""
    headers = connection.headers
    has_body = headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers
    if has_body and headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem("unsupported-media-type", "a body must be application/json")


async def bootstrap(request: Request, key: Key) -> None:
    """Let only the bootstrap key in. Raises Problem `unauthenticated`."""
    if request.method == "DELETE" and fault("route_without_auth") is not None:
        return
    expected: str = request.app.state.admin_key
    if not hmac.compare_digest(key.encode(), expected.encode()):
        raise Problem("unauthenticated", "send the bootstrap key as a bearer token", {"WWW-Authenticate": "Bearer"})


def caller(scope: Scope) -> Callable[..., Coroutine[Any, Any, Principal]]:
    """A dependency: who calls, with a scope that the key must have. One request of the tenant's quota is taken."""

    async def known(servers: Servers, key: Key) -> Principal:
        slow = fault("slow_tail")
        if slow is not None:
            await asyncio.sleep(int(slow) / 1000)
        principal = await authenticate(servers.db, key)
        if scope not in principal.scopes:
            raise Problem("forbidden", f"the key lacks the scope {scope}")
        await servers.quota.take(principal)
        return principal

    return known


async def require_conversation(transaction: Transaction, principal: Principal, conversation: int) -> None:
    """Raise Problem `not-found` if the caller has no such conversation."""
    if not await transaction.row("find_conversation", user_id=principal.user_id, conversation=conversation):
        raise Problem("not-found", "you have no such conversation")
