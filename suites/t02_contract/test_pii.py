"""Personal data is found exactly, what is none is left alone, and messages take the same way."""

import random
from collections import Counter
from typing import Any

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Shop
from _helpers.client import accepted
from _helpers.properties import Property, check
from t02_contract.sentences import TYPES, Labelled, Writer

ENTITIES = 500
CLEAN_QUERIES = 4500
RECALL = {"email": 0.99, "card": 0.99, "ssn": 0.99, "ip": 0.99, "iban": 0.95, "phone": 0.95}
F2 = 0.95
FALSE_HITS = 0.005
MESSAGES = 100
BATCH = 500


def inspect(shop: Shop, texts: list[str]) -> list[dict[str, Any]]:
    """What the platform finds in each text."""
    found: list[dict[str, Any]] = []
    for at in range(0, len(texts), BATCH):
        batch = texts[at : at + BATCH]
        response = shop.alice.request("POST", "/v1/pii:inspect", json={"texts": batch})
        seen = f"POST /v1/pii:inspect gave {response.status_code}, expected 200"
        check(response.status_code == 200, Property.PII_FOUND, seen)
        found += response.json()["inspections"]
    check(len(found) == len(texts), Property.PII_FOUND, f"{len(found)} inspections of {len(texts)} texts")
    return found


def spans_of(inspection: dict[str, Any]) -> set[tuple[str, int, int]]:
    return {(span["type"], span["start"], span["end"]) for span in inspection["spans"]}


def score(sentences: list[Labelled], inspections: list[dict[str, Any]]) -> tuple[Counter[str], Counter[str], int]:
    """Spans found and missed by type, exactly, and those that are none."""
    hit, missed, wrong = Counter[str](), Counter[str](), 0
    for sentence, inspection in zip(sentences, inspections, strict=True):
        found = spans_of(inspection)
        for span in sentence.spans:
            (hit if span in found else missed)[span[0]] += 1
        wrong += len(found - set(sentence.spans))
    return hit, missed, wrong


def served(shop: Shop) -> None:
    """The shop answers, so that what follows is about a platform that works."""
    state = shop.alice.say("How can I pay?")["state"]
    check(state == "done", Property.EPISODE_ENDS, f"a message is {state}, expected done")


@pytest.mark.parametrize("kind", TYPES)
def test_recall(shop: Shop, seeded: random.Random, evidence: Evidence, kind: str) -> None:
    """At least 500 of the type, in the forms of several countries, in many words."""
    sentences = list(Writer(seeded.getrandbits(32)).sentences(kind, ENTITIES))
    hit, missed, _ = score(sentences, inspect(shop, [sentence.text for sentence in sentences]))
    recall = hit[kind] / (hit[kind] + missed[kind])
    seen = f"{hit[kind]} of {hit[kind] + missed[kind]} {kind} found exactly, expected {RECALL[kind]:.0%}"
    check(recall >= RECALL[kind], Property.PII_FOUND, seen)
    served(shop)
    evidence("entities", hit[kind] + missed[kind])


def test_f2_of_all_types(shop: Shop, seeded: random.Random, evidence: Evidence) -> None:
    """Micro-averaged, with whatever is found beside the labels as false."""
    writer = Writer(seeded.getrandbits(32))
    sentences = [sentence for kind in TYPES for sentence in writer.sentences(kind, ENTITIES // 5)]
    hits, misses, wrong = score(sentences, inspect(shop, [sentence.text for sentence in sentences]))
    hit, missed = hits.total(), misses.total()
    f2 = 5 * hit / (5 * hit + 4 * missed + wrong)
    check(f2 >= F2, Property.PII_FOUND, f"F2 {f2:.3f} (found {hit}, missed {missed}, false {wrong}), expected {F2}")
    served(shop)
    evidence("entities", hit + missed)


def test_clean_queries_are_left_alone(shop: Shop, seeded: random.Random, evidence: Evidence) -> None:
    """4,500 queries of a shop, with order numbers, prices, dates and sizes."""
    writer = Writer(seeded.getrandbits(32))
    texts = [writer.clean() for _ in range(CLEAN_QUERIES)]
    inspections = inspect(shop, texts)
    hits = [(text, found["spans"]) for text, found in zip(texts, inspections, strict=True) if found["spans"]]
    seen = f"{len(hits)} of {CLEAN_QUERIES} clean queries hit, expected {FALSE_HITS:.1%} at most; first: {hits[:1]}"
    check(len(hits) <= FALSE_HITS * CLEAN_QUERIES, Property.PII_CLEAN, seen)
    touched = [
        t for t, i in zip(texts, inspections, strict=True) if not i["spans"] and (i["redacted"] != t or i["risk"])
    ]
    check(not touched, Property.PII_CLEAN, f"{len(touched)} texts without personal data are redacted or a risk")
    served(shop)
    evidence("clean", len(texts))


def test_risk_and_redaction_follow_from_the_spans(shop: Shop, seeded: random.Random, evidence: Evidence) -> None:
    """The redacted text is the text with each span replaced by its type; more personal data is more risk."""
    writer = Writer(seeded.getrandbits(32))
    sentences = [sentence for kind in TYPES for sentence in writer.sentences(kind, 20)]
    for sentence, found in zip(sentences, inspect(shop, [s.text for s in sentences]), strict=True):
        expected, last = "", 0
        for span in sorted(found["spans"], key=lambda span: span["start"]):
            expected += f"{sentence.text[last : span['start']]}[{span['type']}]"
            last = span["end"]
        expected += sentence.text[last:]
        check(found["redacted"] == expected, Property.PII_FOUND, "the redacted text is not the text without its spans")
        risky = 0 < found["risk"] <= 1 if found["spans"] else found["risk"] == 0
        check(risky, Property.PII_FOUND, f"the risk of {len(found['spans'])} spans is {found['risk']}")
    values = [writer.value(kind) for kind in TYPES]
    risks = [i["risk"] for i in inspect(shop, [" and ".join(values[: n + 1]) for n in range(len(values))])]
    check(risks == sorted(set(risks)), Property.PII_FOUND, f"the risks of more and more personal data are {risks}")
    served(shop)
    evidence("entities", len(sentences))


def test_messages_take_the_same_way(shop: Shop, seeded: random.Random, evidence: Evidence) -> None:
    """What is stored of 100 messages is what the inspection says, letter by letter."""
    writer = Writer(seeded.getrandbits(32))
    texts = [next(writer.sentences(TYPES[n % len(TYPES)], 1)).text for n in range(MESSAGES)]
    expected = [found["redacted"] for found in inspect(shop, texts)]
    changed = sum(text != redacted for text, redacted in zip(texts, expected, strict=True))
    check(
        changed >= 0.95 * MESSAGES, Property.PII_FOUND, f"{changed} of {MESSAGES} messages with personal data redacted"
    )
    sent = [accepted(shop.alice.send(text)) for text in texts]
    for episode_id, redacted in zip(sent, expected, strict=True):
        (row,) = shop.rows("messages", episode_id=episode_id, role="user") or [{"content": None}]
        check(row["content"] == redacted, Property.PII_MESSAGE, "a message is not stored as the inspection redacts it")
    for episode_id in sent:
        shop.alice.wait(episode_id)
    evidence("messages", MESSAGES)
