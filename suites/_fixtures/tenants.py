"""A tenant of a test's own making: with a quota, a rate, scopes or products that the usual shop has not."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from _fixtures.shops import Platform, Tenant

MakeTenant = Callable[..., Tenant]
"""Makes a tenant with the given fields of POST /v1/admin/tenants, as Platform.open_tenant does."""


@pytest.fixture
def tenant(platform: Platform) -> Iterator[MakeTenant]:
    """Make tenants; they are removed after the test. Raises RuntimeError if the platform does not make one."""
    with ExitStack() as stack:
        yield lambda **fields: stack.enter_context(platform.open_tenant(**fields))
