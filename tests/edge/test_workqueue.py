"""The queue: one worker for each key, nothing twice, nothing forgotten. Orders are asserted, never durations."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from proctor.edge import workqueue
from proctor.edge.workqueue import Key, WorkQueue

A, B = Key("TestRun", "ns", "a"), Key("TestRun", "ns", "b")


@pytest.fixture
async def queue() -> AsyncIterator[WorkQueue]:
    queue = WorkQueue()
    timers = asyncio.create_task(queue.run_timers())
    yield queue
    timers.cancel()
    await asyncio.gather(timers, return_exceptions=True)


async def soon(queue: WorkQueue) -> Key:
    async with asyncio.timeout(5):
        return await queue.take()


async def nothing_comes(queue: WorkQueue) -> bool:
    try:
        async with asyncio.timeout(0.05):
            await queue.take()
    except TimeoutError:
        return True
    return False


async def test_a_key_is_in_line_once(queue: WorkQueue) -> None:
    for key in (A, B, A, A):
        queue.add(key)
    assert queue.depth == 2
    assert [await soon(queue), await soon(queue)] == [A, B]
    assert await nothing_comes(queue)


async def test_a_key_that_is_worked_on_comes_again_only_when_it_is_given_back(queue: WorkQueue) -> None:
    queue.add(A)
    await soon(queue)
    queue.add(A)
    queue.add(A)
    assert await nothing_comes(queue), "no second worker may have it"
    queue.done(A)
    assert await soon(queue) == A
    queue.done(A)
    assert await nothing_comes(queue)


async def test_look_again_brings_keys_back_in_the_order_of_their_times(queue: WorkQueue) -> None:
    for key, pause in ((A, 0.06), (B, 0.01)):
        queue.add(key)
        queue.done(await soon(queue), pause)
    assert [await soon(queue), await soon(queue)] == [B, A]


async def test_the_earliest_of_several_times_counts_and_counts_once(queue: WorkQueue) -> None:
    for pause in (30, 0.01, 60):
        queue.add_after(A, pause)
    assert await soon(queue) == A
    queue.done(A)
    assert await nothing_comes(queue)


async def test_an_event_overtakes_a_timer_and_takes_it_away(queue: WorkQueue) -> None:
    queue.add_after(A, 0.02)
    queue.add(A)
    assert await soon(queue) == A
    queue.done(A)
    assert await nothing_comes(queue)


async def test_a_timer_that_rings_during_the_work_is_not_lost(queue: WorkQueue) -> None:
    queue.add(A)
    await soon(queue)
    queue.add_after(A, 0)
    await asyncio.sleep(0.02)
    queue.done(A)
    assert await soon(queue) == A


async def test_failures_come_later_and_later_until_one_goes_well(
    queue: WorkQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workqueue, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(workqueue, "MAX_DELAY", 0.006)
    queue.add(A)
    delays = []
    for _ in range(5):
        delays.append(queue.failed(await soon(queue)))
    assert delays == [0.001, 0.002, 0.004, 0.006, 0.006]
    queue.done(await soon(queue))
    queue.add(A)
    assert queue.failed(await soon(queue)) == 0.001


async def test_a_failing_key_waits_though_it_was_added_during_the_work(queue: WorkQueue) -> None:
    queue.add(A)
    await soon(queue)
    queue.add(A)
    assert queue.failed(A) > 0.1
    assert await nothing_comes(queue)


async def test_workers_share_keys_but_never_one(queue: WorkQueue) -> None:
    keys = [Key("TestRun", "ns", str(number)) for number in range(5)]
    busy: set[Key] = set()
    count = dict.fromkeys(keys, 0)

    async def work() -> None:
        while True:
            key = await queue.take()
            assert key not in busy
            busy.add(key)
            await asyncio.sleep(0)
            count[key] += 1
            busy.discard(key)
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(4)]
    for _ in range(50):
        for key in keys:
            queue.add(key)
        await asyncio.sleep(0)
    await asyncio.sleep(0.02)
    assert not [worker for worker in workers if worker.done()]
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert all(count.values())
    assert (queue.depth, queue.age) == (0, 0.0)


async def test_timers_end_when_cancelled_while_a_key_comes_in() -> None:
    queue = WorkQueue()
    queue.add_after(A, 60)
    timers = asyncio.create_task(queue.run_timers())
    await asyncio.sleep(0.01)
    queue.add_after(B, 60)
    timers.cancel()
    done, _ = await asyncio.wait([timers], timeout=5)
    assert done
    assert timers.cancelled()
