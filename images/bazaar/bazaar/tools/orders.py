"""Orders: placed, paid, shipped, cancelled, refunded. Stock and ledger follow in the same transaction.

Money that is owed is a receivable, money that came is cash; a cancelled order leaves every account as it was before.
"""

from typing import Annotated

from pydantic import Field

from bazaar.db import Row, Transaction
from bazaar.faults import fault
from bazaar.toolcalls import Call
from bazaar.tools.effects import Arguments, Done, Refused, next_number

OrderNumber = Annotated[str, Field(max_length=20)]


class PlaceOrder(Arguments):
    """Arguments of `place_order`."""

    sku: Annotated[str, Field(max_length=64)]
    quantity: Annotated[int, Field(ge=1, le=100)]


class OneOrder(Arguments):
    """An order of the caller's; without a number, the latest."""

    order_number: OrderNumber | None = None


class PayOrder(OneOrder):
    """Arguments of `pay_order`. A token stands for a card or an account at the payment provider."""

    token: Annotated[str, Field(pattern=r"^tok_[a-z0-9_]{1,40}$")]


class ShipOrder(OneOrder):
    """Arguments of `ship_order`."""

    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")]


async def place(transaction: Transaction, call: Call, order: PlaceOrder) -> Done:
    """Take stock for an order."""
    product = await transaction.row("find_product", sku=order.sku)
    if product is None:
        raise Refused("no-such-product", sku=order.sku)
    number = await next_number(transaction, call, "count_orders")
    if await transaction.row("reserve_stock", sku=order.sku, quantity=order.quantity) is None:
        raise Refused("out-of-stock", sku=order.sku, quantity=order.quantity)
    total, tracking_code = product.price_cents * order.quantity, f"TR{number}"
    await transaction.run(
        "insert_order",
        order_number=number,
        user_id=call.user_id,
        episode_id=call.episode_id,
        sku=order.sku,
        quantity=order.quantity,
        total_cents=total,
    )
    await transaction.run("insert_shipment", order_number=number, tracking_code=tracking_code)
    placed = {"ok": True, "order_number": number, "sku": order.sku, "name": product.name, "quantity": order.quantity}
    placed |= {"total_cents": total, "tracking_code": tracking_code, "next": "pay_order"}
    return Done(placed, [("receivables", total, 0), ("sales", 0, total)])


async def pay(transaction: Transaction, call: Call, payment: PayOrder) -> Done:
    """Take the money for an order that is placed."""
    if payment.token == "tok_declined":  # noqa: S105 - the name of a token, as test modes of payment providers have
        raise Refused("payment-declined")
    order = await _locked(transaction, call, payment)
    number = order.order_number
    if order.status != "placed":
        raise Refused(f"order-{order.status}", order_number=number)
    total = order.total_cents
    await transaction.run("insert_payment", order_number=number, token=payment.token, amount_cents=total)
    await transaction.run("set_order_status", order_number=number, status="paid")
    return Done(
        {"ok": True, "order_number": number, "amount_cents": total}, [("cash", total, 0), ("receivables", 0, total)]
    )


async def ship(transaction: Transaction, call: Call, shipment: ShipOrder) -> Done:
    """Send a paid order on its way, if its product is sold to that country."""
    order = await _locked(transaction, call, shipment)
    number = order.order_number
    product = await transaction.row("find_product", sku=order.sku)
    if product is None or (product.ships_to and shipment.country not in product.ships_to):
        raise Refused("not-shipped-there", order_number=number, country=shipment.country)
    if order.status != "paid":
        raise Refused(f"order-{order.status}", order_number=number)
    await transaction.run("ship_stock", sku=order.sku, quantity=order.quantity)
    await transaction.run("set_order_status", order_number=number, status="shipped")
    shipped = await transaction.row("set_shipment", order_number=number, status="shipped", country=shipment.country)
    assert shipped is not None
    sent = {"ok": True, "order_number": number, "country": shipment.country, "tracking_code": shipped.tracking_code}
    return Done(sent)


async def cancel(transaction: Transaction, call: Call, which: OneOrder) -> Done:
    """Take an order back that is not shipped; money that came for it goes back."""
    order = await _locked(transaction, call, which)
    number = order.order_number
    if order.status in ("shipped", "cancelled"):
        raise Refused(f"order-{order.status}", order_number=number)
    if order.status == "paid":
        await _give_back(transaction, number, order.total_cents)
    if order.status != "refunded" and fault("cancel_keeps_stock") is None:
        await transaction.run("release_stock", sku=order.sku, quantity=order.quantity)
    await transaction.run("set_order_status", order_number=number, status="cancelled")
    await transaction.row("set_shipment", order_number=number, status="cancelled", country=None)
    owed = {"placed": "receivables", "paid": "cash", "refunded": "refunds"}[order.status]
    total = order.total_cents
    return Done({"ok": True, "order_number": number, "cancelled": True}, [("sales", total, 0), (owed, 0, total)])


async def refund(transaction: Transaction, call: Call, which: OneOrder) -> Done:
    """Give the money for an order back. Goods that are not on their way stay in the shop."""
    order = await _locked(transaction, call, which)
    number = order.order_number
    if order.status not in ("paid", "shipped"):
        raise Refused("order-not-paid" if order.status == "placed" else f"order-{order.status}", order_number=number)
    total = order.total_cents
    await _give_back(transaction, number, total)
    if order.status == "paid":
        await transaction.run("release_stock", sku=order.sku, quantity=order.quantity)
        await transaction.row("set_shipment", order_number=number, status="cancelled", country=None)
    await transaction.run("set_order_status", order_number=number, status="refunded")
    return Done(
        {"ok": True, "order_number": number, "refunded_cents": total}, [("refunds", total, 0), ("cash", 0, total)]
    )


async def track(transaction: Transaction, call: Call, which: OneOrder) -> Done:
    """Look an order up."""
    found = await transaction.row("find_order", user_id=call.user_id, order_number=which.order_number)
    if fault("tracking_other_order") is not None:
        own = found.order_number if found else ""
        found = await transaction.row("find_order_of_others", order_number=own) or found
    if found is None:
        raise Refused("no-such-order")
    return Done({"ok": True, **found._asdict()})


async def _locked(transaction: Transaction, call: Call, which: OneOrder) -> Row:
    order = await transaction.row("lock_order", user_id=call.user_id, order_number=which.order_number)
    if order is None:
        raise Refused("no-such-order")
    return order


async def _give_back(transaction: Transaction, number: str, cents: int) -> None:
    await transaction.run("refund_payment", order_number=number)
    await transaction.run("insert_refund", order_number=number, amount_cents=cents)
