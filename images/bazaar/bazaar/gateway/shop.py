"""What clients send and get about orders, payments, shipments, leads and usage."""

from typing import Literal

from pydantic import Field

from bazaar.gateway import api
from bazaar.records import Integer


class OrderOut(api.Model):
    """An order and its shipment."""

    order_number: api.OrderNumber
    sku: api.Name
    quantity: int
    total_cents: int
    status: Literal["placed", "paid", "shipped", "cancelled", "refunded"]
    tracking_code: api.TrackingCode
    shipment_status: api.ShipmentStatus


class OrdersOut(api.Model):
    """Orders of one user."""

    orders: list[OrderOut]


class OrderIn(api.Model):
    """What to order."""

    sku: api.Name
    quantity: Integer = Field(ge=1, le=100)


class PaymentIn(api.Model):
    """How to pay: with a token of the payment provider, never with a card's number."""

    token: str = Field(pattern=r"^tok_[a-z0-9_]{1,40}$")


class ShipmentOut(api.Model):
    """Where an order is."""

    tracking_code: api.TrackingCode
    order_number: api.OrderNumber
    status: api.ShipmentStatus


class LeadIn(api.Model):
    """What a customer is interested in."""

    sku: api.Name


class LeadOut(api.Model):
    """An interest, and what has become of it."""

    lead_number: str
    sku: api.Name
    stage: Literal["captured", "qualified", "converted"]
    quantity: int | None


class LeadsOut(api.Model):
    """Leads of one user."""

    leads: list[LeadOut]


class UsageOut(api.Model):
    """Tokens of all ended episodes, and requests in the quota's current window (null: no quota)."""

    episodes: int
    prompt_tokens: int
    completion_tokens: int
    requests: int | None
