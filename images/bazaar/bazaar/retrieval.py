"""Retrieval: passages of a tenant's documents that are near a question and that the asking user may read.

Vectors live beside the rows that decide who may see them (pgvector), so permission is a predicate of the query and not
a filter behind it. Many rows are searched by an HNSW index (Malkov and Yashunin 2016), few are compared one by one: the
index would walk through all tenants to find them.
"""

import asyncio
import re
from dataclasses import dataclass

from bazaar.db import Transaction
from bazaar.embedding import embed
from bazaar.faults import fault
from bazaar.safety.pii import redact_answer

CHUNK_CHARACTERS = 400
FEW = 200
"""Up to here reading all rows is faster than the index."""


@dataclass(frozen=True)
class Document:
    """A text to store. `readers`: None for everybody of the tenant, else `user:ID` and `group:ID`."""

    document_id: str
    title: str
    body: str
    readers: list[str] | None


@dataclass(frozen=True)
class Hit:
    """A passage that was found. `score` is the cosine of the angle to the question (-1..1)."""

    document_id: str
    chunk: int
    title: str
    text: str
    score: float


def split(body: str) -> list[str]:
    """Cut a text into passages of whole sentences, as many as fit CHUNK_CHARACTERS; a longer sentence is cut."""
    passages = [""]
    for sentence in re.findall(
        rf"\S.{{0,{CHUNK_CHARACTERS - 1}}}?(?:[.!?](?=\s)|\n|$)|\S.{{{CHUNK_CHARACTERS - 1}}}", body
    ):
        if passages[-1] and len(passages[-1]) + 1 + len(sentence) > CHUNK_CHARACTERS:
            passages.append("")
        passages[-1] = f"{passages[-1]} {sentence.strip()}".strip()
    return passages


async def store(transaction: Transaction, documents: list[Document]) -> None:
    """Add documents, or replace those with the same ids. No id may occur twice."""
    ids = [document.document_id for document in documents]
    readers = [None if d.readers is None else " ".join(d.readers) for d in documents]
    titles, bodies = [d.title for d in documents], [d.body for d in documents]
    passages = [(n, ordinal, text) for n, body in enumerate(bodies) for ordinal, text in enumerate(split(body))]
    # In a thread: a batch may take longer than others should wait.
    vectors = await asyncio.to_thread(lambda: [embed(f"{titles[n]} {text}") for n, _, text in passages])
    await transaction.run("upsert_documents", ids=ids, titles=titles, bodies=bodies, readers=readers)
    await transaction.run("delete_chunks", ids=ids)
    if fault("acl_ignored") is not None:
        readers = [None] * len(documents)
    await transaction.run(
        "insert_chunks",
        ids=[ids[n] for n, _, _ in passages],
        ordinals=[ordinal for _, ordinal, _ in passages],
        bodies=[text for _, _, text in passages],
        readers=[readers[n] for n, _, _ in passages],
        embeddings=vectors,
    )


async def search(transaction: Transaction, user_id: str, text: str, limit: int) -> list[Hit]:
    """The passages nearest to a text that the user may read, best first; fewer than `limit` only if there are fewer."""
    readable = await transaction.row("find_readable", user_id=user_id, enough=FEW)
    if readable is None or not readable.chunks:
        return []
    statement = "nearest_of_few_chunks"
    if readable.chunks == FEW:
        statement = "nearest_chunks"
        order = "relaxed_order" if fault("retrieval_no_iterative_scan") is None else "off"
        await transaction.rows("tune_search", iterative_scan=order)
    rows = await transaction.rows(statement, embedding=embed(text), names=readable.names, limit=limit)
    rows.sort(key=lambda row: (row.distance, row.document_id, row.chunk))
    return [
        Hit(r.document_id, r.chunk, redact_answer(r.title), redact_answer(r.body), round(1 - r.distance, 6))
        for r in rows
    ]
