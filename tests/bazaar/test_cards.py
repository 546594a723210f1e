"""The cards of the planted faults agree with the code, and a fault that is not planted does nothing."""

import re
from functools import partial
from pathlib import Path

import pytest

import cards
from bazaar import faults, tracing

ROOT = Path(__file__).resolve().parents[2]
CARDS = cards.load()
SOURCES = sorted([*(ROOT / "images/bazaar/bazaar").rglob("*.py"), *(ROOT / "images/cassette/cassette").glob("*.py")])


def asked() -> dict[str, list[Path]]:
    """Each name that code asks `fault(...)` for, and the files that do."""
    found: dict[str, list[Path]] = {}
    for path in SOURCES:
        for name in re.findall(r"""\bfault\(\s*"([a-z0-9_]+)\"""", path.read_text(encoding="utf-8")):
            found.setdefault(name, []).append(path)
    return found


def test_every_site_has_a_card_and_every_card_its_site() -> None:
    sites = asked()
    application = {card.id: card for card in CARDS if card.layer == "application"}
    assert sorted(sites) == sorted(application)
    for name, card in application.items():
        path, _, part = card.site.partition(", ")
        assert ROOT / path in sites[name], f"{name}: the card says {path}, the code {sites[name]}"
        assert re.search(rf"\b{re.escape(part)}\b", (ROOT / path).read_text(encoding="utf-8"))
        assert card.plant["faults"].split("=")[0].split("@")[0] == name


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
def test_card_is_complete(card: cards.Card) -> None:
    known = set(re.findall(r'= "([a-z-]+)"', (ROOT / "suites/_helpers/properties.py").read_text(encoding="utf-8")))
    assert set(card.properties) <= known
    assert (ROOT / card.site.partition(", ")[0]).exists()


@pytest.mark.parametrize("name", sorted(asked()))
def test_fault_that_is_not_planted_does_nothing(name: str) -> None:
    met = partial(faults.REGISTRY.get_sample_value, "fault_activations_total", {"fault": name})
    before = met()
    assert faults.fault(name) is None
    assert met() == before


def test_a_share_is_of_traces_and_the_same_in_every_role(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "_PLANTED", faults.parse("x=7@100"))
    hits = 0
    for number in range(1, 2001):
        carrier = {"traceparent": f"00-{number:032x}-{1:016x}-01"}
        with tracing.continued(carrier):
            first, second = faults.fault("x"), faults.fault("x")
        assert first == second
        hits += first == "7"
    assert 150 <= hits <= 250
