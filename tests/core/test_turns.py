"""Whose turn it is: lock of a target, budget of pods, and nobody starves."""

import random
from typing import Any

import pytest

from builders import at
from proctor.api import names
from proctor.core.observed import Claim
from proctor.core.turns import may_start


def claim(run: str = "me", since: float = 0, **fields: Any) -> Claim:
    values: dict[str, Any] = {"step": "s", "target": "shop", "exclusive": False, "pods": 1}
    return Claim(run, since=at(since), **{**values, **fields})


@pytest.mark.parametrize(
    ("wanted", "held", "awaited", "reason"),
    [
        (claim(), [], [], None),
        (claim(), [claim("other")], [], None),
        (claim(exclusive=True), [claim("other")], [], names.WAITING_FOR_TARGET),
        (claim(), [claim("other", exclusive=True)], [], names.WAITING_FOR_TARGET),
        (claim(exclusive=True), [claim("other", target="else")], [], None),
        (claim(exclusive=True), [claim()], [], None),  # its own claim, seen already
        (claim(exclusive=True), [claim(step="t")], [], names.WAITING_FOR_TARGET),  # another step of its own run
        (claim(pods=3), [claim("other", pods=8)], [], names.WAITING_FOR_BUDGET),
        (claim(pods=2), [claim("other", pods=8)], [], None),
        (claim(pods=99), [], [], None),  # more than the whole budget: alone
        (claim(pods=99), [claim("other")], [], names.WAITING_FOR_BUDGET),
        (claim(since=5), [], [claim("old", exclusive=True)], names.WAITING_FOR_TARGET),
        (claim(since=5, exclusive=True), [], [claim("old")], names.WAITING_FOR_TARGET),
        (claim(since=5), [], [claim("old", exclusive=True, target="else")], None),
        (claim(since=5), [], [claim("young", 9, exclusive=True)], None),
        (claim(since=5), [claim("x", pods=5)], [claim("old", pods=6)], names.WAITING_FOR_BUDGET),
        (claim(since=5), [claim("x", pods=5)], [claim("old", pods=4)], None),
    ],
)
def test_may_start(wanted: Claim, held: list[Claim], awaited: list[Claim], reason: str | None) -> None:
    wait = may_start(wanted, held, awaited, budget=10)
    assert (wait.reason if wait else None) == reason


def test_the_message_has_the_numbers() -> None:
    wait = may_start(claim(pods=3), [claim("other", pods=8)], [], 10)
    assert wait is not None
    assert wait.message == "needs 3 pods, 8 of 10 are in use"


@pytest.mark.parametrize("seed", range(8))
def test_nobody_starves_and_no_lock_is_shared(seed: int) -> None:
    """A stream of small and large, exclusive and other steps: each starts within what is queued before it."""
    chance, budget = random.Random(seed), 6
    waiting: list[Claim] = []
    running: list[tuple[int, Claim]] = []
    waited: dict[str, int] = {}
    for now in range(400):
        running = [(end, own) for end, own in running if end > now]
        if now < 250 and chance.random() < 0.45:
            name = f"run{now:03}"
            waiting.append(
                claim(
                    name,
                    now,
                    target=chance.choice("ab"),
                    exclusive=chance.random() < 0.3,
                    pods=chance.choice([1, 2, 9]),
                )
            )
            waited[name] = now
        for wanted in chance.sample(waiting, len(waiting)):
            held = [own for _, own in running]
            if may_start(wanted, held, [other for other in waiting if other != wanted], budget) is None:
                waiting.remove(wanted)
                running.append((now + chance.randint(1, 4), wanted))
                waited.pop(wanted.run_uid)
        for _, own in running:
            rivals = [x for _, x in running if x is not own and x.target == own.target]
            assert not (own.exclusive and rivals)
        assert len(running) == 1 or sum(own.pods for _, own in running) <= budget
    assert not waiting, f"still waiting after 150 quiet moments: {waiting}"
