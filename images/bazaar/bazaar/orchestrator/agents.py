"""The agents: what each is told and which tools it may call. Data, so that the machine that runs them stays small."""

from dataclasses import dataclass
from typing import Any

ORDER_NUMBER = {"type": "string", "description": "Absent: the order just placed, or else the customer's latest."}
LEAD_NUMBER = {"type": "string", "description": "Absent: the customer's latest."}


def _tool(name: str, description: str, required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {**required, **optional}, "additionalProperties": False}
    return {"name": name, "description": description, "parameters": {**parameters, "required": list(required)}}


def _text(pattern: str) -> dict[str, str]:
    return {"type": "string", "pattern": pattern}


def _count(maximum: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, "maximum": maximum}


_PLACE = _tool(
    "place_order",
    "Place an order for the customer and reserve the stock.",
    {"sku": {"type": "string"}, "quantity": _count(100)},
)
_PAY = _tool(
    "pay_order",
    "Take the money for an order with a payment token.",
    {"token": _text("^tok_[a-z0-9_]{1,40}$")},
    order_number=ORDER_NUMBER,
)
_SHIP = _tool(
    "ship_order",
    "Send a paid order to a country (two letters).",
    {"country": _text("^[A-Z]{2}$")},
    order_number=ORDER_NUMBER,
)
_CANCEL = _tool("cancel_order", "Cancel an order that is not shipped.", {}, order_number=ORDER_NUMBER)
_REFUND = _tool("refund_order", "Give the money for an order back.", {}, order_number=ORDER_NUMBER)
_TRACK = _tool("track_order", "Look up one of the customer's own orders.", {}, order_number=ORDER_NUMBER)
_NOTIFY = _tool("notify", "Promise to tell the customer when an order is delivered.", {}, order_number=ORDER_NUMBER)
_CAPTURE = _tool("capture_lead", "Note interest in a product.", {"sku": {"type": "string"}})
_QUALIFY = _tool(
    "qualify_lead",
    "Note how many are needed and the budget.",
    {"quantity": _count(10_000), "budget_cents": _count(10**12)},
    lead_number=LEAD_NUMBER,
)
_CONVERT = _tool("convert_lead", "Make a qualified lead an order.", {}, lead_number=LEAD_NUMBER)
_HAND_OFF = _tool("hand_off", "Ask a person to take over.", {"reason": {"type": "string", "maxLength": 500}})

COMPENSATIONS = {"place_order": "cancel_order", "pay_order": "refund_order"}
"""What undoes a tool's effect."""
MAX_CALLS = 5
"""A plan with more is not carried out."""


@dataclass(frozen=True)
class Agent:
    """What an agent is for, what it is told, and the tools that it may call."""

    purpose: str
    prompt: str
    tools: tuple[dict[str, Any], ...] = ()


AGENTS = {
    "order": Agent(
        "the customer wants to buy something now, and may pay and name a country in the same message",
        "You are the ordering agent of a web shop. Place what the customer asks for, then pay and ship if asked to.",
        (_PLACE, _PAY, _SHIP),
    ),
    "payment": Agent(
        "the customer pays for an order",
        "You are the cashier of a web shop. Take payments by token, and send paid orders on their way if asked to.",
        (_PAY, _SHIP),
    ),
    "refund": Agent("the customer wants money back", "You are the refund agent of a web shop.", (_REFUND,)),
    "cancel": Agent("the customer wants to cancel an order", "You are the agent for cancellations.", (_CANCEL,)),
    "tracking": Agent(
        "where an order is",
        "You are the shipping agent of a web shop. Tell the customer where orders are.",
        (_TRACK, _NOTIFY),
    ),
    "lead": Agent(
        "the customer considers a larger purchase: interest, quantity and budget, acceptance of an offer",
        "You are the sales agent of a web shop. Capture interest, qualify it by quantity and budget, close the sale.",
        (_CAPTURE, _QUALIFY, _CONVERT),
    ),
    "handoff": Agent("the customer wants a person", "You hand customers over to people.", (_HAND_OFF,)),
    "faq": Agent(
        "a question about the shop", "You are the information agent of a web shop. Answer from the documents only."
    ),
    "other": Agent("anything else", "You are the front desk of a web shop. Say briefly what you can help with."),
}
ROUTE_PROMPT = "You route messages to the agents of a web shop. Answer with the one that fits best: " + "; ".join(
    f"{name} ({agent.purpose})" for name, agent in AGENTS.items()
)
ROUTE_SCHEMA = {
    "type": "object",
    "properties": {"agent": {"type": "string", "enum": sorted(AGENTS)}},
    "required": ["agent"],
    "additionalProperties": False,
}
