"""Parts of bazaar that compute only."""

import json
from typing import Any

import pytest

from bazaar import embedding, faults, tracing
from bazaar.model import script

PRODUCTS = [
    {"sku": "mug", "name": "Mug", "price_cents": 790},
    {"sku": "mug-blue", "name": "Blue Mug", "price_cents": 1290},
]


def chat(question: str, **context: Any) -> list[dict[str, Any]]:
    system = {"role": "system", "content": f"Context: {json.dumps(context)}"}
    return [system, {"role": "user", "content": question}]


def test_faults_are_parsed() -> None:
    planted = {name: (entry.value, entry.permille) for name, entry in faults.parse(" a, b=3 ,c=x@50").items()}
    assert planted == {"a": ("", 1000), "b": ("3", 1000), "c": ("x", 50)}
    with pytest.raises(ValueError, match="without a name"):
        faults.parse("=3")
    with pytest.raises(ValueError, match="permille"):
        faults.parse("a=3@5000")


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
    assert said.calls == [("place_order", arguments)]


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
    with tracing.continued({"Traceparent": good}):
        assert tracing.trace_id() == "a" * 32
        assert tracing.headers() == {"traceparent": good}
    for bad in ({}, {"traceparent": "00-xyz"}, {"traceparent": f"00-{'0' * 32}-{'b' * 16}-01"}):
        with tracing.continued(bad):
            assert tracing.trace_id() == ""
