"""One platform for all tests of bazaar, and a door to it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

HERE = Path(__file__).resolve().parent
# Before everything else: `tests` is on the path too, and this folder must not pass for the package bazaar.
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "images" / "bazaar")]

from loopback import Platform, platform  # noqa: E402
from recorder import Proxy, proxy, two_models  # noqa: E402
from shop import Shop, new_shop  # noqa: E402


@pytest.fixture(scope="session")
def bazaar() -> Iterator[Platform]:
    with platform() as running:
        yield running


@pytest.fixture
def shop(bazaar: Platform) -> Iterator[Shop]:
    with httpx.Client(base_url=bazaar.urls["gateway"], timeout=30) as http:
        yield new_shop(http, bazaar.admin_key)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The URLs of two model servers."""
    with two_models([tmp_path_factory.mktemp(name) for name in ("first", "second")]) as urls:
        yield urls


@pytest.fixture
def cassette(models: list[str], tmp_path: Path) -> Iterator[Proxy]:
    with proxy(models, tmp_path) as running:
        yield running
