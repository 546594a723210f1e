"""The scripted model's mind: a pure function from a chat request to a reply.

It reads only what a real model would see (messages, tools, response format, seed), so it can stand in for one, and it
picks its phrasing by the seed, so that suites cannot rely on one wording.
"""

import json
import re
import tomllib
from collections import defaultdict
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

_PHRASES = tomllib.loads((resources.files("bazaar.model") / "phrases.toml").read_text(encoding="utf-8"))
_ANSWERS: dict[str, list[str]] = _PHRASES["answers"]
_NUMBERS = {word: number for number, word in enumerate(_PHRASES["numbers"], 1)}
_COUNTRIES: dict[str, str] = _PHRASES["countries"]
_ORDER_NUMBER = re.compile(r"\b\d{4,10}-\d{1,6}\b")
_TOKEN = re.compile(r"\btok_[a-z0-9_]{1,40}\b")
_COUNTRY = re.compile(rf"\b(?:to|in) ([A-Z]{{2}}\b|(?i:{'|'.join(_COUNTRIES)}))")
_BUDGET = re.compile(r"\bbudget\b\D{0,20}(\d{1,9})")
_ASKING = re.compile(r"(how|what|when|which|who|why|can i|do you|is there|are there)\b")
_WISH = "i want|i need|i take|i would like|i'd like"
_AGENTS = (
    ("handoff", re.compile(r"\b(human|real person|a person|an agent|employee|representative|talk to someone)\b")),
    ("refund", re.compile(r"\b(refund|money back|reimburse|return (my|the|this|that|order)\b)")),
    ("cancel", re.compile(r"\b(cancel|call off|take back my order)")),
    ("lead", re.compile(r"\b(interested in|interest in|quote|offer|budget|for (our|my) (office|company|team)|bulk)\b")),
    ("tracking", re.compile(r"\b(where is|track|tracking|shipment|arrives?|on its way|order status|status of)\b")),
    ("order", re.compile(rf"\b(buy|purchase|get me|send me|({_WISH}|order) (\d+|{'|'.join(_NUMBERS)}|an?) )")),
    ("payment", re.compile(r"\b(tok_\w+|pay)\b")),
    ("order", re.compile(rf"\b(order|{_WISH})\b")),
    ("faq", re.compile(r"\?")),
)
"""The first whose words are there is the one; a question about the shop itself is looked for before."""
_UNDONE = {"cancel_order": "place_order", "refund_order": "pay_order"}
_SAYS_LITTLE = re.compile(
    r"about|accept|and|any|are|can|could|did|does|for|from|give|had|has|have|how|its|know|long|many|may|more|much|need|not|one"
    r"|our|please|tell|than|that|the|their|them|there|they|this|want|was|what|when|where|which|who|why|will|with|would|you|your"
)


@dataclass(frozen=True)
class Reply:
    """Prose or tool calls: pairs of a name and arguments."""

    content: str | None = None
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


def reply(messages: list[dict[str, Any]], tools: list[str], wants_json: bool, seed: int) -> Reply:
    """Answer a chat. `tools` are the names that may be called; `wants_json` asks for the routing decision."""
    asked = [str(m["content"]) for m in messages if m["role"] == "user"]
    question = asked[-1] if asked else ""
    if wants_json:
        return Reply(json.dumps({"agent": _route(question)}))
    if messages[-1]["role"] == "tool":
        return Reply(_report(messages, seed))
    context = _context(messages)
    if tools:
        products = context.get("products", [])
        named = (_product(text, products) for text in reversed(asked))  # "two of them": what was spoken of last
        return _plan(tools, question, next(filter(None, named), None), seed)
    if _route(question) != "faq":
        return Reply(_choose(_ANSWERS["help"], seed))
    topic = " ".join(asked[-2:])  # "and on Sundays?" says little without the question before
    document = next((d for d in context.get("documents", []) if _speaks_of(d, topic)), None)
    if not document:
        return Reply(_choose(_ANSWERS["unknown"], seed))
    return Reply(_choose(_ANSWERS["answered"], seed).format(**document))


def _route(question: str) -> str:
    text = question.lower()
    number = _ORDER_NUMBER.search(text)
    if _ASKING.match(text) and not number and not re.search(r"\b(my (order|shipment)|i buy \d)\b", text):
        return "faq"
    for agent, words in _AGENTS:
        if words.search(text):
            return "tracking" if agent == "order" and number and not _TOKEN.search(text) else agent
    return "tracking" if number else "other"


def _plan(tools: list[str], question: str, product: dict[str, Any] | None, seed: int) -> Reply:
    text = question.lower()
    number, token, country = _ORDER_NUMBER.search(text), _TOKEN.search(text), _COUNTRY.search(question)
    which = {"order_number": number[0]} if number else {}
    calls: list[tuple[str, dict[str, Any]]] = []
    if "capture_lead" in tools:
        budget = _BUDGET.search(text)
        if budget:
            calls = [("qualify_lead", {"quantity": _quantity(text), "budget_cents": int(budget[1]) * 100})]
        elif re.search(r"\b(go ahead|accept|we take|agreed|deal)\b", text):
            calls = [("convert_lead", {})]
        elif product:
            calls = [("capture_lead", {"sku": product["sku"]})]
    elif "place_order" in tools:
        calls = [("place_order", {"sku": product["sku"], "quantity": _quantity(text)})] if product else []
    elif "hand_off" in tools:
        calls = [("hand_off", {"reason": question[:500]})]
    elif "track_order" in tools:
        calls = [("track_order", which)]
        if re.search(r"\b(notify|tell me when|let me know)\b", text):
            calls += [("notify", which)]
    elif "pay_order" not in tools:
        calls = [(tools[0], which)]
    if "pay_order" in tools and token and (calls or "place_order" not in tools):
        calls += [("pay_order", which | {"token": token[0]})]
        if country:
            calls += [("ship_order", which | {"country": _COUNTRIES.get(country[1].lower(), country[1])})]
    if calls:
        return Reply(calls=calls)
    return Reply(_choose(_ANSWERS["token_needed" if tools[0] == "pay_order" else "product_needed"], seed))


def _context(messages: list[dict[str, Any]]) -> dict[str, Any]:
    for message in messages:
        if message["role"] == "system" and str(message["content"]).startswith("Context: "):
            context: dict[str, Any] = json.loads(message["content"].removeprefix("Context: "))
            return context
    return {}


def _speaks_of(document: dict[str, Any], topic: str) -> bool:
    """Whether a document has a word of the topic that says something; "returned" is a word of "returns"."""
    told = re.findall(r"\w{3,}", f"{document['title']} {document['body']}".lower())
    words = {word[:5] for word in re.findall(r"\w{3,}", topic.lower()) if not _SAYS_LITTLE.fullmatch(word)}
    return any(word.startswith(stem) for word in told for stem in words)


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


def _report(messages: list[dict[str, Any]], seed: int) -> str:
    """Tell what the tools did: refusals first, then what holds now. What was undone again is not worth a word."""
    names = [call["function"]["name"] for m in messages for call in m.get("tool_calls", [])]
    results = [json.loads(m["content"]) for m in messages if m["role"] == "tool"]
    undone = {_UNDONE.get(name) for name in names}
    refused, done = [], []
    for name, result in zip(names, results, strict=True):
        words = {key.removesuffix("_cents"): f"{result[key] / 100:.2f} EUR" for key in result if key.endswith("_cents")}
        words = defaultdict(lambda: "that", result | words)
        if not result["ok"]:
            reason = _PHRASES["refusals"].get(result["code"], "something went wrong")
            refused.append(f"I am sorry, {reason.format_map(words)}.")
        elif name not in undone:
            following = _PHRASES["next"].get(result.get("next", ""), "") if name == names[-1] else ""
            done.append(_choose(_PHRASES["reports"][name], seed).format_map(words) + following)
    return " ".join(refused + done)


def _choose(phrasings: list[str], seed: int) -> str:
    return phrasings[seed % len(phrasings)]
