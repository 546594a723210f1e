"""Conversations of customers, as they were held."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from bazaar.gateway import api
from bazaar.gateway.access import Servers, caller, require_conversation
from bazaar.gateway.keys import Principal

ROUTER = APIRouter(prefix="/v1", tags=["conversations"])
Reader = Annotated[Principal, Depends(caller("episodes:read"))]


@ROUTER.get("/conversations")
async def list_conversations(
    servers: Servers, principal: Reader, page: Annotated[api.Page, Query()]
) -> api.ConversationsOut:
    """The caller's own conversations, oldest first."""
    async with servers.db.tenant(principal.tenant_id) as transaction:
        rows = await transaction.rows("list_conversations", user_id=principal.user_id, **page.model_dump())
    found = [api.ConversationOut(**row._asdict()) for row in rows]
    return api.ConversationsOut(conversations=found, next=found[-1].conversation if len(found) == page.limit else None)


@ROUTER.get("/conversations/{conversation}/messages")
async def list_messages(
    conversation: api.Ordinal, servers: Servers, principal: Reader, page: Annotated[api.Page, Query()]
) -> api.SaidsOut:
    """What was said in one of the caller's own conversations, oldest first."""
    async with servers.db.tenant(principal.tenant_id) as transaction:
        await require_conversation(transaction, principal, conversation)
        rows = await transaction.rows("list_messages", conversation=conversation, **page.model_dump())
    found = [api.SaidOut(**row._asdict()) for row in rows]
    return api.SaidsOut(messages=found, next=found[-1].ordinal if len(found) == page.limit else None)
