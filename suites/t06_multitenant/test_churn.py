"""Connections to the database go from tenant to tenant, whatever became of the request before."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from string import ascii_lowercase

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import SCOPES, Platform, Tenant
from _helpers.properties import Property, check
from _helpers.replicas import replicas
from t06_multitenant.raw import Request, crowd

TENANTS, REQUESTS = 50, 20
AT_ONCE = 48
"""Far more than a gateway has connections to the database."""
GIVEN_UP = 0.4
TITLE = "Notes of the house"
Guests = dict[str, Tenant]
"""Tenants by the word that only they have, in a document, a product, a user and an order."""


@pytest.fixture(scope="module")
def guests(platform: Platform) -> Iterator[Guests]:
    """Tenants that differ in one word, and ask for it by the same texts."""
    chance = random.Random(f"{platform.target.seed}/guests")
    words = ["".join(chance.choices(ascii_lowercase, k=12)) for _ in range(TENANTS)]
    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        yield dict(zip(words, pool.map(lambda word: _guest(platform, stack, word), words), strict=True))


def _guest(platform: Platform, stack: ExitStack, word: str) -> Tenant:
    users = [{"name": "alice", "scopes": SCOPES}]
    products = [{"sku": f"sku.{word}", "name": f"Mug {word}", "price_cents": 790, "stock": 10}]
    made = stack.enter_context(platform.open_tenant(seed=1, users=users, products=products))
    document = {"document_id": f"notes-{word}", "title": TITLE, "body": f"The word of the house is {word}."}
    for path, body, expected in (
        ("/v1/documents:batch", {"documents": [document]}, 200),
        ("/v1/orders", {"sku": f"sku.{word}", "quantity": 1}, 201),
    ):
        done = made.users["alice"].request("POST", path, json=body, headers={"Idempotency-Key": "first"})
        if done.status_code != expected:
            raise RuntimeError(f"POST {path} gave {done.status_code}, expected {expected}: no guest to test with")
    if not platform.database.rows("documents", made.tenant_id):
        raise RuntimeError("a document that was stored has no row: no guest to test with")
    return made


def _asked(gateways: list[str], guests: Guests, chance: random.Random) -> list[tuple[str, Request]]:
    """Requests of all guests in a random order, with the word that each must be answered; "" for none."""
    found = []
    for word, guest in guests.items():
        key = guest.users["alice"].key
        for number in range(REQUESTS):
            gateway, given_up = chance.choice(gateways), chance.random() < GIVEN_UP
            search = {"text": "What is the word of the house?", "limit": 10}
            found.append(
                chance.choices(
                    [
                        (word, Request(gateway, key, "POST", "/v1/search", search, given_up=given_up)),
                        (word, Request(gateway, key, "GET", "/v1/orders", given_up=given_up)),
                        ("", Request(gateway, key, "GET", "/v1/conversations", given_up=given_up)),
                    ],
                    [6, 3, 1],
                )[0]
                # Probes use the same connections, and have no tenant.
                if number
                else ("", Request(gateway, key, "GET", "/readyz"))
            )
    chance.shuffle(found)
    return found


def test_connections_carry_nothing_over(guests: Guests, seeded: random.Random, evidence: Evidence) -> None:
    """Requests of 50 tenants at once, four of ten given up by their clients: every answer is of who asked."""
    asked = _asked(replicas("gateway"), guests, seeded)
    expected = {id(request): word for word, request in asked}
    sent = crowd([request for _, request in asked], AT_ONCE)
    answered = [answer for answer in sent.answers if answer.status]
    for answer in answered:
        what, word = f"{answer.request.method} {answer.request.path}", expected[id(answer.request)]
        check(answer.status == 200, Property.NO_SERVER_ERROR, f"{what} gave {answer.status}, expected 200")
        foreign = sum(other in answer.text for other in guests.keys() - {word})
        check(foreign == 0, Property.TENANT_READ, f"{what} told the words of {foreign} other tenants, expected 0")
        check(word in answer.text, Property.ANSWER, f"{what} does not tell the tenant's own word")
    evidence("tenants", len(guests))
    evidence("churned", len(sent.answers))
    evidence("given-up", len(sent.answers) - len(answered))


def test_what_was_given_up_was_its_tenants(guests: Guests, platform: Platform, seeded: random.Random) -> None:
    """Writes of which half are given up: whatever of them is there is in the tenant that asked."""
    gateways = replicas("gateway")
    requests = [
        Request(
            seeded.choice(gateways),
            guest.users["alice"].key,
            "POST",
            "/v1/documents:batch",
            {"documents": [{"document_id": f"more-{word}", "title": TITLE, "body": f"Once more {word}."}]},
            given_up=seeded.random() < 0.5,
        )
        for word, guest in guests.items()
    ]
    sent = crowd(requests, AT_ONCE)
    stored = {answer.request.key for answer in sent.answers if answer.status == 200}
    for word, guest in guests.items():
        rows = platform.database.rows("documents", guest.tenant_id)
        foreign = [row["document_id"] for row in rows if word not in row["document_id"]]
        check(not foreign, Property.TENANT_WRITE, f"{len(foreign)} documents of others among a tenant's, expected 0")
        there = any(row["document_id"] == f"more-{word}" for row in rows)
        confirmed = guest.users["alice"].key in stored
        check(there or not confirmed, Property.GOAL_STATE, "a document that was stored is not there")
