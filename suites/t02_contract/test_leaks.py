"""Personal data stays where it belongs: in no error, in no answer, and in no place beside the one it was given to."""

import json
import os
import random
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform, Shop
from _helpers.client import accepted
from _helpers.frames import connect_stream
from _helpers.properties import Property, check
from t02_contract.baseline import OPERATIONS, WITH_BODY, Operation
from t02_contract.sentences import TYPES, Writer
from t02_contract.wire import listening
from t02_contract.world import World

SECONDS = 20.0
LOG_PAGES = 100
LOG_POLL_SECONDS = 0.3


def leaked(text: str, values: list[str]) -> list[str]:
    """The values that are in the text, as they are or as JSON has them; never the text itself."""
    return [value for value in values if value in text or json.dumps(value)[1:-1] in text]


def _spoiled(body: Any, value: str) -> Iterator[Any]:
    """The body once for each of its fields, with `value` in its place or as a field beside it."""
    if isinstance(body, dict):
        yield {**body, value: 1}
        for key, inner in body.items():
            yield {**body, key: value}
            yield {**body, key: {value: value}}
            for changed in _spoiled(inner, value):
                yield {**body, key: changed}
    elif isinstance(body, list) and body:
        yield [value, *body]
        yield from ([changed, *body[1:]] for changed in _spoiled(body[0], value))


@pytest.mark.parametrize("operation", WITH_BODY, ids=[operation.id for operation in WITH_BODY])
def test_refusal_repeats_no_personal_data(
    own_world: World, seeded: random.Random, evidence: Evidence, operation: Operation
) -> None:
    """Put into every field and beside it, in bodies that are refused."""
    writer = Writer(seeded.getrandbits(32))
    refused = 0
    own_world.prepare(operation)
    spoiled = list(_spoiled(own_world.body(operation), "PLACE"))
    for body in spoiled[:60]:
        value = writer.value(seeded.choice(TYPES))
        text = json.dumps(body).replace("PLACE", json.dumps(value)[1:-1])
        response = own_world.request(operation, content=text, headers={"Content-Type": "application/json"})
        if response.status_code < 400:
            if operation.id == "create_tenant" and response.status_code == 201:
                own_world.made.append(response.json()["tenant_id"])
            continue  # a text that may be anything; what becomes of it is the sweep's business
        refused += 1
        seen = f"{operation.id} repeats personal data in its answer {response.status_code}"
        check(not leaked(response.text + str(response.headers), [value]), Property.PII_ERROR, seen)
    check(refused >= 3, Property.PII_ERROR, f"{refused} of {len(spoiled)} bodies refused: nothing was seen")
    evidence("refusals", refused)


def test_refusal_repeats_no_parameter(own_world: World, seeded: random.Random, evidence: Evidence) -> None:
    """Nor from the path, the query, a header or a key."""
    writer = Writer(seeded.getrandbits(32))
    refused = 0
    own_world.prepare(*OPERATIONS)
    for operation in OPERATIONS:
        for name in (parameter["name"] for parameter in operation.definition.get("parameters", [])):
            value = writer.value(seeded.choice(("email", "card", "ssn", "iban"))).replace("/", "")
            place = next(p["in"] for p in operation.definition["parameters"] if p["name"] == name)
            path = operation.path.format_map(
                {**own_world.values(operation), **({name: value} if place == "path" else {})}
            )
            arguments: dict[str, Any] = {"params": {name: value}} if place == "query" else {}
            if place == "header":
                arguments["headers"] = {name: f"{value} and more"}
            response = own_world.caller(operation).request(operation.method.upper(), path, **arguments)
            check(
                not leaked(response.text, [value]),
                Property.PII_ERROR,
                f"{operation.id} repeats personal data of {name} in its answer {response.status_code}",
            )
            refused += response.status_code >= 400
    for path in ("/v1/ann@mail.example", "/v1/orders?ann@mail.example=1"):
        response = own_world.shop.alice.request("GET", path)
        seen = f"the path or query of {response.status_code} is repeated with the personal data in it"
        check("ann@mail.example" not in response.text, Property.PII_ERROR, seen)
    check(refused >= 10, Property.PII_ERROR, f"{refused} requests refused, expected 10 at least: nothing was seen")
    evidence("refusals", refused)


def test_answers_repeat_no_personal_data(shop: Shop, seeded: random.Random, evidence: Evidence) -> None:
    """A document may hold some; the reply, the found passages, the stored steps and the frames do not."""
    writer = Writer(seeded.getrandbits(32))
    values = [writer.value(kind) for kind in TYPES]
    body = "Complaints about warranty are taken by our warranty desk: " + "; ".join(values)
    document = {"document_id": "warranty", "title": "Complaints about warranty", "body": body}
    shop.alice.request("POST", "/v1/documents:batch", json={"documents": [document]}).raise_for_status()
    with listening(f"events.{UUID(shop.tenant_id).hex}.>") as heard:
        episode = shop.alice.say("Who takes complaints about warranty, where is the warranty desk?")
        conversation = shop.rows("conversations", conversation=episode["conversation"])[0]
        frames = heard.until(lambda seen: len(seen) >= conversation["frames"], SECONDS)
    search = shop.alice.request("POST", "/v1/search", json={"text": "complaints about warranty", "limit": 3})
    passages = [hit for hit in search.json()["hits"] if hit["document_id"] == "warranty"]
    check(bool(passages), Property.ANSWER, "search does not give the passage that the text is nearest to")
    check(len(frames) > 0, Property.FRAMES_CONTIGUOUS, "0 frames of an answer that was given")
    for where, text in (
        ("the reply", str(episode["reply"])),
        ("a found passage", search.text),
        ("a stored step", json.dumps(shop.rows("episode_steps"))),
        ("a stored message", json.dumps(shop.rows("messages"))),
        ("a frame", " ".join(frame.data.decode() for frame in frames)),
    ):
        found = leaked(text, values)
        check(not found, Property.PII_ANSWER, f"{where} repeats {len(found)} of {len(values)} values of a document")
    evidence("canaries", len(values))


def test_tools_see_no_personal_data(shop: Shop, seeded: random.Random, evidence: Evidence) -> None:
    """What a customer gives in conversation reaches leads and handoffs as the name of its type."""
    writer = Writer(seeded.getrandbits(32))
    mail, phone = writer.value("email"), writer.value("phone")
    shop.alice.say(f"I need to talk to a human, my address is {mail} or call {phone}")
    shop.alice.say(f"We are interested in an offer for Blue Mug, contact {mail} or {phone}")
    handoffs, leads = shop.rows("handoffs"), shop.rows("leads")
    made = (len(handoffs), len(leads))
    check(made == (1, 1), Property.GOAL_STATE, f"{made} handoffs and leads after asking for one each, expected (1, 1)")
    told = handoffs[0]["reason"]
    check(
        "[email]" in told and "[phone]" in told, Property.PII_MESSAGE, "a handoff does not tell that data was redacted"
    )
    for table in ("handoffs", "leads", "effects", "episode_steps", "messages"):
        found = leaked(json.dumps(shop.rows(table)), [mail, phone])
        check(not found, Property.PII_MESSAGE, f"{len(found)} values of a message are in {table}, expected none")
    evidence("canaries", 2)


class Canaries:
    """Values planted in one tenant, each in one place."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.planted: dict[str, set[tuple[str, str]]] = {}
        """Where each may be: pairs of a table and a column."""

    def plant(self, kind: str, *homes: tuple[str, str]) -> str:
        """A value that was never planted before."""
        value = self._writer.value(kind)
        while value in self.planted:
            value = self._writer.value(kind)
        self.planted[value] = set(homes)
        return value


def test_canary_sweep(shop: Shop, platform: Platform, seeded: random.Random, evidence: Evidence) -> None:
    """Of 1,000 planted values none is found outside its own field: not in rows, streams, frames or logs."""
    canaries = Canaries(Writer(seeded.getrandbits(32)))
    trace = f"{seeded.getrandbits(128) or 1:032x}"
    since = _logs(since=2**62)["last"] if _log_url() else 0
    with listening("tasks.>", f"events.{UUID(shop.tenant_id).hex}.>", "dlq.>") as heard:
        episodes = _plant(shop, canaries, seeded, trace)
        messages = heard.until(lambda seen: sum(b'"ended"' in m.data for m in seen) >= len(episodes), SECONDS)
    values = list(canaries.planted)
    check(len(values) >= 1000, Property.PII_MESSAGE, f"{len(values)} values planted, expected 1000")
    ended = sum(b'"ended"' in message.data for message in messages)
    check(ended >= len(episodes), Property.EPISODE_ENDS, f"{ended} of {len(episodes)} messages came to an end")
    for table, column, text in _columns(platform, shop):
        found = [v for v in leaked(text, values) if (table, column) not in canaries.planted[v]]
        check(not found, Property.PII_MESSAGE, f"{len(found)} planted values are in {table}.{column}, expected none")
    heard_text = " ".join(message.data.decode() + str(message.headers or "") for message in messages)
    found = leaked(heard_text, values)
    check(not found, Property.PII_MESSAGE, f"{len(found)} planted values passed on the streams, expected none")
    frames = _frames(shop, platform, episodes[-1]["conversation"])
    found = leaked(" ".join(frames), values)
    check(not found, Property.PII_ANSWER, f"{len(found)} planted values came as frames, expected none")
    if _log_url():
        lines = _lines_since(since, trace)
        found = leaked(" ".join(lines), values)
        check(not found, Property.PII_MESSAGE, f"{len(found)} planted values are in {len(lines)} lines of logs")
        evidence("log-lines", len(lines))
    evidence("canaries", len(values))


def _plant(shop: Shop, canaries: Canaries, seeded: random.Random, trace: str) -> list[dict[str, Any]]:
    """850 values in messages, 150 elsewhere; gives the episodes."""
    kinds = [*TYPES]
    documents = [
        {
            "document_id": f"note-{number}",
            "title": f"Note {canaries.plant('email', ('documents', 'title'))}",
            "body": "How can I return goods? Ask "
            + ", ".join(canaries.plant(k, ("documents", "body"), ("chunks", "body")) for k in kinds[:4]),
        }
        for number in range(20)
    ]
    shop.alice.request("POST", "/v1/documents:batch", json={"documents": documents}).raise_for_status()
    for _ in range(50):
        key = canaries.plant("email", ("effects", "key"), ("idempotency_keys", "key"))
        headers = {"Idempotency-Key": key}
        shop.alice.request("POST", "/v1/leads", json={"sku": "mug"}, headers=headers).raise_for_status()
    openings = (
        "How can I return goods? ",
        "Where is my order? ",
        "I want to buy 1 Mug, ",
        "I need to talk to a human: ",
    )
    sent = []
    for number in range(34):
        values = [canaries.plant(kinds[n % len(kinds)]) for n in range(25)]
        text = openings[number % len(openings)] + "; ".join(values)
        headers = {"traceparent": f"00-{trace}-{number + 1:016x}-01"}
        sent.append(accepted(shop.alice.request("POST", "/v1/messages", json={"text": text}, headers=headers)))
    return [shop.alice.wait(episode_id) for episode_id in sent]


def _columns(platform: Platform, shop: Shop) -> Iterator[tuple[str, str, str]]:
    """Table, column and all that the tenant has in it."""
    for table in sorted(platform.database.tables):
        rows = shop.rows(table)
        for column in rows[0] if rows else ():
            yield table, column, json.dumps([row[column] for row in rows], ensure_ascii=False)


def _frames(shop: Shop, platform: Platform, conversation: int) -> list[str]:
    """What a client is sent that asks for a conversation from its beginning."""
    (row,) = shop.rows("conversations", conversation=conversation)
    with connect_stream(platform.target.gateway, shop.alice.key, f"conversation={conversation}") as stream:
        return [str(stream.recv(SECONDS)) for _ in range(row["frames"])]


def _log_url() -> str | None:
    return os.environ.get("PROCTOR_ENDPOINT_LOGSINK")


def _logs(**query: str | int) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"{_log_url()}/logs", params=query, timeout=SECONDS).raise_for_status().json()
    return answer


def _lines_since(since: int, trace: str) -> list[str]:
    """Bodies of lines after `since`, up to those of the trace, which the roles hand over in batches."""
    lines: list[str] = []
    seen, deadline, pause = False, time.monotonic() + SECONDS, threading.Event()
    for _ in range(LOG_PAGES):
        page = _logs(since=since)
        lines += [line["body"] for line in page["lines"]]
        seen = seen or any(line["trace_id"] == trace for line in page["lines"])
        if (seen and not page["lines"]) or time.monotonic() > deadline:
            break
        if page["lines"]:
            since = page["lines"][-1]["sequence"]
        else:
            pause.wait(LOG_POLL_SECONDS)  # the sink has no way to say when there is more
    check(seen, Property.TRACE_COMPLETE, f"0 lines of the sweep's trace in {len(lines)} lines of logs")
    return lines
