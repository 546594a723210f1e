"""Retrieval finds what it should, for whom it should, and by the index where there is much."""

import random
import time
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from loopback import Platform, fill_shelves, free_port, roles
from shop import SCOPES, Shop, new_shop

from bazaar import preload, retrieval

TENANTS, CHUNKS = 20, 300


@pytest.fixture(scope="module")
def shelves(bazaar: Platform) -> Platform:
    """A platform with background tenants, small enough for a test; the second preload changes nothing."""
    for _ in range(2):
        fill_shelves(bazaar, TENANTS, CHUNKS)
    with psycopg.connect(bazaar.ops_dsn) as ops:
        query = "SELECT count(*) FROM chunks JOIN tenants USING (tenant_id) WHERE seed < %s AND document_id ~ '^doc-'"
        assert ops.execute(query, (TENANTS,)).fetchone() == (TENANTS * CHUNKS,)
    return bazaar


def documents(seed: int, number: int) -> list[dict[str, Any]]:
    """Documents of one passage each, of the same kind as the preloaded ones."""
    made = []
    for n in range(number):
        title, body, *_ = preload._document(random.Random(f"{seed}/{n}"))
        made.append({"document_id": f"own-{n}", "title": title, "body": body})
    return made


def store(shop: Shop, batch: list[dict[str, Any]]) -> None:
    for at in range(0, len(batch), 250):
        shop.request("POST", "/v1/documents:batch", json={"documents": batch[at : at + 250]}).raise_for_status()


def search(shop: Shop, text: str, user: str = "alice", limit: int = 10) -> list[dict[str, Any]]:
    answer = shop.request("POST", "/v1/search", user, json={"text": text, "limit": limit})
    hits: list[dict[str, Any]] = answer.raise_for_status().json()["hits"]
    return hits


def exact(ops: psycopg.Connection, tenant_id: str, document_id: str) -> set[str]:
    """The ten nearest documents to a document of the tenant, without any index."""
    ops.execute("SET enable_indexscan = off")
    query = """SELECT c.document_id FROM chunks c, chunks q
               WHERE c.tenant_id = %(t)s AND q.tenant_id = %(t)s AND q.document_id = %(d)s
               ORDER BY c.embedding <=> q.embedding, c.document_id LIMIT 10"""
    return {d for (d,) in ops.execute(query, {"t": tenant_id, "d": document_id})}


def index_scans(ops: psycopg.Connection) -> int:
    """How often the vectors' index was used, as the server counts; a backend reports when it goes idle."""
    ops.execute("SELECT pg_stat_clear_snapshot()")
    row = ops.execute("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'chunks_nearest'").fetchone()
    assert row is not None, "there is no index"
    scans: int = row[0]
    return scans


def recall(ops: psycopg.Connection, shop: Shop, asked: list[dict[str, Any]]) -> tuple[float, int]:
    """Mean recall@10 of searches for documents of the tenant, and the number of answers with less than ten."""
    shares, short = [], 0
    for document in asked:
        hits = search(shop, f"{document['title']} {document['body']}")
        short += len(hits) < 10
        truth = exact(ops, shop.tenant_id, document["document_id"])
        shares.append(len(truth & {h["document_id"] for h in hits}) / 10)
        scores = [h["score"] for h in hits]
        assert scores == sorted(scores, reverse=True)
    return sum(shares) / len(shares), short


def test_small_tenant_in_a_full_index(shelves: Platform, shop: Shop, tmp_path: Path) -> None:
    own = documents(7, retrieval.FEW + 40)  # 4 % of the index
    store(shop, own)
    asked = own[:: len(own) // 40]
    with psycopg.connect(shelves.ops_dsn, autocommit=True) as ops:
        before = index_scans(ops)
        share, short = recall(ops, shop, asked)
        deadline = time.monotonic() + 15
        while index_scans(ops) < before + len(asked):
            assert time.monotonic() < deadline, "searches did not use the index"
            time.sleep(0.2)
        assert short == 0
        assert share >= 0.97
        # The planted fault: the index alone finds rows of others, and the filter leaves too few.
        environment = {**shelves.environment, "FAULTS": "retrieval_no_iterative_scan"}
        with (
            roles({"gateway": free_port()}, tmp_path, environment) as urls,
            httpx.Client(base_url=urls["gateway"], timeout=30) as http,
        ):
            share, short = recall(ops, Shop(http, shop.tenant_id, shop.keys), asked[:10])
        assert short > 0
        assert share < 0.9


def test_few_documents_are_compared_one_by_one(shelves: Platform, shop: Shop) -> None:
    own = documents(8, 12)
    store(shop, own)
    with psycopg.connect(shelves.ops_dsn, autocommit=True) as ops:
        assert recall(ops, shop, own) == (1.0, 0)
    assert len(search(shop, "warranty", limit=50)) == 12


def test_nothing_of_others(shelves: Platform, shop: Shop) -> None:
    assert search(shop, "Returns of the red mug are accepted") == []
    store(shop, documents(9, 2))
    assert {h["document_id"] for h in search(shop, "Returns of the red mug are accepted")} == {"own-0", "own-1"}


@pytest.mark.parametrize("many", [False, True], ids=["few", "index"])
def test_access_lists_within_a_tenant(shelves: Platform, many: bool) -> None:
    with httpx.Client(base_url=shelves.urls["gateway"], timeout=30) as http:
        people: dict[str, list[str]] = {"alice": ["staff"], "bob": [], "carol": ["staff", "board"]}
        users = [{"name": name, "scopes": SCOPES, "groups": groups} for name, groups in people.items()]
        shop = new_shop(http, shelves.admin_key, users=users)
        own = documents(10, retrieval.FEW + 10 if many else 5)
        lists = [None, {"users": ["bob"]}, {"groups": ["staff"]}, {"users": ["bob"], "groups": ["board"]}, {}]
        body = own[0]["body"]
        for n, readers in enumerate(lists):
            own[n] = {"document_id": f"list-{n}", "title": "Secret", "body": body, "readers": readers}
        store(shop, own)
        for name, may in {"alice": {0, 2}, "bob": {0, 1, 3}, "carol": {0, 2, 3}}.items():
            found = {h["document_id"] for h in search(shop, f"Secret {body}", name) if h["title"] == "Secret"}
            assert found == {f"list-{n}" for n in may}, name
        # Replacing a document replaces its list and its passages.
        store(shop, [{**own[4], "readers": {"users": ["alice"]}, "body": body + " New."}])
        assert "list-4" in {h["document_id"] for h in search(shop, f"Secret {body}")}
        reply = shop.say("What does the secret say?", "bob")["reply"]
        assert reply


def test_ignored_access_list_shows_another_users_document(bazaar: Platform, tmp_path: Path) -> None:
    environment = {**bazaar.environment, "FAULTS": "acl_ignored"}
    with roles({"gateway": free_port()}, tmp_path, environment) as urls, httpx.Client(base_url=urls["gateway"]) as http:
        shop = new_shop(http, bazaar.admin_key)
        store(shop, [{"document_id": "d", "title": "Diary", "body": "Mine.", "readers": {"users": ["alice"]}}])
        assert [h["document_id"] for h in search(shop, "Diary", "bob")] == ["d"]


@pytest.mark.parametrize("text", ["???", "you", "a", "ab", "\u00e9", "1"])
def test_any_text_can_be_looked_for(shop: Shop, text: str) -> None:
    store(shop, documents(11, 3))
    hits = search(shop, text)
    assert len(hits) == 3
    assert all(-1 <= hit["score"] <= 1 for hit in hits)


def test_same_id_twice_is_refused(shop: Shop) -> None:
    document = {"document_id": "d", "title": "T", "body": "B"}
    refused = shop.request("POST", "/v1/documents:batch", json={"documents": [document, document]})
    assert (refused.status_code, refused.json()["code"]) == (409, "repeated-name")


@pytest.mark.parametrize("body", ["x", "One. Two? Three!", "word " * 799, "x" * 4000, "Sentence. " * 200, "a\nb\n\nc"])
def test_passages_hold_the_whole_text(body: str) -> None:
    passages = retrieval.split(body)
    assert all(0 < len(passage) <= retrieval.CHUNK_CHARACTERS for passage in passages)
    assert "".join("".join(passages).split()) == "".join(body.split())
