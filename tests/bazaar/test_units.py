"""Parts of bazaar that compute only."""

import json
from typing import Any

import pytest

from bazaar import embedding, faults, script, tracing

PRODUCTS = [
    {"sku": "mug", "name": "Mug", "price_cents": 790},
    {"sku": "mug-blue", "name": "Blue Mug", "price_cents": 1290},
]


def chat(question: str, **context: Any) -> list[dict[str, Any]]:
    system = {"role": "system", "content": f"Context: {json.dumps(context)}"}
    return [system, {"role": "user", "content": question}]


def test_faults_are_parsed() -> None:
    assert dict(faults.parse(" a, b=3 ,")) == {"a": "", "b": "3"}
    with pytest.raises(ValueError, match="without a name"):
        faults.parse("=3")


def test_no_fault_is_planted_here() -> None:
    assert faults.fault("idempotency_ignored") is None


@pytest.mark.parametrize(
    ("question", "agent"),
    [
        ("I want to buy two mugs", "order"),
        ("Where is my order 1001-1?", "tracking"),
        ("Please track 1001-1", "tracking"),
        ("How can I return what I buy?", "faq"),
        ("Hello", "other"),
    ],
)
def test_routing(question: str, agent: str) -> None:
    said = script.reply(chat(question), [], wants_json=True, seed=0)
    assert said.content == json.dumps({"agent": agent})


@pytest.mark.parametrize(
    ("question", "arguments"),
    [
        ("I want two blue mug", {"sku": "mug-blue", "quantity": 2}),
        ("send me 12 of Mug", {"sku": "mug", "quantity": 12}),
        ("I buy a mug", {"sku": "mug", "quantity": 1}),
    ],
)
def test_planning_an_order(question: str, arguments: dict[str, Any]) -> None:
    said = script.reply(chat(question, products=PRODUCTS), ["place_order"], wants_json=False, seed=0)
    assert (said.tool, said.arguments) == ("place_order", arguments)


def test_phrasing_follows_the_seed_only() -> None:
    context = {"documents": [{"title": "Returns", "body": "30 days."}]}
    replies = [script.reply(chat("How to return?", **context), [], wants_json=False, seed=s).content for s in range(6)]
    assert replies[:3] == replies[3:]
    assert len(set(replies)) == 3


def test_embedding_is_a_unit_vector_and_finds_the_like() -> None:
    def vector(text: str) -> list[float]:
        numbers: list[float] = json.loads(embedding.embed(text))
        return numbers

    def similarity(a: str, b: str) -> float:
        return sum(x * y for x, y in zip(vector(a), vector(b), strict=True))

    assert similarity("return goods", "return goods") == pytest.approx(1, abs=1e-3)
    assert similarity("how to return goods", "returning goods") > similarity("how to return goods", "opening hours")
    assert len(vector("")) == embedding.DIMENSIONS


def test_trace_context_is_continued_only_if_well_formed() -> None:
    good = f"00-{'a' * 32}-{'b' * 16}-01"
    assert tracing.continue_or_start(good) == good
    assert tracing.trace_id(good) == "a" * 32
    for bad in (None, "", "00-xyz", f"00-{'0' * 32}-{'b' * 16}-01"):
        assert tracing.trace_id(tracing.continue_or_start(bad)) not in ("", "0" * 32)
