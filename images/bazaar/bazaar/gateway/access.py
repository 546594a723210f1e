"""Who may do what: what every route depends on to reach the servers and to know its caller."""

import hmac
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from nats.aio.client import Client

from bazaar.db import Database
from bazaar.gateway.keys import Principal, Scope, authenticate
from bazaar.gateway.quota import Quota
from bazaar.outbox import Relay
from bazaar.web import Problem


class Connections:
    """Connections that live as long as the process, and the arm of the platform that they are of."""

    arm: str
    db: Database
    nats: Client
    quota: Quota
    relay: Relay


def _servers(request: Request) -> Connections:
    servers: Connections = request.app.state.servers
    return servers


Servers = Annotated[Connections, Depends(_servers)]
Key = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


def bootstrap(request: Request, key: Key) -> None:
    """Let only the bootstrap key in. Raises Problem `unauthenticated`."""
    expected: str = request.app.state.admin_key
    if not hmac.compare_digest((key.credentials if key else "").encode(), expected.encode()):
        raise Problem("unauthenticated", "send the bootstrap key as a bearer token", {"WWW-Authenticate": "Bearer"})


def caller(scope: Scope) -> Callable[..., Coroutine[Any, Any, Principal]]:
    """A dependency: who calls, with a scope that the key must have. One request of the tenant's quota is taken."""

    async def known(servers: Servers, key: Key) -> Principal:
        principal = await authenticate(servers.db, key.credentials if key else "")
        if scope not in principal.scopes:
            raise Problem("forbidden", f"the key lacks the scope {scope}")
        if principal.quota:
            await servers.quota.take(principal.tenant_id, *principal.quota)
        return principal

    return known
