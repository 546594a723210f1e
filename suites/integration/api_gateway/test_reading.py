"""Reading: waiting for an end, pages of lists, and what machines ask."""

import time

import httpx
import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform, Shop
from _helpers.client import accepted
from _helpers.model import ModelServer, hold_key
from _helpers.properties import Property, check
from _helpers.readiness import probe

SLACK_SECONDS = 10.0
"""What a machine with other work may be late."""


@pytest.mark.mock_only
def test_waiting_ends_when_it_was_asked_to(shop: Shop, model: ModelServer, evidence: Evidence) -> None:
    """While the episode is held, `wait=1` is answered after a second and not before; without it, at once."""
    key = hold_key(shop.tenant_id)
    path = f"/v1/episodes/{accepted(shop.alice.send(f'[[hold {key}]] I want to buy 1 Mug'))}"
    for wait, least, most in ((None, 0.0, SLACK_SECONDS), (1, 0.95, 1 + SLACK_SECONDS)):
        started = time.monotonic()
        answer = shop.alice.request("GET", path, headers={"Prefer": f"wait={wait}"} if wait else {})
        seconds = time.monotonic() - started
        state = answer.json().get("state")
        check(state in ("queued", "running"), Property.LONG_POLL, f"the held episode is {state}")
        seen = f"wait={wait} was answered after {seconds:.2f} s, expected {least} to {most}"
        check(least <= seconds <= most, Property.LONG_POLL, seen)
    model.release(key)
    started = time.monotonic()
    ended = shop.alice.request("GET", path, headers={"Prefer": "wait=30"}).json()
    seconds = time.monotonic() - started
    check(ended["state"] == "done", Property.LONG_POLL, f"after wait=30 the episode is {ended['state']}, expected done")
    check(seconds < 20, Property.LONG_POLL, f"the end was told after {seconds:.0f} s, long after it came")
    evidence("waits", 3)


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_pages_are_the_list(shop: Shop, evidence: Evidence, limit: int) -> None:
    """Pages of conversations and of messages, put together, are the user's rows in order, each once."""
    first = shop.alice.say("How can I pay?")["conversation"]
    for text in ("When are you open?", "Can I return goods?"):
        shop.alice.say(text, first)
    for _ in range(6):
        accepted(shop.alice.send("How can I pay?"))
    shop.bob.send("How can I pay?")
    rows = shop.rows("conversations", user_id="alice")
    lists = {
        "/v1/conversations": ("conversations", "conversation", sorted(row["conversation"] for row in rows)),
        f"/v1/conversations/{first}/messages": (
            "messages",
            "ordinal",
            sorted(row["ordinal"] for row in shop.rows("messages", conversation=first)),
        ),
    }
    for path, (member, number, expected) in lists.items():
        seen: list[int] = []
        after = 0
        for _ in range(len(expected) + 2):
            page = shop.alice.request("GET", path, params={"after": after, "limit": limit}).json()
            entries = page.get(member, [])
            check(len(entries) <= limit, Property.LIST_PAGES, f"{len(entries)} {member} on a page of {limit}")
            seen += [entry[number] for entry in entries]
            after = page.get("next")
            if after is None:
                break
        check(seen == expected, Property.LIST_PAGES, f"pages of {limit} give the {member} {seen}, expected {expected}")
        evidence("entries", len(seen))


def test_orders_are_listed_in_order(shop: Shop, evidence: Evidence) -> None:
    """The list of orders is the user's rows by number."""
    for _ in range(4):
        shop.alice.say("I want to buy 1 Mug")
    shop.bob.say("I want to buy 1 Mug")
    listed = [order["order_number"] for order in shop.alice.request("GET", "/v1/orders").json().get("orders", [])]
    expected = sorted(row["order_number"] for row in shop.rows("orders", user_id="alice"))
    check(len(expected) == 4, Property.GOAL_STATE, f"{len(expected)} orders after ordering four times, expected 4")
    check(listed == expected, Property.LIST_PAGES, f"orders listed {listed}, expected {expected}")
    evidence("entries", len(listed))


@pytest.mark.parametrize(("path", "words"), [("/healthz", "ok"), ("/readyz", "ready")])
def test_probe_is_answered(platform: Platform, evidence: Evidence, path: str, words: str) -> None:
    """The probes are answered without a key, in a word."""
    answer = platform.http.get(path)
    seen = answer.status_code, answer.text
    check(seen == (200, words), Property.READINESS, f"{path} gave {seen}, expected {(200, words)}")
    evidence("requests")


def test_metrics_are_told(platform: Platform, shop: Shop, evidence: Evidence) -> None:
    """/metrics has the counter of requests by route template, in the text format, without a tenant's name."""
    accepted(shop.alice.send("How can I pay?"))
    answer = platform.http.get("/metrics")
    check(answer.status_code == 200, Property.METRIC_COUNT, f"/metrics gave {answer.status_code}, expected 200")
    for sample in ('http_requests_total{method="', "http_request_duration_seconds_bucket{", "ws_connections "):
        check(sample in answer.text, Property.METRIC_COUNT, f"/metrics lacks {sample}")
    check(shop.tenant_id not in answer.text, Property.METRIC_COUNT, "/metrics names a tenant: series without a bound")
    evidence("requests")


def test_readiness_asks_the_database(platform: Platform, evidence: Evidence) -> None:
    """Answers of /readyz cost the database something, so they say more than that a process lives."""
    with httpx.Client(base_url=platform.target.gateway) as http:
        sent, good, scans = probe(platform.database, http, "/readyz")
    check(good == sent, Property.READINESS, f"{good} of {sent} probes were answered 200, expected all")
    check(2 * scans >= sent, Property.READINESS, f"the database was asked {scans} times in {sent} probes")
    evidence("requests", sent)
