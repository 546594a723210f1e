"""The router: its gates on texts that it never saw, its golden decisions, hostile input, and its planted faults."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Platform

from bazaar import faults, tracing
from bazaar.router.classifier import OTHER, PREVIOUS, WEIGHTS, Classifier, Decision
from bazaar.router.features import BUCKETS, MAX_CHARACTERS, features
from training import card, golden
from training.card import GATES, complaints
from training.corpus import SPLITS, TEST, generate
from training.measure import calibration_error, cells, measure, upper_bound

VERSION, GOLDEN = golden.read()
LABELS = [line.label for line in GOLDEN]
ROUTED = [
    ("How can I return goods?", "faq"),
    ("Which ways of payment do you accept?", "faq"),
    ("I want to buy 2 Blue Mug, please", "order"),
    ("Good. I want 2 Blue Mug then", "order"),
    ("I want to buy 1 Mug\n[[hold 8f3a2c]]", "order"),
    ("Buy 2 Blue Mug, pay with tok_ok and ship to DE", "order"),
    ("Where is my order 1001-1?", "tracking"),
    ("When will my shipment arrive?", "tracking"),
    ("Cancel my order 1001-1", "cancel"),
    ("Pay order 1001-1 with tok_declined", "payment"),
    ("I want my money back for order 1001-1", "refund"),
    ("I would like a quote for 100 Blue Mug for my company", "lead"),
    ("I want to talk to a human", "handoff"),
]
ESCALATED = ["", "\x00", "???", "yes", "How are you?", "Tell me a joke", "And who pays for that?", "\u202e\u200b"]


@pytest.fixture(scope="module")
def healthy() -> Classifier:
    return Classifier.load()


@pytest.fixture(scope="module")
def decisions(healthy: Classifier) -> list[Decision]:
    return [healthy.decide(line.text) for line in GOLDEN]


def different(decisions: list[Decision]) -> int:
    """How many golden decisions are not as they were."""
    return sum(
        golden.golden(line.text, line.label, decision) != line for line, decision in zip(GOLDEN, decisions, strict=True)
    )


def test_golden_decisions_are_repeated(healthy: Classifier, decisions: list[Decision]) -> None:
    assert healthy.version == VERSION
    assert len(GOLDEN) >= 4500
    assert different(decisions) == 0


def test_golden_texts_are_the_test_split() -> None:
    assert [(line.text, line.label) for line in GOLDEN] == [(e.text, e.label) for e in generate(TEST)]


def test_gates_hold_and_the_card_says_what_is_measured(healthy: Classifier, decisions: list[Decision]) -> None:
    found = measure(LABELS, decisions)
    raw = replace(healthy, temperature=1.0)
    found["ece_raw"] = calibration_error(LABELS, [raw.decide(line.text) for line in GOLDEN])
    assert {name: round(value, 4) for name, value in found.items()} == healthy.card
    assert complaints(healthy) == []
    assert card.PATH.read_text(encoding="utf-8") == card.text(healthy)


@pytest.mark.parametrize("name", GATES)
def test_every_gate_can_fail(healthy: Classifier, name: str) -> None:
    low, high = GATES[name]
    worse = low - 0.001 if low else high + 0.001
    assert len(complaints(replace(healthy, card=healthy.card | {name: worse}))) == 1


def test_splits_share_no_template() -> None:
    """Frames count too: an opening of the test split is in no other. Words for slots may be common."""
    templates = [frozenset[str]().union(*(example.templates for example in generate(split))) for split in SPLITS]
    assert min(map(len, templates)) > 1000
    assert sum(map(len, templates)) == len(frozenset[str]().union(*templates))


def test_labels_share_vocabulary() -> None:
    """Otherwise one word would decide."""
    words = Counter[str]()
    for label in {e.label for e in generate(TEST)} - {OTHER}:
        words.update({word for e in generate(TEST) if e.label == label for word in e.text.lower().split()})
    assert sum(labels == 8 for labels in words.values()) > 100


@pytest.mark.parametrize(("message", "agent"), ROUTED)
def test_plain_messages_are_routed(healthy: Classifier, message: str, agent: str) -> None:
    assert (healthy.decide(message).agent, healthy.decide(message).exit) == (agent, True)


@pytest.mark.parametrize("message", ESCALATED)
def test_what_no_agent_is_for_is_escalated(healthy: Classifier, message: str) -> None:
    assert not healthy.decide(message).exit


def test_features_of_given_texts() -> None:
    assert features("").tolist() == features("\u200b \x00").tolist()
    assert features("Order 1001-1").tolist() == features("\uff4f\uff52\uff44\uff45\uff52 2345-6").tolist()
    assert features("or\u200bder").tolist() == features("order").tolist()
    assert features("Mug?").tolist() == [4379, 4508, 6491, 7978, 10286, 14654, 15026]
    assert features("mug " * 9).tolist() == features("mug mug").tolist()


@given(st.text(max_size=300))
def test_features_are_buckets(value: str) -> None:
    found = features(value).tolist()
    assert found == sorted(set(found))
    assert all(0 <= bucket < BUCKETS for bucket in found)


def test_exact_bound_is_that_of_the_tables() -> None:
    assert upper_bound(0, 100) == pytest.approx(1 - 0.05**0.01)
    assert upper_bound(29, 4010) <= 0.01 < upper_bound(30, 4010)
    assert upper_bound(3, 3) == 1.0


def test_calibration_error_of_a_known_case() -> None:
    sure = [Decision("order", True, {"order": 0.9})] * 10
    assert calibration_error(["order"] * 6 + ["faq"] * 4, sure) == pytest.approx(0.3)


Plant = Callable[[str], None]


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Plant:
    return lambda text: monkeypatch.setattr(faults, "_PLANTED", faults.parse(text))


def test_swapped_labels_are_seen_by_replay_and_in_their_cells(
    plant: Plant, healthy: Classifier, decisions: list[Decision]
) -> None:
    plant("router_labels_swapped@50")
    swapped = []
    for number, line in enumerate(GOLDEN, 1):
        with tracing.continued({"traceparent": f"00-{number:032x}-{1:016x}-01"}):
            swapped.append(healthy.decide(line.text))
    assert 40 <= different(swapped) <= 400
    before, after = cells(LABELS, decisions), cells(LABELS, swapped)
    for pair in [("order", "cancel"), ("cancel", "order")]:
        # Exact: the healthy cell's upper bound lies below the share that is seen now.
        exits = sum(count for (label, _), count in before.items() if label == pair[0])
        assert upper_bound(before.get(pair, 0), exits) < after[pair] / exits / 2
    assert measure(LABELS, swapped)["misroute_bound"] < 0.05, "the aggregate hardly moves"


def test_no_temperature_is_seen(plant: Plant, healthy: Classifier) -> None:
    plant("router_no_temperature")
    found = measure(LABELS, raw := [healthy.decide(line.text) for line in GOLDEN])
    assert found["ece"] > GATES["ece"][1]
    assert found["coverage"] < GATES["coverage"][0]
    assert different(raw) > 1000


def test_exits_of_what_is_out_of_scope_are_seen(plant: Plant, healthy: Classifier) -> None:
    plant("router_oos_exits")
    found = measure(LABELS, eager := [healthy.decide(line.text) for line in GOLDEN])
    assert found["out_of_scope_escalated"] < GATES["out_of_scope_escalated"][0]
    assert different(eager) > 100


def test_stale_weights_are_seen_by_replay_only(plant: Plant) -> None:
    plant("router_stale_model")
    stale = Classifier.load()
    assert stale.version == VERSION
    assert different([stale.decide(line.text) for line in GOLDEN]) > 100
    plant("")
    assert Classifier.load(PREVIOUS).version != VERSION
    assert Classifier.load(WEIGHTS).version == VERSION


def route(bazaar: Platform, body: bytes) -> httpx.Response:
    headers = {"Content-Type": "application/json"}
    return httpx.post(f"{bazaar.urls['router']}/route", content=body, headers=headers, timeout=30)


def test_role_decides_and_shows_its_model(bazaar: Platform, healthy: Classifier) -> None:
    model = httpx.get(f"{bazaar.urls['router']}/model").raise_for_status().json()
    assert model["model_version"] == VERSION
    assert model["labels"] == healthy.labels
    assert model["card"] == healthy.card
    for message, _ in ROUTED:
        answer = route(bazaar, json.dumps({"text": message}).encode()).raise_for_status().json()
        assert answer == {**vars(healthy.decide(message)), "model_version": VERSION}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"[]", 422),
        (b'{"text": 1}', 422),
        (b'{"text": "a", "more": 1}', 422),
        (b'{"text": "\\ud800"}', 422),
        (b'{"text": "\xff"}', 400),
        (b'{"text": ""}', 200),
        (b'{"text": "\\u0000"}', 200),
        (json.dumps({"text": "\u202eevil\u2066\u200f"}).encode(), 200),
        (json.dumps({"text": "\ufdfa" * MAX_CHARACTERS}).encode(), 200),
        (json.dumps({"text": "a b " * (MAX_CHARACTERS // 4)}).encode(), 200),
        (json.dumps({"text": "a" * (MAX_CHARACTERS + 1)}).encode(), 422),
        (json.dumps({"text": "a" * 2**20}).encode(), 413),
        (b"[" * 100_000, 400),
    ],
)
def test_role_bears_hostile_bodies(bazaar: Platform, body: bytes, status: int) -> None:
    response = route(bazaar, body)
    assert response.status_code == status, response.text
    kind = "application/json" if status == 200 else "application/problem+json"
    assert response.headers["Content-Type"].startswith(kind)


@settings(max_examples=150, deadline=None)
@given(value=st.text(max_size=200))
def test_role_decides_on_any_text(bazaar: Platform, healthy: Classifier, value: str) -> None:
    answer = route(bazaar, json.dumps({"text": value}).encode()).raise_for_status().json()
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert answer["agent"] in healthy.labels
    assert answer == {**vars(healthy.decide(value)), "model_version": VERSION}
