"""What T1 needs besides: both model servers as witnesses, and the proxy's wire."""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from uuid import uuid4

import httpx
import pytest
from _fixtures.shops import Platform
from _fixtures.tenants import MakeTenant, tenant
from _helpers.cassettes import CassetteProxy
from _helpers.model import ModelServer, new_trace
from _helpers.target import Target, endpoint
from t01_scaffolding import tenants
from t01_scaffolding.tenants import MoveIn
from t01_scaffolding.wire import INTERACTIONS, REPLAYS, NewName, Recording, Replays, Wire, Witnesses, some_chat

__all__ = ["tenant"]


@pytest.fixture(scope="session")
def witnesses() -> Iterator[Witnesses]:
    """The ledgers of both model servers. A trace says which calls are a test's own."""
    with ExitStack() as stack:
        servers = (
            ModelServer(stack.enter_context(httpx.Client(base_url=endpoint(name), timeout=30)))
            for name in ("model", "model-second")
        )
        yield Witnesses(*servers)


@pytest.fixture(scope="session")
def wire() -> Wire:
    return Wire(endpoint("cassette"))


@pytest.fixture(scope="session")
def new_cassette(cassette_proxy: CassetteProxy) -> Iterator[NewName]:
    """Give names of cassettes; these are removed in the end. Not by chance of the seed: runs share the proxy."""
    names: list[str] = []

    def name() -> str:
        names.append(f"t01-{uuid4().hex[:16]}")
        return names[-1]

    yield name
    for made in names:
        cassette_proxy.remove(made)


@pytest.fixture(scope="session")
def recording(target: Target, cassette_proxy: CassetteProxy, wire: Wire, new_cassette: NewName) -> Recording:
    """A cassette of 200 chats, every other one streamed."""
    chance, name = random.Random(f"{target.seed}/recording"), new_cassette()
    trace_id, headers = new_trace(name, chance)
    chats = [some_chat(chance, stream=number % 2 == 0) for number in range(INTERACTIONS)]
    with cassette_proxy.record(name):
        answers = [wire.ask(chat, headers=headers) for chat in chats]
    return Recording(name, trace_id, chats, answers)


@pytest.fixture(scope="session")
def replays(target: Target, recording: Recording, wire: Wire) -> Replays:
    """Three replays of the whole recording."""
    trace_id, headers = new_trace(recording.cassette, random.Random(f"{target.seed}/replays"))
    answers = [[wire.ask(chat, headers=headers) for chat in recording.chats] for _ in range(REPLAYS)]
    return Replays(recording, trace_id, answers)


@pytest.fixture
def move_in(platform: Platform, tenant: MakeTenant, seeded: random.Random) -> MoveIn:
    """Make tenants of worlds; they are removed after the test."""
    return partial(tenants.move_in, platform, tenant, seeded)
