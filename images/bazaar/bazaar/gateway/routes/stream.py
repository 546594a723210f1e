"""The frames of a conversation, live."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, WebSocket

from bazaar import streams
from bazaar.gateway import api
from bazaar.gateway.access import Servers, caller, require_conversation
from bazaar.gateway.keys import Principal

ROUTER = APIRouter(prefix="/v1")


@ROUTER.websocket("/stream")
async def stream(
    websocket: WebSocket,
    servers: Servers,
    principal: Annotated[Principal, Depends(caller("episodes:read"))],
    conversation: api.Ordinal,
    last_seq: Annotated[int, Query(ge=0, le=api.MAX_INTEGER)] = 0,
) -> None:
    """Each frame after `last_seq` of one of the caller's own conversations. A refusal is a problem, before it opens."""
    async with servers.db.tenant(principal.tenant_id) as transaction:
        await require_conversation(transaction, principal, conversation)
    streams.require_connected(servers.nats)
    await websocket.accept()
    await servers.hub.serve(websocket, principal.tenant_id, conversation, last_seq)
