"""What a tenant may use is exact under a rush, and nobody else's business."""

import random
import time
from collections import Counter
from typing import Any

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import PRODUCTS, Platform, Tenant
from _fixtures.tenants import MakeTenant
from _helpers.properties import Property, check
from _helpers.replicas import replicas
from t06_multitenant.raw import Crowd, Request, crowd

LIMIT, RUSH, WINDOW = 100, 1000, 3600
USERS: list[dict[str, Any]] = [
    {"name": name, "scopes": ["leads:write", "usage:read", "orders:read"]} for name in ("alice", "bob")
]


@pytest.fixture
def granted(tenant: MakeTenant, platform: Platform) -> MakeTenant:
    """Make tenants as the fixture `tenant` does. Raises RuntimeError if a tenant's quota is not in its row."""

    def make(limit: int, users: list[dict[str, Any]]) -> Tenant:
        made = tenant(quota={"limit": limit, "window": WINDOW}, users=users)
        told = [row["quota_limit"] for row in platform.database.rows("tenants", made.tenant_id)]
        if told != [limit]:
            raise RuntimeError(f"the quota of a new tenant is {told} in its row, expected {[limit]}")
        return made

    return make


def _said(sent: Crowd) -> Counter[int]:
    """How often each status was answered. Skips the test if the platform could not take the requests."""
    said = Counter(answer.status for answer in sent.answers)
    if said[503]:
        pytest.skip(f"inconclusive: {said[503]} of {said.total()} requests met a platform that had no room for them")
    return said


def test_rush_on_a_quota(platform: Platform, granted: MakeTenant, seeded: random.Random, evidence: Evidence) -> None:
    """Of 1,000 requests at once, at all gateways, a quota of 100 an hour admits 100: so many rows are there."""
    made = granted(LIMIT, USERS)
    gateways = replicas("gateway")
    requests = [
        Request(
            gateways[number % len(gateways)],
            seeded.choice(list(made.users.values())).key,
            "POST",
            "/v1/leads",
            {"sku": seeded.choice(PRODUCTS)["sku"]},
            {"Idempotency-Key": f"rush-{number}"},
        )
        for number in range(RUSH)
    ]
    sent = crowd(requests, RUSH)
    leads = len(platform.database.rows("leads", made.tenant_id))
    check(leads <= LIMIT, Property.QUOTA_EXACT, f"{leads} leads stored of {RUSH} at once, expected {LIMIT}")
    said = _said(sent)
    check(leads == LIMIT, Property.QUOTA_EXACT, f"{leads} leads stored of {RUSH} at once, expected {LIMIT}")
    expected = {201: LIMIT, 429: RUSH - LIMIT}
    check(said == expected, Property.QUOTA_EXACT, f"answered {dict(said)}, expected {expected}")
    waits = [int(answer.headers.get("retry-after", 0)) for answer in sent.answers if answer.status == 429]
    right = all(0 < wait <= WINDOW for wait in waits)
    check(right, Property.QUOTA_EXACT, f"Retry-After from {min(waits)} to {max(waits)}, expected 1 to {WINDOW}")
    evidence("rushed", len(sent.answers))
    evidence("in-flight", min(sent.most[gateway] for gateway in gateways))


def test_quota_of_one_tenant_is_not_anothers(granted: MakeTenant, seeded: random.Random, evidence: Evidence) -> None:
    """While one tenant's quota is used up, another's with the same seed and names is whole."""
    limit = seeded.randint(20, 40)
    one, other = (granted(limit, USERS) for _ in range(2))
    gateways = replicas("gateway")
    greedy = [Request(seeded.choice(gateways), one.users["alice"].key, "GET", "/v1/orders") for _ in range(3 * limit)]
    modest = [Request(seeded.choice(gateways), other.users["alice"].key, "GET", "/v1/orders") for _ in range(limit)]
    both = greedy + modest
    seeded.shuffle(both)
    sent = crowd(both, len(both))
    _said(sent)
    for name, user, asked in (("greedy", one.users["alice"], 3 * limit), ("modest", other.users["alice"], limit)):
        served = sum(answer.status == 200 for answer in sent.answers if answer.request.key == user.key)
        seen = f"the {name} tenant was served {served} of {asked}, expected its quota of {limit}"
        check(served == limit, Property.QUOTA_EXACT, seen)
    evidence("rushed", len(both))


def test_usage_tells_what_the_quota_has_counted(granted: MakeTenant, seeded: random.Random) -> None:
    """Every request of the tenant's users is counted once, the question itself too."""
    made = granted(LIMIT, USERS)
    users, count = list(made.users.values()), seeded.randint(10, 30)
    requests = [Request(replicas("gateway")[0], seeded.choice(users).key, "GET", "/v1/orders") for _ in range(count)]
    crowd(requests, count)
    told = users[0].request("GET", "/v1/usage").json().get("requests")
    check(told == count + 1, Property.QUOTA_EXACT, f"{told} requests are told after {count + 1}")


def test_rate_is_one_for_all_gateways_and_takes_no_quota(
    granted: MakeTenant, seeded: random.Random, evidence: Evidence
) -> None:
    """A key's rate holds at all gateways together, and what it refuses does not count for the quota."""
    rate, count = seeded.randint(5, 9), 100
    users = [{**USERS[0], "per_second": rate}, USERS[1]]
    made = granted(LIMIT, users)
    gateways, key = replicas("gateway"), made.users["alice"].key
    started = time.monotonic()
    sent = crowd([Request(gateways[n % len(gateways)], key, "GET", "/v1/orders") for n in range(count)], count)
    most = rate * (1 + time.monotonic() - started)
    if most >= count:
        pytest.skip(f"inconclusive: {count} requests took so long that a rate of {rate} a second admits them all")
    said = _said(sent)
    check(
        rate <= said[200] <= most, Property.RATE_LIMIT, f"{said[200]} of {count} served, expected {rate} to {most:.0f}"
    )
    codes = Counter('"rate-limited"' in answer.text for answer in sent.answers if answer.status == 429)
    check(codes[False] == 0, Property.RATE_LIMIT, f"{codes[False]} were refused for another reason than the rate")
    told = made.users["bob"].request("GET", "/v1/usage").json().get("requests")
    check(told == said[200] + 1, Property.QUOTA_EXACT, f"{told} requests are told, expected {said[200] + 1}")
    evidence("rushed", count)
