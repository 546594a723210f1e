"""How much a test has seen. A suite that saw less than its step's `evidence` asks for is Inconclusive, not Passed."""

from typing import Protocol

import pytest


class Evidence(Protocol):
    """Count what was seen: `evidence("requests", 20)`. Counts of one name are added up over the whole step."""

    def __call__(self, name: str, count: int = 1) -> None: ...


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Evidence:
    """Counts go into the test's report as user properties, so that plain pytest and JUnit XML show them too."""

    def count(name: str, count: int = 1) -> None:
        request.node.user_properties.append((f"evidence:{name}", count))

    return count
