"""Orders: placed once for each effect key, with stock, ledger and shipment in one transaction."""

import json
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from bazaar.db import Transaction


class PlaceOrder(BaseModel):
    """Arguments of `place_order`."""

    model_config = ConfigDict(extra="forbid")
    sku: Annotated[str, Field(max_length=64)]
    quantity: Annotated[int, Field(ge=1, le=100)]


class TrackOrder(BaseModel):
    """Arguments of `track_order`."""

    model_config = ConfigDict(extra="forbid")
    order_number: Annotated[str, Field(max_length=20)] | None = None


async def place(transaction: Transaction, episode_id: UUID, key: str, order: PlaceOrder) -> dict[str, Any]:
    """Place an order under an effect key, or give the result that the key already has.

    A refusal ({"ok": False, "code": ...}) changes nothing and is not kept: there is no effect to protect.
    """
    # Two deliveries of one task meet at the episode's row; the second then finds the first one's effect.
    episode = await transaction.row("lock_episode", episode_id=episode_id)
    if episode is None:
        return {"ok": False, "code": "no-such-episode"}
    earlier = await transaction.row("find_effect", key=key)
    if earlier:
        result: dict[str, Any] = earlier.result
        return result
    product = await transaction.row("find_product", sku=order.sku)
    if product is None:
        return {"ok": False, "code": "no-such-product", "sku": order.sku}
    if await transaction.row("reserve_stock", sku=order.sku, quantity=order.quantity) is None:
        return {"ok": False, "code": "out-of-stock", "sku": order.sku, "quantity": order.quantity}
    counted = await transaction.row("count_orders_of_conversation", conversation=episode.conversation)
    assert counted is not None
    # The number depends on the conversation alone, so that it is the same in every run with the same messages.
    number = f"{1000 + episode.conversation}-{counted.orders + 1}"
    total = product.price_cents * order.quantity
    placed = {
        "ok": True,
        "order_number": number,
        "sku": order.sku,
        "name": product.name,
        "quantity": order.quantity,
        "total_cents": total,
        "tracking_code": f"TR{number}",
    }
    await transaction.run("insert_effect", key=key, kind="order", episode_id=episode_id, result=json.dumps(placed))
    await transaction.run(
        "insert_order",
        order_number=number,
        user_id=episode.user_id,
        episode_id=episode_id,
        sku=order.sku,
        quantity=order.quantity,
        total_cents=total,
    )
    await transaction.run("insert_shipment", order_number=number, tracking_code=placed["tracking_code"])
    for account, debit, credit in (("receivables", total, 0), ("sales", 0, total)):
        await transaction.run("insert_ledger", effect_key=key, account=account, debit_cents=debit, credit_cents=credit)
    return placed


async def track(transaction: Transaction, episode_id: UUID, order: TrackOrder) -> dict[str, Any]:
    """Look up an order of the episode's own user."""
    episode = await transaction.row("load_episode", episode_id=episode_id)
    if episode is None:
        return {"ok": False, "code": "no-such-episode"}
    if order.order_number is None:
        found = await transaction.row("find_latest_order", user_id=episode.user_id)
    else:
        found = await transaction.row("find_order", user_id=episode.user_id, order_number=order.order_number)
    if found is None:
        return {"ok": False, "code": "no-such-order"}
    return {"ok": True, **found._mapping}
