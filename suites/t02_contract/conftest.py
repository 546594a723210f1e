"""Fixtures of the contract's tests."""

import random
from collections.abc import Iterator

import pytest
from _fixtures.shops import Platform, Shop
from t02_contract.world import World, open_world


@pytest.fixture
def world(platform: Platform, shop: Shop, seeded: random.Random) -> Iterator[World]:
    """A shop with one of everything."""
    with open_world(platform, shop, seeded.getrandbits(31)) as world:
        yield world
