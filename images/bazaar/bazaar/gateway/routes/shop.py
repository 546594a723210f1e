"""Orders of customers."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends

from bazaar.faults import fault
from bazaar.gateway import api
from bazaar.gateway.access import Servers, caller
from bazaar.gateway.keys import Principal
from bazaar.web import Problem

ROUTER = APIRouter(prefix="/v1", tags=["shop"])


@ROUTER.get("/orders")
async def list_orders(
    servers: Servers, principal: Annotated[Principal, Depends(caller("orders:read"))]
) -> api.OrdersOut:
    """The caller's own orders, at most 100."""
    slow = fault("slow_route")
    if slow is not None:
        await asyncio.sleep(int(slow) / 1000)
    async with servers.db.tenant(principal.tenant_id) as transaction:
        rows = await transaction.rows("list_orders", user_id=principal.user_id)
    return api.OrdersOut(orders=[api.OrderOut(**row._mapping) for row in rows])


@ROUTER.get("/orders/{order_number}")
async def get_order(
    order_number: api.OrderNumber,
    servers: Servers,
    principal: Annotated[Principal, Depends(caller("orders:read"))],
) -> api.OrderOut:
    """One of the caller's own orders. Another's order is answered like one that does not exist."""
    async with servers.db.tenant(principal.tenant_id) as transaction:
        row = await transaction.row("find_order", user_id=principal.user_id, order_number=order_number)
    if row is None:
        raise Problem("not-found", "you have no such order")
    return api.OrderOut(**row._mapping)
