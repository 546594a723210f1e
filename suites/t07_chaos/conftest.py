"""What the tests of this suite have besides the usual: a shop with much in stock, the model's stage, the rate."""

import os
import random
from collections.abc import Callable, Iterator
from itertools import islice

import httpx
import pytest
from _fixtures.models import model
from _fixtures.shops import SCOPES, Platform, Tenant
from _helpers.properties import Property, check
from _helpers.target import endpoint
from t07_chaos.judge import PRODUCTS
from t07_chaos.load import Load, Task, orders

__all__ = ["model"]

FIRST = 24
"""Messages that are sent at once to see how many the platform carries."""
SHARE, SLOWEST, FASTEST = 0.4, 2.0, 10.0
"""The rate is a share of what was carried; a platform that is disturbed needs the rest to catch up."""
PATIENCE_SECONDS = 30.0
"""Four deliveries with waits of 2, 2 and 4 seconds, and the way to the dead letters."""
StartLoad = Callable[..., Load]


@pytest.fixture(scope="session")
def dead_letters() -> Iterator[httpx.Client]:
    """The door of the dead letters."""
    key = os.environ.get("PROCTOR_TARGET_REQUEUE_KEY")
    if not key:
        raise RuntimeError("PROCTOR_TARGET_REQUEUE_KEY is not set (see suites/README.md)")
    with httpx.Client(base_url=endpoint("dlq"), headers={"X-Internal-Key": key}, timeout=20) as http:
        yield http


@pytest.fixture
def store(platform: Platform, seeded: random.Random) -> Iterator[Tenant]:
    """A tenant whose alice may do everything, with more in stock than any test buys."""
    users = [{"name": "alice", "scopes": SCOPES}]
    with platform.open_tenant(seed=seeded.getrandbits(32), products=PRODUCTS, users=users) as made:
        yield made


@pytest.fixture
def patience() -> float:
    """How many seconds a message may take to its end."""
    return PATIENCE_SECONDS


@pytest.fixture
def load(platform: Platform, store: Tenant, patience: float) -> StartLoad:
    """Make a load of the store's alice: `with load(tasks, rate) as running`."""

    def make(tasks: Iterator[Task], rate: float) -> Load:
        return Load(platform.target.gateway, store.users["alice"].key, tasks, rate, patience)

    return make


@pytest.fixture(scope="session")
def pace(platform: Platform) -> float:
    """Messages a second that this platform carries with room to spare, from what it does in the first seconds."""
    chance = random.Random(f"{platform.target.seed}/pace")
    with platform.open_tenant(seed=1, products=PRODUCTS) as made:
        some, key = islice(orders(made.tenant_id, chance), FIRST), made.users["alice"].key
        with Load(platform.target.gateway, key, some, 1000, PATIENCE_SECONDS) as first:
            first.finish()
        done = sum(seen.state == "done" for seen in first.seen.values())
        check(done == FIRST, Property.EPISODE_ENDS, f"{done} of the first {FIRST} messages came to an end")
        return min(max(SHARE * FIRST / (max(first.ends()) - first.started_at), SLOWEST), FASTEST)
