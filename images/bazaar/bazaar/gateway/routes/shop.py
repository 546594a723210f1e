"""Orders and leads of customers. What changes them is done by the tools, once for each Idempotency-Key."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header
from starlette.convertors import StringConvertor, register_url_convertor

from bazaar.db import Transaction
from bazaar.faults import fault
from bazaar.gateway import api, shop
from bazaar.gateway.access import Connections, Servers, caller
from bazaar.gateway.keys import Principal
from bazaar.problems import PROBLEMS, Problem
from bazaar.toolcalls import Call, use

ROUTER = APIRouter(prefix="/v1", tags=["shop"])
Reader = Annotated[Principal, Depends(caller("orders:read"))]
Writer = Annotated[Principal, Depends(caller("orders:write"))]
Once = Annotated[str, Header(alias="Idempotency-Key", pattern=r"^[!-~]{1,200}$")]


class _Resource(StringConvertor):
    """The name of a resource; what is asked of it comes after a colon."""

    regex = "[^/:]+"


register_url_convertor("resource", _Resource())


@ROUTER.get("/orders")
async def list_orders(servers: Servers, principal: Reader) -> shop.OrdersOut:
    """The caller's own orders, at most 100."""
    slow = fault("slow_route")
    if slow is not None:
        await asyncio.sleep(int(slow) / 1000)
    async with servers.db.tenant(principal.tenant_id) as transaction:
        rows = await transaction.rows("list_orders", user_id=principal.user_id)
        if fault("query_per_row") is not None:
            for row in rows:
                await transaction.row("find_order", user_id=principal.user_id, order_number=row.order_number)
    return shop.OrdersOut(orders=[shop.OrderOut(**row._asdict()) for row in rows])


@ROUTER.get("/orders/{order_number:resource}")
async def get_order(order_number: api.OrderNumber, servers: Servers, principal: Reader) -> shop.OrderOut:
    """One of the caller's own orders. Another's order is answered like one that does not exist."""
    async with servers.db.tenant(principal.tenant_id) as transaction:
        return await _order(transaction, principal, order_number)


@ROUTER.post("/orders", status_code=201)
async def place_order(order: shop.OrderIn, servers: Servers, principal: Writer, key: Once) -> shop.OrderOut:
    """Order something. Stock is taken at once; payment comes after."""
    return await _changed(servers, principal, "place_order", key, order.model_dump())


@ROUTER.post("/orders/{order_number}:cancel")
async def cancel_order(order_number: api.OrderNumber, servers: Servers, principal: Writer, key: Once) -> shop.OrderOut:
    """Take back an order that is not shipped. Stock is free again, and money that was paid goes back."""
    return await _changed(servers, principal, "cancel_order", key, {"order_number": order_number})


@ROUTER.post("/orders/{order_number}/payments", status_code=201)
async def pay_order(
    order_number: api.OrderNumber, payment: shop.PaymentIn, servers: Servers, principal: Writer, key: Once
) -> shop.OrderOut:
    """Pay an order that is placed, as a whole."""
    arguments = {"order_number": order_number, "token": payment.token}
    return await _changed(servers, principal, "pay_order", key, arguments)


@ROUTER.post("/orders/{order_number}/refunds", status_code=201)
async def refund_order(order_number: api.OrderNumber, servers: Servers, principal: Writer, key: Once) -> shop.OrderOut:
    """Give the money for a paid order back, as a whole."""
    return await _changed(servers, principal, "refund_order", key, {"order_number": order_number})


@ROUTER.get("/shipments/{tracking_code}")
async def get_shipment(tracking_code: api.TrackingCode, servers: Servers, principal: Reader) -> shop.ShipmentOut:
    """Where an order of the caller's is."""
    async with servers.db.tenant(principal.tenant_id) as transaction:
        order = await _order(transaction, principal, tracking_code.removeprefix("TR"))
    return shop.ShipmentOut(tracking_code=tracking_code, order_number=order.order_number, status=order.shipment_status)


@ROUTER.post("/leads", status_code=201)
async def create_lead(
    lead: shop.LeadIn, servers: Servers, principal: Annotated[Principal, Depends(caller("leads:write"))], key: Once
) -> shop.LeadOut:
    """Say that one is interested in a product."""
    captured = await _command(servers, principal, "capture_lead", key, lead.model_dump())
    return shop.LeadOut(lead_number=captured["lead_number"], sku=lead.sku, stage="captured", quantity=None)


@ROUTER.get("/leads")
async def list_leads(servers: Servers, principal: Annotated[Principal, Depends(caller("leads:read"))]) -> shop.LeadsOut:
    """The caller's own leads, at most 100."""
    async with servers.db.tenant(principal.tenant_id) as transaction:
        rows = await transaction.rows("list_leads", user_id=principal.user_id)
    return shop.LeadsOut(leads=[shop.LeadOut(**row._asdict()) for row in rows])


async def _order(transaction: Transaction, principal: Principal, order_number: str) -> shop.OrderOut:
    row = await transaction.row("find_order", user_id=principal.user_id, order_number=order_number)
    if row is None:
        raise Problem("not-found", "you have no such order")
    return shop.OrderOut(**row._asdict())


async def _changed(
    servers: Connections, principal: Principal, tool: str, key: str, arguments: dict[str, Any]
) -> shop.OrderOut:
    """The order as it is when a tool has changed it."""
    done = await _command(servers, principal, tool, key, arguments)
    return await get_order(done["order_number"], servers, principal)


async def _command(
    servers: Connections, principal: Principal, tool: str, key: str, arguments: dict[str, Any]
) -> dict[str, Any]:
    """Have a tool do something for the caller; gives its result. Raises Problem for what the shop will not do."""
    owner = principal.user_id
    call = Call(tenant_id=principal.tenant_id, user_id=owner, key=f"{owner}/{key}", arguments=arguments)
    result = await use(servers.tools, tool, call)
    if result["ok"]:
        return result
    code: str = result["code"]
    if code.startswith("no-such-"):
        raise Problem("not-found", f"there is no such {code.removeprefix('no-such-')}")
    raise Problem(code if code in PROBLEMS else "refused", f"the shop refuses: {code}")
