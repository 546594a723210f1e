"""What does not fit the schema is refused, with a stable code, and leaves nothing behind."""

import copy
import json
import socket
from typing import Any

import httpx
import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform, Shop
from _helpers.properties import Property, check
from t02_contract.baseline import OPERATIONS, WITH_BODY, Operation, objects_in
from t02_contract.refusals import check_problem, check_unchanged, everything
from t02_contract.world import World

JSON = {"Content-Type": "application/json"}
HUGE = (2**31, 2**53, 2**63, 10**30)
"""Numbers that some integer type or other cannot hold."""


@pytest.mark.parametrize("operation", WITH_BODY, ids=[operation.id for operation in WITH_BODY])
def test_unknown_field_is_refused(own_world: World, evidence: Evidence, operation: Operation) -> None:
    """In every object of the body; the same body without the field is accepted."""
    own_world.prepare(operation)
    body = own_world.body(operation)
    places = objects_in(operation.body or {}, body)
    check(bool(places), Property.UNKNOWN_FIELD, f"{operation.id} takes 0 objects with fields of their own")
    before = everything(own_world.shop)
    for place in places:
        changed = copy.deepcopy(body)
        target: Any = changed
        for part in place:
            target = target[part]
        target["quantitty"] = 1
        response = own_world.request(operation, json=changed)
        where = ".".join(map(str, place)) or "the body"
        seen = f"{operation.id} with an unknown field in {where} gave {response.status_code}, expected 422"
        check(response.status_code == 422, Property.UNKNOWN_FIELD, seen)
        check_problem(response, "invalid-request", f"{operation.id} with an unknown field in {where}")
    check_unchanged(own_world.shop, before, f"{operation.id} with unknown fields")
    accepted = own_world.request(operation)
    if operation.id == "create_tenant" and accepted.status_code == 201:
        own_world.made.append(accepted.json()["tenant_id"])
    seen = f"{operation.id} without the unknown field gave {accepted.status_code}, expected success"
    check(accepted.is_success, Property.CONTRACT_STABLE, seen)
    evidence("refusals", len(places))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[" * 10_000, "malformed-request"),
        (b'{"text": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "malformed-request"),
        (b'{"text": "a"', "malformed-request"),
        (b"\xff\xfe\x00", "malformed-request"),
        (b'{"text": ' + b"9" * 5000 + b"}", "malformed-request"),
        (b'{"text": "a\\u0000b"}', "invalid-request"),
        (b'{"text": "\\ud800"}', "invalid-request"),
        (b'{"text": ""}', "invalid-request"),
        (b'{"text": ' + json.dumps("a" * 4001).encode() + b"}", "invalid-request"),
        (b'{"text": ["a"]}', "invalid-request"),
        (b'{"text": "a", "conversation": "1"}', "invalid-request"),
        (b'{"text": "a", "conversation": 1.5}', "invalid-request"),
        (b'{"text": "a", "conversation": true}', "invalid-request"),
        (b'{"text": "a", "channel": "fax"}', "invalid-request"),
        (b"[]", "invalid-request"),
        (b"", "invalid-request"),
    ],
    ids=[
        "deep, cut off",
        "deep",
        "cut off",
        "no text",
        "long number",
        "NUL",
        "surrogate",
        "empty text",
        "long text",
        "list for text",
        "text for number",
        "fraction",
        "truth for number",
        "no such channel",
        "list for body",
        "no body",
    ],
)
def test_message_is_refused(shop: Shop, evidence: Evidence, body: bytes, code: str) -> None:
    """A body that is no message is not stored, and the next message is answered."""
    before = everything(shop)
    check_problem(shop.alice.request("POST", "/v1/messages", content=body, headers=JSON), code, "a message")
    check_unchanged(shop, before, "a refused message")
    check(shop.alice.say("How can I pay?")["state"] == "done", Property.EPISODE_ENDS, "the next message is not done")
    evidence("refusals")


@pytest.mark.parametrize("number", HUGE)
def test_huge_number_is_refused(world: World, evidence: Evidence, number: int) -> None:
    """Wherever an operation takes an integer, in the path, the query or the body."""
    before = everything(world.shop)
    answers: list[tuple[str, httpx.Response]] = []
    for operation in OPERATIONS:
        for parameter in operation.definition.get("parameters", []):
            if parameter["schema"].get("type") == "integer":
                values = {**world.values(operation), parameter["name"]: number}
                path = operation.path.format_map(values)
                query = {parameter["name"]: number} if parameter["in"] == "query" else None
                response = world.caller(operation).request(operation.method.upper(), path, params=query)
                answers.append((f"{operation.id} with {parameter['name']}={number}", response))
        for changed in _with_numbers(world.body(operation), number) if number >= 2**63 else ():
            response = world.request(operation, content=json.dumps(changed), headers=JSON)
            what = f"{operation.id} with {number} in its body"
            if operation.id == "replay" and response.status_code == 200:
                continue  # what a step was told may be any JSON
            answers.append((what, response))
    response = world.shop.alice.send("Where is my order?", conversation=number)
    answers.append((f"a message in conversation {number}", response))
    for what, response in answers:
        seen = f"{what} gave {response.status_code}, expected 422"
        check(response.status_code < 500, Property.NO_SERVER_ERROR, seen)
    for what, response in answers:
        check_problem(response, "invalid-request", what)
    check_unchanged(world.shop, before, f"requests with {number}")
    evidence("refusals", len(answers))


def _with_numbers(body: Any, number: int) -> list[Any]:
    """The body once for each integer in it, with `number` instead."""
    if isinstance(body, bool) or body is None:
        return []
    if isinstance(body, int):
        return [number]
    pairs = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    found = []
    for key, value in pairs:
        for changed in _with_numbers(value, number):
            whole = copy.copy(body)
            whole[key] = changed
            found.append(whole)
    return found


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "in chunks"])
def test_ten_megabytes_are_refused(shop: Shop, platform: Platform, evidence: Evidence, declared: bool) -> None:
    """Before they are read to the end, and the message after them is answered."""
    before = everything(shop)
    url = httpx.URL(platform.target.gateway)
    head = f"POST /v1/messages HTTP/1.1\r\nHost: {url.host}\r\nAuthorization: Bearer {shop.alice.key}\r\n"
    head += "Content-Type: application/json\r\n"
    head += f"Content-Length: {10**7}\r\n\r\n" if declared else "Transfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection((url.host, url.port or 80), 10) as raw:
        raw.sendall(head.encode())
        sent = 0
        try:
            while sent < 10**7:
                raw.sendall((b"" if declared else b"10000\r\n") + b" " * 65536 + (b"" if declared else b"\r\n"))
                sent += 65536
        except OSError:
            pass  # the server has closed: that is what is asked for
        status = _status(raw)
    check(status == 413, Property.PROBLEM_CODE, f"a body of 10 MB gave {status}, expected 413")
    check_unchanged(shop, before, "a body of 10 MB")
    check(shop.alice.say("How can I pay?")["state"] == "done", Property.EPISODE_ENDS, "the next message is not done")
    evidence("refusals")


def _status(raw: socket.socket) -> int:
    """The status of the answer; 0 if the connection was reset before it could be read."""
    try:
        return int(raw.recv(12).decode("latin-1").split()[1])
    except (OSError, IndexError):
        return 0
