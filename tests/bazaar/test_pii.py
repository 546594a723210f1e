"""Personal data is found, what only looks like it is not, and nothing of it is kept."""

import json
import logging
import random
import time
from collections import Counter
from collections.abc import Callable

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import Platform
from shop import Shop

from bazaar import logs
from bazaar.safety import pii

R = random.Random(7)


def digits(form: str) -> str:
    """A form with random digits for #, not beginning with a zero group."""
    return "".join(str(R.randrange(1, 10)) if c == "#" else c for c in form)


def luhn(prefix: str, length: int) -> str:
    body = prefix + "".join(str(R.randrange(10)) for _ in range(length - len(prefix) - 1))
    doubled = (int(d) * (1 + at % 2) for at, d in enumerate(reversed(body + "0")))
    return body + str(-sum(n // 10 + n % 10 for n in doubled) % 10)


def grouped(text: str, separator: str) -> str:
    return separator.join(text[at : at + 4] for at in range(0, len(text), 4))


def card() -> str:
    prefix, length = R.choice([("4", 16), ("51", 16), ("2221", 16), ("34", 15), ("6011", 16), ("36", 14), ("5018", 12)])
    return grouped(luhn(prefix, length), R.choice(["", "", " ", "-"]))


def iban() -> str:
    forms = {"DE": "#" * 18, "GB": "NWBK" + "#" * 14, "FR": "#" * 23, "NL": "ABNA" + "#" * 10, "ES": "#" * 20}
    country, form = R.choice(sorted(forms.items()))
    account = digits(form)
    value = int("".join(str(int(c, 36)) for c in f"{account}{country}00"))
    return grouped(f"{country}{98 - value % 97:02}{account}", R.choice(["", " "]))


def email() -> str:
    name = R.choice(["ann.lee", "o'neil", "jörg", "x+tag", "a_b-c"])
    return f"{name}@{R.choice(['mail.example', 'sub.shop.co.uk', 'bücher.example'])}"


def ip() -> str:
    if R.random() < 0.5:
        return ".".join(str(R.randrange(256)) for _ in range(4))
    return R.choice(["2001:db8::", "fe80::1:", "2001:db8:0:1:2:3:4:"]) + f"{R.randrange(1, 65536):x}"


PHONES = ["+1-###-###-####", "(###) ###-####", "###-###-####x###", "##########", "###.###.####", "+44 7700 ######"]
PHONES += ["07700 ### ###", "(07700)######", "+49 (0)30 #######", "030/########", "+33 # ## ## ## ##", "06 ## ## ## ##"]
PHONES += [
    "6## ### ###",
    "+34 6## ## ## ##",
    "+41 (0)44 ### ## ##",
    "+46 (0)8 ### ### ##",
    "+91##########",
    "0##########",
]
ENTITIES: dict[pii.Type, Callable[[], str]] = {
    "email": email,
    "card": card,
    "ssn": lambda: digits("#1#-##-####"),
    "iban": iban,
    "ip": ip,
    "phone": lambda: digits(R.choice(PHONES)),
}
SENTENCES = [
    "My {} is wrong",
    "Please use {}.",
    "is it {}?",
    "{}",
    "order 1001-1, {}, 2 Mug",
    "line one\\n{}\\nthe end",
]
RECALL = {"email": 0.99, "card": 0.99, "ssn": 0.99, "ip": 0.99, "iban": 0.95, "phone": 0.95}


def test_recall_and_precision_of_each_type() -> None:
    hit, missed, wrong = Counter[str](), Counter[str](), Counter[str]()
    examples = []
    for kind, make in ENTITIES.items():
        for _ in range(600):
            value = make()
            text = R.choice(SENTENCES).format(value)
            start = text.index(value)
            spans = pii.inspect(text).spans
            right = [s for s in spans if (s.type, s.start, s.end) == (kind, start, start + len(value))]
            hit[kind] += bool(right)
            missed[kind] += not right
            wrong[kind] += len(spans) - len(right)
            if not right:
                examples.append((kind, text, spans))
    for name, least in RECALL.items():
        assert hit[name] / 600 >= least, examples[:10]
    found, lost, false = hit.total(), missed.total(), wrong.total()
    assert 5 * found / (5 * found + 4 * lost + false) >= 0.95


CLEAN = [
    "Where is my order {order}?",
    "Track TR{order} please",
    "Cancel {order} and refund {price}",
    "I want to buy {n} Blue Mug for {price} each, pay with tok_{token}",
    "{n} of sku mug-{n}, {n} x {n} cm, {price} EUR",
    "Ordered on 2026-{month:02}-{day:02} at {day:02}:{n:02}:{n:02}, nothing came in {n} days",
    "Delivered {day}.{month}.2026 or {month}/{day}/2026?",
    "call me about {order}",
    "Total was {thousands}, but the page said {price}",
    "Episode 550e8400-e29b-41d4-a716-4466554400{month:02} never ended, version 2.{n}.{day}",
    "Ship {n} to DE 10115 and {n} to ZIP 9021{month}",
]


def test_clean_shop_queries_are_left_alone() -> None:
    hits = []
    for _ in range(4500):
        text = R.choice(CLEAN).format(
            order=f"{1000 + R.randrange(3000)}-{R.randrange(1, 30)}",
            price=f"{R.randrange(1, 3000)}.{R.randrange(100):02}",
            thousands=f"{R.randrange(1, 99)},{R.randrange(1000):03}.{R.randrange(100):02}",
            n=R.randrange(1, 60),
            month=R.randrange(1, 13),
            day=R.randrange(1, 29),
            token=R.choice(["ok", "declined", "4242424242424242"]),
        )
        found = pii.inspect(text)
        hits += [(text, s) for s in found.spans]
        assert found.risk == 0 or found.spans
    assert len(hits) <= 0.005 * 4500, hits[:10]


def test_risk_grows_with_what_is_found() -> None:
    texts = ["2 Mug", "from 10.1.2.3", "a@b.example", "4111 1111 1111 1111", "4111111111111111 and a@b.example"]
    risks = [pii.inspect(text).risk for text in texts]
    assert risks[0] == 0
    assert risks == sorted(set(risks))
    assert risks[-1] < 1


@given(st.text(st.sampled_from("0123456789 -.+()/@:xabDE89\\n[]"), max_size=60))
def test_spans_fit_the_text_and_redaction_is_whole(text: str) -> None:
    found = pii.inspect(text)
    ends = [0, *(s.end for s in found.spans)]
    assert all(end <= span.start < span.end <= len(text) for end, span in zip(ends, found.spans, strict=False))
    kept = list(text)
    for span in reversed(found.spans):
        kept[span.start : span.end] = f"[{span.type}]"
    assert found.redacted == "".join(kept)


def test_time_for_a_message() -> None:
    text = (
        "Hello, I bought 2 Blue Mug (order 1001-1) on 2026-11-02, write to ann@mail.example or call 555-123-4567. " * 2
    )
    best = min(_seconds(lambda: pii.inspect(text)) for _ in range(50))
    assert best < 0.001
    worst_inputs = ["1 " * 2000, "a@" * 2000, "1-" * 2000, ":" * 4000, "1.1." * 1000, "0" * 4000, "(1) " * 1000]
    for worst in worst_inputs:
        assert _seconds(lambda text=worst: pii.inspect(text)) < 0.5, worst[:4]  # type: ignore[misc]


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def test_logs_are_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "for %s", ("a@b.example",), None)
    try:
        raise ValueError("card 4111111111111111")
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    entry = json.loads(logs.Json().format(record))
    assert entry["message"] == "for [email]"
    assert "ValueError: card [card]" in entry["exception"]
    assert "4111" not in json.dumps(entry)


def test_inspection_is_what_messages_go_through(bazaar: Platform, shop: Shop) -> None:
    texts = [R.choice(SENTENCES).format(ENTITIES[kind]()) for kind in ENTITIES for _ in range(4)]
    answer = shop.request("POST", "/v1/pii:inspect", json={"texts": texts}).raise_for_status().json()["inspections"]
    before = _redactions(bazaar)
    for text in texts:
        shop.send(text).raise_for_status()
    with psycopg.connect(bazaar.ops_dsn) as ops:
        stored = ops.execute(
            "SELECT content FROM messages WHERE tenant_id = %s AND role = 'user' ORDER BY conversation",
            (shop.tenant_id,),
        ).fetchall()
    assert [content for (content,) in stored] == [a["redacted"] for a in answer]
    assert all(a["spans"] and a["risk"] > 0 for a in answer)
    assert _redactions(bazaar) - before >= len(texts)


def _redactions(bazaar: Platform) -> float:
    lines = httpx.get(bazaar.urls["gateway"] + "/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("pii_redactions_total{"))


def test_refusals_and_answers_are_redacted(shop: Shop) -> None:
    refused = shop.request("POST", "/v1/messages", json={"text": "hello", "ann@mail.example": "4111111111111111"})
    assert refused.status_code == 422
    assert not any(secret in refused.text for secret in ("ann@", "4111"))
    document = {"document_id": "returns", "title": "Returns", "body": "To return goods write to help@shop.example."}
    shop.request("POST", "/v1/documents:batch", json={"documents": [document]}).raise_for_status()
    reply = shop.say("How can I return goods?")["reply"]
    assert "[email]" in reply
    assert "help@" not in reply
