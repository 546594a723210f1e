"""Fixtures of the contract's tests."""

import random
from collections.abc import Iterator

import pytest
from _fixtures.shops import Platform, Shop
from t02_contract.baseline import OPERATIONS
from t02_contract.world import World, open_world


@pytest.fixture(scope="session")
def world(platform: Platform) -> Iterator[World]:
    """A shop with one of everything, for tests that change nothing of it: they read, or are refused.

    It is made once in a session; a test that must show that nothing changed compares with its own snapshot.
    """
    chance = random.Random(f"{platform.target.seed}/world")
    with (
        platform.open_shop(chance.getrandbits(32)) as shop,
        open_world(platform, shop, chance.getrandbits(31)) as world,
    ):
        world.prepare(*OPERATIONS)
        yield world


@pytest.fixture
def own_world(world: World, platform: Platform, shop: Shop, seeded: random.Random) -> Iterator[World]:
    """A shop of the test's own, for tests that change it; the common one before shows that the platform works."""
    with open_world(platform, shop, seeded.getrandbits(31)) as own:
        yield own
