"""The model server as a witness and a stage."""

from collections.abc import Iterator

import httpx
import pytest
from _helpers.model import ModelServer
from _helpers.target import endpoint


@pytest.fixture(scope="session")
def model() -> Iterator[ModelServer]:
    """The model server's ledger and holds. A server that does not answer is an error of each test."""
    with httpx.Client(base_url=endpoint("model"), timeout=10) as http:
        yield ModelServer(http)
