"""What the parts of this suite have besides the usual: tenants of their own making, and the model's witness."""

from collections.abc import Iterator

import httpx
import pytest
from _fixtures.tenants import tenant
from _helpers.model import ModelServer
from _helpers.target import endpoint

__all__ = ["model", "tenant"]


@pytest.fixture(scope="session")
def model() -> Iterator[ModelServer]:
    """The model server's ledger and holds. A server that does not answer is an error of each test."""
    with httpx.Client(base_url=endpoint("model"), timeout=10) as http:
        yield ModelServer(http)
