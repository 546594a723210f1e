"""The scripted model's mind: a pure function from a chat request to a reply.

It reads only what a real model would see (messages, tools, response format, seed), so it can stand in for one, and it
picks its phrasing by the seed, so that suites cannot rely on one wording.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

_NUMBERS = {
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
}
_ORDER_NUMBER = re.compile(r"\b\d{4,10}-\d{1,6}\b")
_TRACKING = re.compile(r"\b(where is|track|tracking|shipment|shipped|arrive|on its way|order status|status of)\b")
_BUYING = re.compile(r"\b(order|buy|purchase|get me|send me|i need|i want|i would like|i'd like)\b")
_ASKING = re.compile(r"\b(how|what|when|which|who|why|can i|do you|is there|are there)\b|\?")
_REFUSALS = {
    "out-of-stock": "we do not have {quantity} of {sku} in stock",
    "no-such-product": "we do not sell {sku}",
    "no-such-order": "you have no such order",
}
_ORDERED = (
    "Order {order_number} is placed: {quantity} x {name}, {total}. Your tracking code is {tracking_code}.",
    "Done! {quantity} x {name} for {total}, order {order_number}, tracking code {tracking_code}.",
    "Thank you. We placed order {order_number} ({quantity} x {name}, {total}); track it with {tracking_code}.",
)
_TRACKED = (
    "Order {order_number} is {shipment_status}; its tracking code is {tracking_code}.",
    "Your order {order_number} ({tracking_code}) is {shipment_status}.",
)
_ANSWERED = ("{title}: {body}", "{body}", "Here is what we have on this. {body}")
_HELP = ("I can place orders, track them and answer questions.", "Ask me about our shop, an order or a delivery.")


@dataclass(frozen=True)
class Reply:
    """Prose or one tool call."""

    content: str | None = None
    tool: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)


def reply(messages: list[dict[str, Any]], tools: list[str], wants_json: bool, seed: int) -> Reply:
    """Answer a chat. `tools` are the names that may be called; `wants_json` asks for the routing decision."""
    question = next((str(m["content"]) for m in reversed(messages) if m["role"] == "user"), "")
    if wants_json:
        return Reply(json.dumps({"agent": _route(question)}))
    last = messages[-1]
    if last["role"] == "tool":
        return Reply(_report(json.loads(last["content"]), seed))
    context = _context(messages)
    if "place_order" in tools:
        product = _product(question, context.get("products", []))
        if product:
            return Reply(tool="place_order", arguments={"sku": product["sku"], "quantity": _quantity(question)})
        return Reply("I could not find that product; which one do you mean?")
    if "track_order" in tools:
        number = _ORDER_NUMBER.search(question)
        return Reply(tool="track_order", arguments={"order_number": number[0]} if number else {})
    documents = context.get("documents", [])
    if documents and _route(question) == "faq":
        return Reply(_choose(_ANSWERED, seed).format(**documents[0]))
    return Reply(_choose(_HELP, seed))


def _route(question: str) -> str:
    text = question.lower()
    if _TRACKING.search(text) or _ORDER_NUMBER.search(text):
        return "tracking"
    if _BUYING.search(text) and not re.match(r"(how|what|when|which|who|why|can i|do you)\b", text):
        return "order"
    return "faq" if _ASKING.search(text) else "other"


def _context(messages: list[dict[str, Any]]) -> dict[str, Any]:
    for message in messages:
        if message["role"] == "system" and str(message["content"]).startswith("Context: "):
            context: dict[str, Any] = json.loads(message["content"].removeprefix("Context: "))
            return context
    return {}


def _product(question: str, products: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The product named in the question; the longest name wins, so that "blue mug" beats "mug"."""
    text = question.lower()
    named = [p for p in products if p["name"].lower() in text or p["sku"].lower() in text]
    return max(named, key=lambda p: (len(p["name"]), p["sku"]), default=None)


def _quantity(question: str) -> int:
    for word in re.findall(r"\w+", question.lower()):
        if word in _NUMBERS:
            return _NUMBERS[word]
        if re.fullmatch(r"\d{1,3}", word):
            return min(max(int(word), 1), 100)
    return 1


def _report(result: dict[str, Any], seed: int) -> str:
    if not result["ok"]:
        reason = _REFUSALS.get(result["code"], "something went wrong")
        return f"I am sorry, {reason.format(**{'quantity': '', 'sku': 'that'} | result)}."
    if "name" in result:
        return _choose(_ORDERED, seed).format(total=f"{result['total_cents'] / 100:.2f} EUR", **result)
    return _choose(_TRACKED, seed).format(**result)


def _choose(phrasings: tuple[str, ...], seed: int) -> str:
    return phrasings[seed % len(phrasings)]
