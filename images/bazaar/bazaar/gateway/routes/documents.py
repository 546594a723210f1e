"""Documents that answers are taken from."""

from typing import Annotated

from fastapi import APIRouter, Depends

from bazaar.gateway import api, tenants
from bazaar.gateway.access import Servers, caller
from bazaar.gateway.keys import Principal

ROUTER = APIRouter(prefix="/v1", tags=["documents"])


@ROUTER.post("/documents:batch")
async def store_documents(
    batch: api.DocumentsIn, servers: Servers, principal: Annotated[Principal, Depends(caller("documents:write"))]
) -> api.DocumentsOut:
    """Add or replace documents that answers are taken from."""
    return api.DocumentsOut(stored=await tenants.store_documents(servers.db, principal, batch.documents))
