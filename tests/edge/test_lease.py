"""The Lease, against an API server in memory that refuses a write of an old resourceVersion."""

import asyncio
import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proctor.edge import lease as leases
from proctor.edge.client import ApiError
from proctor.edge.lease import Lease


class Api:
    """One Lease with optimistic concurrency; `down` makes every request fail, `stuck` makes them wait."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] | None = None
        self.down = self.stuck = False
        self.writes = 0
        self.before_write: Any = None

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        if self.stuck:
            await asyncio.sleep(60)
        if self.down:
            raise ConnectionError("refused")

    async def get(self, plural: str, namespace: str, name: str) -> dict[str, Any]:
        await self._reach()
        if self.stored is None:
            raise ApiError(404, "NotFound", "")
        return copy.deepcopy(self.stored)

    async def create(self, plural: str, namespace: str, body: Any) -> dict[str, Any]:
        await self._reach()
        if self.stored is not None:
            raise ApiError(409, "AlreadyExists", "")
        return self._store(body, 1)

    async def replace(self, plural: str, namespace: str, body: Any) -> dict[str, Any]:
        await self._reach()
        if self.before_write is not None:
            self.before_write()
        assert self.stored is not None
        current = self.stored["metadata"]["resourceVersion"]
        if body["metadata"]["resourceVersion"] != current:
            raise ApiError(409, "Conflict", "")
        return self._store(body, current + 1)

    def _store(self, body: Any, version: int) -> dict[str, Any]:
        self.writes += 1
        self.stored = copy.deepcopy({**body, "metadata": {**body["metadata"], "resourceVersion": version}})
        return self.stored

    @property
    def holder(self) -> str:
        assert self.stored is not None
        return str(self.stored["spec"]["holderIdentity"])

    def held_by(self, holder: str, *, ago: float) -> None:
        renewed = (datetime.now(UTC) - timedelta(seconds=ago)).isoformat().replace("+00:00", "Z")
        spec = {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15}
        self._store({"metadata": {"name": leases.NAME}, "spec": spec}, 1)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    for name, value in (("RETRY", 0.001), ("TRY", 0.01), ("RENEW", 0.02), ("DURATION", 0.06)):
        monkeypatch.setattr(leases, name, value)
    return Api()


def lease(api: Api, identity: str = "me") -> Lease:
    return Lease(api, "ns", identity)  # type: ignore[arg-type]


async def acquired(own: Lease) -> bool:
    try:
        async with asyncio.timeout(0.2):
            await own.acquire()
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(
    ("holder", "ago", "free"),
    [("other", 1, False), ("other", 14, False), ("other", 16, True), ("", 1, True), ("me", 1, True)],
)
async def test_a_lease_is_taken_over_only_after_it_has_expired(api: Api, holder: str, ago: float, free: bool) -> None:
    api.held_by(holder, ago=ago)
    assert await acquired(lease(api)) is free
    assert api.holder == ("me" if free else holder)


async def test_a_first_lease_is_made_and_given_back(api: Api) -> None:
    own = lease(api)
    assert await acquired(own)
    assert api.holder == "me"
    await own.release()
    assert api.holder == ""
    assert await acquired(lease(api, "successor"))


async def test_only_one_of_many_gets_it(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "DURATION", 30)
    api.held_by("dead", ago=99)
    assert sum(await asyncio.gather(*(acquired(lease(api, f"pod-{n}")) for n in range(5)))) == 1


async def test_a_conflict_is_a_no(api: Api) -> None:
    api.held_by("dead", ago=99)
    api.before_write = lambda: api.held_by("quicker", ago=0) if api.holder == "dead" else None
    api.stored["metadata"]["resourceVersion"] = 7  # type: ignore[index]
    assert not await acquired(lease(api))
    assert api.holder == "quicker"


async def until(done: Callable[[], bool]) -> None:
    for _ in range(1000):
        if done():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came")


async def hold(own: Lease) -> None:
    async with asyncio.timeout(5):
        await own.hold()


async def test_hold_renews_and_returns_when_another_has_taken_it(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "DURATION", 30)  # a busy machine is no loss of the Lease
    own = lease(api)
    await own.acquire()
    task = asyncio.create_task(hold(own))
    await until(lambda: api.writes >= 4)
    assert not task.done()
    api.held_by("thief", ago=0)
    await task
    assert api.holder == "thief"


@pytest.mark.parametrize("trouble", ["down", "stuck"])
async def test_hold_returns_before_another_could_take_over(api: Api, trouble: str) -> None:
    own = lease(api)
    await own.acquire()
    renewed = own._renewed_at
    setattr(api, trouble, True)
    await hold(own)
    loop = asyncio.get_running_loop()
    assert loop.time() >= renewed + leases.DURATION - leases.RENEW
    assert api.holder == "me"


@pytest.mark.parametrize("trouble", ["down", "stuck"])
async def test_hold_survives_a_short_trouble(api: Api, monkeypatch: pytest.MonkeyPatch, trouble: str) -> None:
    monkeypatch.setattr(leases, "DURATION", 30)
    own = lease(api)
    await own.acquire()
    task = asyncio.create_task(hold(own))
    setattr(api, trouble, True)
    await asyncio.sleep(0.05)
    setattr(api, trouble, False)
    before = api.writes
    await until(lambda: api.writes > before)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_release_leaves_a_lease_of_another_alone(api: Api) -> None:
    api.held_by("other", ago=0)
    await lease(api).release()
    assert api.holder == "other"
