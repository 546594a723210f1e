"""The agents: what each is told and which tools it may call. Data, so that the machine that runs them stays small."""

from dataclasses import dataclass
from typing import Any

ROUTE_PROMPT = (
    "You route messages to the agents of a web shop. Answer with the one that fits best: "
    "order (the customer wants to buy something now), tracking (where an order is), "
    "faq (a question about the shop), other."
)
PLACE_ORDER = {
    "name": "place_order",
    "description": "Place an order for the customer and reserve the stock.",
    "parameters": {
        "type": "object",
        "properties": {
            "sku": {"type": "string"},
            "quantity": {"type": "integer", "minimum": 1, "maximum": 100},
        },
        "required": ["sku", "quantity"],
        "additionalProperties": False,
    },
}
TRACK_ORDER = {
    "name": "track_order",
    "description": "Look up one of the customer's own orders; without a number, the latest.",
    "parameters": {
        "type": "object",
        "properties": {"order_number": {"type": "string"}},
        "required": [],
        "additionalProperties": False,
    },
}


@dataclass(frozen=True)
class Agent:
    """What an agent is told, and the tools that it may call."""

    prompt: str
    tools: tuple[dict[str, Any], ...] = ()


AGENTS = {
    "order": Agent("You are the ordering agent of a web shop. Place what the customer asks for.", (PLACE_ORDER,)),
    "tracking": Agent("You are the shipping agent of a web shop. Tell the customer where orders are.", (TRACK_ORDER,)),
    "faq": Agent("You are the information agent of a web shop. Answer from the documents only."),
    "other": Agent("You are the front desk of a web shop. Say briefly what you can help with."),
}
COMPENSATIONS: dict[str, str] = {}
"""What undoes a tool's effect."""
MAX_CALLS = 5
ROUTE_SCHEMA = {
    "type": "object",
    "properties": {"agent": {"type": "string", "enum": sorted(AGENTS)}},
    "required": ["agent"],
    "additionalProperties": False,
}
