"""How much a caller gets: rates, quotas, sizes; and what a caller is told who wanted more."""

import json
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Shop
from _fixtures.tenants import MakeTenant
from _helpers.client import User
from _helpers.properties import Property, check

MAX_BODY_BYTES = 2**20
MAX_TEXT = 4000
AT_ONCE = 16


def _many(users: list[User], count: int) -> list[httpx.Response]:
    """`count` requests, as many at once as there are threads, by the users in turn."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda n: users[n % len(users)].request("GET", "/v1/orders"), range(count)))


def _said(response: httpx.Response) -> tuple[int, str]:
    """Status and code of an answer."""
    return response.status_code, response.json().get("code", "") if response.content else ""


def test_rate_is_kept(tenant: MakeTenant, seeded: random.Random, evidence: Evidence) -> None:
    """A burst gets the bucket and what flows in meanwhile, no more; the rest is told to come again in a second."""
    rate, count = seeded.randint(4, 8), 60
    users = [{"name": "alice", "scopes": ["orders:read"], "per_second": rate}]
    alice = tenant(users=users).users["alice"]
    started = time.monotonic()
    answers = _many([alice], count)
    most = rate * (1 + time.monotonic() - started)
    said = Counter(map(_said, answers))
    served = said.pop((200, ""), 0)
    check(rate <= served <= most, Property.RATE_LIMIT, f"{served} of {count} served, expected {rate} to {most:.0f}")
    check(set(said) == {(429, "rate-limited")}, Property.RATE_LIMIT, f"the others were told {dict(said)}")
    waits = {answer.headers.get("Retry-After") for answer in answers if answer.status_code == 429}
    check(waits == {"1"}, Property.RATE_LIMIT, f"Retry-After {waits}, expected 1")
    evidence("requests", count)


def test_rate_of_one_key_is_not_anothers(tenant: MakeTenant, evidence: Evidence) -> None:
    """While one key is over its rate, another key of the tenant is served."""
    users = [{"name": name, "scopes": ["orders:read"], "per_second": 2} for name in ("alice", "bob")]
    made = tenant(users=users)
    refused = sum(answer.status_code == 429 for answer in _many([made.users["alice"]], 30))
    check(refused > 0, Property.RATE_LIMIT, "30 requests at once of a key with 2 per second were all served")
    other = made.users["bob"].request("GET", "/v1/orders").status_code
    check(other == 200, Property.RATE_LIMIT, f"another key was answered {other} meanwhile, expected 200")
    evidence("requests", 31)


def test_quota_admits_exactly_its_number(tenant: MakeTenant, seeded: random.Random, evidence: Evidence) -> None:
    """A tenant's quota holds for its users together, however many requests come at once."""
    limit, count = seeded.randint(40, 60), 160
    users = [{"name": name, "scopes": ["orders:read"]} for name in ("alice", "bob")]
    made = tenant(quota={"limit": limit, "window": 3600}, users=users)
    answers = _many(list(made.users.values()), count)
    said = Counter(map(_said, answers))
    served = said.pop((200, ""), 0)
    check(served == limit, Property.QUOTA_EXACT, f"{served} of {count} served, expected the quota of {limit}")
    check(set(said) == {(429, "quota-exceeded")}, Property.QUOTA_EXACT, f"the others were told {dict(said)}")
    waits = [int(answer.headers.get("Retry-After", 0)) for answer in answers if answer.status_code == 429]
    right = all(1 <= wait <= 3600 for wait in waits)
    check(right, Property.QUOTA_EXACT, f"Retry-After up to {max(waits)}, expected the rest of the window of 3600 s")
    evidence("requests", count)


def test_quota_comes_back_with_its_window(tenant: MakeTenant, evidence: Evidence) -> None:
    """After the window that Retry-After names, the tenant is served again."""
    users = [{"name": "alice", "scopes": ["orders:read"]}]
    alice = tenant(quota={"limit": 2, "window": 1}, users=users).users["alice"]
    refused = next((a for a in (alice.request("GET", "/v1/orders") for _ in range(50)) if a.status_code == 429), None)
    check(refused is not None, Property.QUOTA_EXACT, "50 requests were served by a quota of 2 in a second")
    deadline = time.monotonic() + 2 * int(refused.headers["Retry-After"]) + 1
    tries = 0
    while (served := alice.request("GET", "/v1/orders").status_code) != 200 and time.monotonic() < deadline:
        tries += 1
    check(served == 200, Property.QUOTA_EXACT, f"still {served} after twice the window, expected 200")
    evidence("requests", tries)


@pytest.mark.parametrize("over", [0, 1], ids=["at the bound", "one more"])
def test_size_of_a_body(shop: Shop, evidence: Evidence, over: int) -> None:
    """A body of exactly the bound is read; of one byte more it is refused unread."""
    body = json.dumps({"text": "How can I pay?"}).encode()
    body += b" " * (MAX_BODY_BYTES + over - len(body))
    answer = shop.alice.request("POST", "/v1/messages", content=body, headers={"Content-Type": "application/json"})
    expected = (413, "payload-too-large") if over else (202, "")
    check(_said(answer) == expected, Property.PROBLEM, f"{len(body)} bytes gave {_said(answer)}, expected {expected}")
    stored = len(shop.rows("messages", role="user"))
    check(stored == 1 - over, Property.PROBLEM, f"{stored} messages stored, expected {1 - over}")
    evidence("requests")


@pytest.mark.parametrize("over", [0, 1], ids=["at the bound", "one more"])
def test_length_of_a_text(shop: Shop, evidence: Evidence, over: int) -> None:
    """The longest text is taken; one character more is refused, and nothing is stored of it."""
    answer = shop.alice.send("ü" * (MAX_TEXT + over))
    expected = (422, "invalid-request") if over else (202, "")
    check(
        _said(answer) == expected,
        Property.PROBLEM,
        f"{MAX_TEXT + over} characters gave {_said(answer)}, not {expected}",
    )
    lengths = [len(row["content"]) for row in shop.rows("messages", role="user")]
    check(lengths == ([] if over else [MAX_TEXT]), Property.PROBLEM, f"texts of the lengths {lengths} were stored")
    evidence("requests")
