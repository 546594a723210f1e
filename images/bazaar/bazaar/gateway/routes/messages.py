"""Messages of customers."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response

from bazaar.gateway import api, messages
from bazaar.gateway.access import Servers, caller
from bazaar.gateway.keys import Principal

ROUTER = APIRouter(prefix="/v1", tags=["messages"])


@ROUTER.post("/messages", status_code=202)
async def send_message(
    message: api.MessageIn,
    response: Response,
    servers: Servers,
    principal: Annotated[Principal, Depends(caller("messages:write"))],
    idempotency_key: Annotated[str | None, Header(pattern=r"^[!-~]{1,200}$")] = None,
) -> api.MessageOut:
    """Take a message in. With an Idempotency-Key a repetition is answered with the first one's episode."""
    accepted, new = await messages.accept(servers.db, servers.arm, principal, message, idempotency_key)
    if new:
        servers.relay.wake()
    else:
        response.headers["Idempotency-Replayed"] = "true"
    return accepted
