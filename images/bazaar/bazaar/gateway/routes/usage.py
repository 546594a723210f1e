"""What a tenant has used."""

from typing import Annotated

from fastapi import APIRouter, Depends

from bazaar.gateway import shop
from bazaar.gateway.access import Servers, caller
from bazaar.gateway.keys import Principal

ROUTER = APIRouter(prefix="/v1", tags=["usage"])


@ROUTER.get("/usage")
async def get_usage(servers: Servers, principal: Annotated[Principal, Depends(caller("usage:read"))]) -> shop.UsageOut:
    """Tokens of all ended episodes of the tenant, and its requests in the quota's window."""
    async with servers.db.tenant(principal.tenant_id) as transaction:
        row = await transaction.row("sum_usage")
    assert row is not None, "a sum has a row"
    return shop.UsageOut(**row._asdict(), requests=await servers.quota.used(principal))
