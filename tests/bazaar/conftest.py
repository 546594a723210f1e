"""One platform for all tests of bazaar, and a door to it."""

import sys
from collections.abc import Iterator

import httpx
import pytest

from tests.bazaar.processes import ROOT, Platform, platform
from tests.bazaar.shop import Shop, new_shop

sys.path.insert(0, str(ROOT / "images" / "bazaar"))


@pytest.fixture(scope="session")
def bazaar() -> Iterator[Platform]:
    with platform() as running:
        yield running


@pytest.fixture
def shop(bazaar: Platform) -> Iterator[Shop]:
    with httpx.Client(base_url=bazaar.urls["gateway"], timeout=30) as http:
        yield new_shop(http, bazaar.admin_key)
