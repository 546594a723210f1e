"""A tenant that names what is another's, wherever a request can name something, sees nothing and changes nothing."""

import random
from collections.abc import Iterator
from contextlib import closing
from itertools import permutations
from string import ascii_lowercase
from typing import Any
from uuid import UUID

import httpx
import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform
from _helpers.client import User
from _helpers.frames import connect_stream, open_stream
from _helpers.jetstream import read_stream
from _helpers.properties import Property, check
from t06_multitenant.neighbors import COUNT, ORDINALS, Name, Neighbor
from t06_multitenant.positions import Document, Position
from websockets.exceptions import InvalidStatus

FRAME_SECONDS = 15.0
POSITIONS = 50
"""Places in which a request can name something, at least; fewer are a document that does not describe the API."""
USUAL: dict[str, Name] = {"text": "How can I pay?", "token": "tok_visa", "document_id": "usual"}
UNUSED = 2_000_000_000


@pytest.fixture(scope="module")
def document(platform: Platform) -> Document:
    """How the platform describes itself."""
    answer = platform.http.get("/openapi.json")
    if answer.status_code != 200:
        raise RuntimeError(f"GET /openapi.json gave {answer.status_code}, expected 200: nothing to probe")
    return Document(answer.json())


def _nobodys(seeded: random.Random) -> dict[str, Name]:
    """Names like those of a neighbor, and no tenant has them."""
    word = "".join(seeded.choices(ascii_lowercase, k=13))
    uuids: dict[str, Name] = {
        kind: str(UUID(int=seeded.getrandbits(128), version=4)) for kind in ("tenant_id", "episode_id")
    }
    words = {"sku": f"sku.{word}", "document_id": f"document-{word}", "user": f"user-{word}", "group": f"group-{word}"}
    numbers: dict[str, Name] = {"conversation": UNUSED, "order_number": "9999-1", "tracking_code": "TR9999-1"}
    return {**uuids, **words, **numbers, "idempotency-key": f"key-{word}"}


def _own_kind(position: Position) -> str:
    """The kind of name that a position asks for."""
    return str(position.trail[-1]).lower()


def _kinds(position: Position, names: dict[str, Name], turn: int) -> list[str]:
    """What is said in a position: the kind that it asks for, and in turn one of the others that it lets pass."""
    fitting = [kind for kind, name in names.items() if position.admits(name)]
    own = [kind for kind in fitting if kind == _own_kind(position)]
    others = [kind for kind in fitting if kind not in own]
    return own + others[turn % len(others) :][:1] if others else own


class Prober:
    """Asks as one tenant, and looks at what it is answered."""

    def __init__(self, document: Document, own: Neighbor, others: list[Neighbor]) -> None:
        self._document, self._own, self._others = document, own, others
        self.asked = 0

    def ask(self, position: Position, name: Name) -> tuple[int, str]:
        """Status and code of the answer to a name in a position. Fails if the answer tells something of another."""
        self.asked += 1
        usual = {**self._own.names, **USUAL, "idempotency-key": f"probe-{self.asked}"}
        method, path, sent = self._document.request(position, name, usual)
        answer = self._own.alice.request(method, path, **sent)
        check(answer.status_code < 500, Property.NO_SERVER_ERROR, f"{position.where} gave {answer.status_code}")
        self.look(f"the answer to {position.where}", f"{answer.headers} {answer.text}")
        if answer.status_code == 202:
            self.look(f"the reply to {position.where}", str(self._own.alice.wait(answer.json()["episode_id"])))
        if position.is_admin:
            seen = f"{position.where} gave {answer.status_code} to a tenant's key, expected 401"
            check(answer.status_code == 401, Property.AUTHORIZATION, seen)
        return answer.status_code, answer.json().get("code", "") if answer.status_code >= 400 else ""

    def look(self, where: str, text: str) -> None:
        """Fail if a text has a word that only another tenant knows."""
        check_silent(where, text, self._others)


def check_silent(where: str, text: str, others: list[Neighbor]) -> None:
    """A text holds no word that only another tenant knows."""
    found = sum(secret in text for other in others for secret in other.secrets)
    check(found == 0, Property.TENANT_READ, f"{where} has {found} words of other tenants, expected 0")


def _unchanged(platform: Platform, others: list[Neighbor]) -> list[dict[str, Any]]:
    """All rows of neighbors, without the outbox, whose entries are marked when they go out."""
    found = [platform.database.snapshot(other.tenant_id, bookkeeping=True) for other in others]
    return [{table: rows for table, rows in tables.items() if table != "outbox"} for tables in found]


@pytest.mark.parametrize("number", range(COUNT))
def test_names_of_others_open_nothing(
    platform: Platform,
    document: Document,
    neighbors: list[Neighbor],
    seeded: random.Random,
    number: int,
    evidence: Evidence,
) -> None:
    """Every position of every operation, with names of each other tenant: as if nobody had them.

    The same names open something to their owner, so that a name which opens nothing would have opened it.
    """
    own, others = neighbors[number], neighbors[:number] + neighbors[number + 1 :]
    prober, nobody = Prober(document, own, others), _nobodys(seeded)
    positions = [position for position in document.positions() if _kinds(position, own.names, 0)]
    seen = f"the document describes {len(positions)} places for a name, expected {POSITIONS} at least"
    check(len(positions) >= POSITIONS, Property.CONTRACT_STABLE, seen)
    before = _unchanged(platform, others)
    for position in positions:
        kind = _own_kind(position)
        compared = kind in nobody and kind not in ORDINALS and position.admits(nobody[kind])
        if compared and position.method == "get" and not position.is_admin:
            status, _ = prober.ask(position, own.names[kind])
            check(status == 200, Property.ANSWER, f"{position.where} gave {status} to the name's owner, expected 200")
        # Twice: the first may do what can be done but once.
        expected = [prober.ask(position, nobody[kind]) for _ in range(2)][-1] if compared else None
        for turn, other in enumerate(others, number * len(others)):
            for said in _kinds(position, other.names, turn):
                answer = prober.ask(position, other.names[said])
                seen = f"{position.where} gave {answer} to another's {said}, expected {expected} as to nobody's"
                check(said != kind or not compared or answer == expected, Property.TENANT_EXISTENCE, seen)
    changed = [tables for tables, now in zip(before, _unchanged(platform, others), strict=True) if tables != now]
    check(not changed, Property.TENANT_WRITE, f"the rows of {len(changed)} other tenants have changed, expected 0")
    evidence("probes", prober.asked)
    evidence("positions", len(positions))


def _refused(gateway: str, user: User, query: str) -> int | None:
    """The status with which a stream was refused; None if it opened."""
    try:
        with closing(connect_stream(gateway, user.key, query)):
            return None
    except InvalidStatus as error:
        return error.response.status_code


def test_streams_show_the_own_conversation(platform: Platform, neighbors: list[Neighbor], evidence: Evidence) -> None:
    """A number that is a conversation of another only opens no stream; one that is the own too shows the own frames."""
    gateway, probes = platform.target.gateway, 0
    for own, other in permutations(neighbors, 2):
        foreign = int(other.names["conversation"])
        known = {row["conversation"] for row in platform.database.rows("conversations", own.tenant_id)}
        nobodys = _refused(gateway, own.alice, f"conversation={UNUSED}")
        last = max(
            {row["conversation"] for row in platform.database.rows("conversations", other.tenant_id)} - known,
            default=None,
        )
        if last is not None:
            status = _refused(gateway, own.alice, f"conversation={last}")
            seen = f"a stream of another's conversation gave {status}, expected {nobodys} as of nobody's"
            check(status == nobodys, Property.TENANT_EXISTENCE, seen)
        with open_stream(gateway, own.alice.key, min(foreign, int(own.names["conversation"]))) as stream:
            stream.until("ended", FRAME_SECONDS)
            check_silent("a stream", str(stream.frames), [other])
        status = _refused(gateway, own.alice, f"conversation={UNUSED}&last_seq={foreign}")
        check(status == nobodys == 404, Property.TENANT_READ, f"a stream of nobody's conversation gave {status}")
        probes += 4
    evidence("probes", probes)


def test_record_is_given_of_its_tenant_only(platform: Platform, neighbors: list[Neighbor], evidence: Evidence) -> None:
    """Who has the bootstrap key names the tenant too: an episode of another tenant is not among its own."""
    admin = User("admin", platform.target.admin_key, platform.http)
    for own, other in permutations(neighbors, 2):
        path = f"/v1/admin/episodes/{other.names['episode_id']}/record"
        for tenant, expected in ((other, 200), (own, 404)):
            answer = admin.request("GET", path, params={"tenant_id": tenant.tenant_id})
            seen = f"the record of an episode gave {answer.status_code}, expected {expected}"
            check(answer.status_code == expected, Property.TENANT_READ if tenant is own else Property.ANSWER, seen)
        check_silent("a refused record", answer.text, [other])
    evidence("probes", 2 * COUNT * (COUNT - 1))


def test_lists_and_searches_are_ones_own(neighbors: list[Neighbor], evidence: Evidence) -> None:
    """What names nobody, such as a list, shows what is one's own, all of it, and not a word of others."""
    for own in neighbors:
        others = [other for other in neighbors if other is not own]
        for where, answer in _listed(own):
            check(answer.status_code == 200, Property.ANSWER, f"{where} gave {answer.status_code}, expected 200")
            check_silent(where, answer.text, others)
            expected = own.names.get(where.rpartition(" ")[2])
            told = expected is None or str(expected) in answer.text
            check(told, Property.ANSWER, f"{where} does not tell what is the tenant's own")
            evidence("probes")


def _listed(own: Neighbor) -> Iterator[tuple[str, httpx.Response]]:
    """Answers of operations that name nobody; what each is called ends with what it must tell."""
    yield "the list of orders, order_number", own.alice.request("GET", "/v1/orders")
    yield "the list of conversations, conversation", own.alice.request("GET", "/v1/conversations")
    yield "the list of leads", own.alice.request("GET", "/v1/leads")
    yield "the usage", own.alice.request("GET", "/v1/usage")
    body = {"text": "You can use it within days in our shops", "limit": 50}
    yield "the search, document_id", own.alice.request("POST", "/v1/search", json=body)


def test_rows_and_events_hold_nothing_of_others(
    platform: Platform, neighbors: list[Neighbor], evidence: Evidence
) -> None:
    """Neither what is stored for a tenant nor what is published under its subject has a word of another tenant."""
    tables = platform.database.tables
    for own in neighbors:
        others = [other for other in neighbors if other is not own]
        for table in sorted(tables):
            rows = platform.database.rows(table, own.tenant_id)
            check_silent(f"the table {table}", str(rows), others)
            evidence("rows", len(rows))
        events = read_stream("EVENTS", f"events.{UUID(own.tenant_id).hex}.>")
        check(len(events) > 0, Property.ACCEPTED_THEN_LOST, "0 events of a tenant that was answered")
        check_silent("an event", " ".join(event.data.decode() for event in events), others)
        evidence("events", len(events))
