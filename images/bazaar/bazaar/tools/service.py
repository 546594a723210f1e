"""What a shop does around its orders: leads, notifications and hand-offs to people."""

from typing import Annotated

from pydantic import Field

from bazaar.db import Row, Transaction
from bazaar.toolcalls import Call
from bazaar.tools import orders
from bazaar.tools.effects import Arguments, Done, Refused, next_number


class CaptureLead(Arguments):
    """Arguments of `capture_lead`."""

    sku: Annotated[str, Field(max_length=64)]


class OneLead(Arguments):
    """A lead of the caller's; without a number, the latest."""

    lead_number: Annotated[str, Field(max_length=20)] | None = None


class QualifyLead(OneLead):
    """Arguments of `qualify_lead`."""

    quantity: Annotated[int, Field(ge=1, le=10_000)]
    budget_cents: Annotated[int, Field(ge=1, le=10**12)]


class HandOff(Arguments):
    """Arguments of `hand_off`."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]


async def capture(transaction: Transaction, call: Call, lead: CaptureLead) -> Done:
    """Note who is interested in what."""
    product = await transaction.row("find_product", sku=lead.sku)
    if product is None:
        raise Refused("no-such-product", sku=lead.sku)
    number = f"L{await next_number(transaction, call, 'count_leads')}"
    await transaction.run("insert_lead", lead_number=number, user_id=call.user_id, sku=lead.sku)
    return Done({"ok": True, "lead_number": number, "name": product.name, "next": "qualify_lead"})


async def qualify(transaction: Transaction, call: Call, need: QualifyLead) -> Done:
    """Note how many a lead needs, if the budget is enough for them."""
    lead = await _locked(transaction, call, need, "captured")
    total = lead.price_cents * need.quantity
    if total > need.budget_cents:
        raise Refused("budget-too-small", name=lead.name, quantity=need.quantity, total_cents=total)
    wish = {"quantity": need.quantity, "budget_cents": need.budget_cents}
    await transaction.run("qualify_lead", lead_number=lead.lead_number, **wish)
    offer = {"lead_number": lead.lead_number, "name": lead.name, "quantity": need.quantity, "total_cents": total}
    return Done({"ok": True, **offer, "next": "convert_lead"})


async def convert(transaction: Transaction, call: Call, which: OneLead) -> Done:
    """Make a qualified lead an order."""
    lead = await _locked(transaction, call, which, "qualified")
    placed = await orders.place(
        transaction, call, orders.PlaceOrder.model_construct(sku=lead.sku, quantity=lead.quantity)
    )
    order_number = placed.result["order_number"]
    await transaction.run("convert_lead", lead_number=lead.lead_number, order_number=order_number)
    return Done({**placed.result, "lead_number": lead.lead_number}, placed.postings)


async def notify(transaction: Transaction, call: Call, which: orders.OneOrder) -> Done:
    """Promise to tell the customer when an order is delivered."""
    order = await transaction.row("find_order", user_id=call.user_id, order_number=which.order_number)
    if order is None:
        raise Refused("no-such-order")
    promise = {"order_number": order.order_number, "event": "delivery"}
    await transaction.run("insert_notification", effect_key=call.key, user_id=call.user_id, **promise)
    return Done({"ok": True, **promise})


async def hand_off(transaction: Transaction, call: Call, request: HandOff) -> Done:
    """Ask a person to take over."""
    asked = {"conversation": call.conversation, "reason": request.reason}
    await transaction.run("insert_handoff", effect_key=call.key, user_id=call.user_id, **asked)
    return Done({"ok": True, "handed_off": True})


async def _locked(transaction: Transaction, call: Call, which: OneLead, stage: str) -> Row:
    lead = await transaction.row("lock_lead", user_id=call.user_id, lead_number=which.lead_number)
    if lead is None:
        raise Refused("no-such-lead")
    if lead.stage != stage:
        raise Refused(f"lead-{lead.stage}", lead_number=lead.lead_number)
    return lead
