"""A small tenant's documents in an index full of others', and what the nearest of them really are.

The exact answer is computed here, over the rows. A question is the text of a stored passage, whose vector is in its
row; whether the platform takes the question for that vector is seen in its answer, which must then begin with that
passage.
"""

import json
import random
from dataclasses import dataclass
from typing import Any

import psycopg
from _helpers.client import User
from _helpers.properties import Property, check

SHARE = 0.02
LEAST = 260
"""Passages: a platform may compare fewer one by one, and then no index is seen at work."""
BATCH = 250
NEAREST = 10
SAME = 1e-4
"""Distances closer than this are equal: vectors are stored in single precision."""
_THINGS = (
    "mug",
    "lamp",
    "chair",
    "teapot",
    "backpack",
    "clock",
    "blanket",
    "notebook",
    "kettle",
    "scarf",
    "tray",
    "vase",
)
_LOOKS = ("blue", "green", "oak", "copper", "linen", "round", "small", "folding", "striped", "woolen", "tall", "plain")
_FACTS = (
    "The {look} {thing} is made in {town} and weighs {n} grams.",
    "Wash the {thing} by hand, at {n} degrees at most.",
    "A {thing} in {look} has a warranty of {n} months.",
    "Our shop in {town} keeps {n} pieces of the {look} {thing}.",
    "If the {thing} breaks, send it to {town} within {n} days.",
    "The {thing} fits {n} others of its kind, in {look} too.",
    "Until {n} o'clock a {look} {thing} can be fetched in {town}.",
)
_TOWNS = ("Bergen", "Graz", "Porto", "Lviv", "Turku", "Leiden", "Trento", "Brno", "Galway", "Cadiz")


@dataclass(frozen=True)
class Passage:
    """A passage as its row has it. `readers` is None for everybody of the tenant."""

    document_id: str
    question: str
    """The text whose vector is the passage's own."""
    readers: frozenset[str] | None
    vector: list[float]


def make_documents(chance: random.Random, count: int) -> list[dict[str, Any]]:
    """Documents of one passage each, no two alike."""
    made = []
    for number in range(count):
        thing, look = chance.choice(_THINGS), chance.choice(_LOOKS)
        facts = chance.sample(_FACTS, chance.randint(2, 4))
        values = {"thing": thing, "look": look, "town": chance.choice(_TOWNS)}
        body = " ".join(fact.format(**values, n=chance.randint(2, 900)) for fact in facts)
        made.append({"document_id": f"shelf-{number}", "title": f"About the {look} {thing}", "body": body})
    return made


def store(user: User, documents: list[dict[str, Any]]) -> None:
    """Raises RuntimeError if the platform does not take them."""
    for start in range(0, len(documents), BATCH):
        answer = user.request("POST", "/v1/documents:batch", json={"documents": documents[start : start + BATCH]})
        if answer.status_code != 200:
            raise RuntimeError(f"POST /v1/documents:batch gave {answer.status_code}, expected 200: nothing to search")


def passages(ops: psycopg.Connection, tenant_id: str) -> list[Passage]:
    """The tenant's passages. Fails if one's vector is not of length 1, as cosine distances need."""
    query = """SELECT c.document_id, d.title || ' ' || c.body, c.readers, c.embedding::text
               FROM bazaar.chunks c JOIN bazaar.documents d USING (tenant_id, document_id)
               WHERE tenant_id = %s ORDER BY 1, c.chunk"""
    rows = ops.execute(query, [tenant_id]).fetchall()
    found = [Passage(d, q, None if r is None else frozenset(r), json.loads(v)) for d, q, r, v in rows]
    odd = sum(abs(_product(p.vector, p.vector) - 1) > SAME for p in found)
    check(odd == 0, Property.RETRIEVAL_RECALL, f"{odd} of {len(found)} vectors are not of length 1")
    return found


def may_read(passage: Passage, names: set[str]) -> bool:
    """Whether one who is all of these (`user:ID`, `group:ID`) may read it."""
    return passage.readers is None or bool(passage.readers & names)


def search(user: User, text: str, limit: int = NEAREST) -> list[dict[str, Any]]:
    """What the platform finds, best first."""
    answer = user.request("POST", "/v1/search", json={"text": text, "limit": limit})
    seen = f"POST /v1/search gave {answer.status_code}, expected 200"
    check(answer.status_code == 200, Property.RETRIEVAL_RECALL, seen)
    hits: list[dict[str, Any]] = answer.json()["hits"]
    return hits


def right_among(asked: Passage, readable: list[Passage], hits: list[dict[str, Any]], limit: int = NEAREST) -> int:
    """How many hits are among the nearest passages; any of those that are equally far at the end counts."""
    distance = {p.document_id: 1 - _product(asked.vector, p.vector) for p in readable}
    farthest = sorted(distance.values())[:limit][-1]
    return sum(distance.get(hit["document_id"], 2.0) <= farthest + SAME for hit in hits)


def _product(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
