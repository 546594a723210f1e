"""Tasks that nobody can finish: they are kept, and go back to the queue once, whoever asks and however often."""

import random
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import httpx
import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform, Tenant
from _helpers.client import accepted
from _helpers.frames import open_stream
from _helpers.jetstream import Stored
from _helpers.model import ModelServer, hold_key
from _helpers.properties import Property, check
from t07_chaos.conftest import StartLoad
from t07_chaos.letters import DELIVERIES, GIVEN_UP_SECONDS, POISON, judge_letters, letters
from t07_chaos.load import Task, orders

pytestmark = pytest.mark.mock_only
POISONED = 12
MENDED = f"[[error 500 times={DELIVERIES}]] "
"""The model fails in every delivery of the task, and is well when it comes back from the dead letters."""


def _dead(platform: Platform, store: Tenant, task: Task) -> tuple[str, int, Stored]:
    """Send a task that ends as a dead letter; gives its episode, its conversation and its letter."""
    alice = store.users["alice"]
    body, headers = {"text": task.text}, {**task.headers, "Idempotency-Key": task.key}
    sent = alice.request("POST", "/v1/messages", json=body, headers=headers)
    episode_id, conversation = accepted(sent), sent.json()["conversation"]
    with open_stream(platform.target.gateway, alice.key, conversation) as stream:
        stream.until("ended", GIVEN_UP_SECONDS, state="failed")
    found = letters(store.tenant_id).get(episode_id, [])
    check(len(found) == 1, Property.DEAD_LETTER_KEPT, f"{len(found)} dead letters of one task, expected 1")
    return episode_id, conversation, found[0]


def _requeued(platform: Platform, store: Tenant, episode_id: str) -> int:
    """How often the task of an episode was put on the queue again, by the outbox."""
    rows = platform.database.rows("outbox", store.tenant_id)
    return sum(row["payload"].get("episode_id") == episode_id for row in rows) - 1


def _once(answers: list[httpx.Response]) -> None:
    """One request at least has put it back; the others find nothing any more, or the same."""
    seen = sorted(answer.status_code for answer in answers)
    check(200 in seen and set(seen) <= {200, 404}, Property.REQUEUE_ONCE, f"requests to requeue gave {seen}")


def test_poison_is_kept(
    platform: Platform, store: Tenant, load: StartLoad, seeded: random.Random, evidence: Evidence
) -> None:
    """All of it is in the DLQ with its reason, its episodes have failed, and what they did before is done once."""
    with load(islice(orders(store.tenant_id, seeded, direction=POISON), POISONED), 20) as running:
        running.finish()
    judge_letters(platform.database, store, running)
    evidence("poison", POISONED)


def test_letter_that_is_requeued_is_done_once(
    platform: Platform,
    store: Tenant,
    dead_letters: httpx.Client,
    model: ModelServer,
    seeded: random.Random,
    evidence: Evidence,
) -> None:
    """Asked for by four at once and twice again: one task more, one order, one end, and no letter left."""
    task = next(orders(store.tenant_id, seeded, direction=MENDED))
    episode_id, _, letter = _dead(platform, store, task)
    path = f"/dlq/{letter.sequence}:requeue"
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: dead_letters.post(path), range(4)))
    _once(answers)
    ended = store.users["alice"].wait(episode_id)
    answers = [dead_letters.post(path) for _ in range(2)]
    again = _requeued(platform, store, episode_id)
    check(again == 1, Property.REQUEUE_ONCE, f"the task went back {again} times for 6 requests, expected 1")
    left = len(letters(store.tenant_id))
    check(left == 0, Property.REQUEUE_ONCE, f"{left} dead letters are left of one that went back, expected 0")
    codes = {answer.status_code for answer in answers}
    check(codes == {404}, Property.REQUEUE_ONCE, f"a letter that went back is asked for again: {codes}, expected 404")
    check(ended["state"] == "done", Property.EPISODE_ENDS, f"the requeued episode is {ended['state']}, expected done")
    placed = len(platform.database.rows("orders", store.tenant_id))
    check(placed == 1, Property.EFFECT_ONCE, f"{placed} orders of a task that came back, expected 1")
    asked = [call["role"] for call in model.calls(task.trace_id)]
    check(
        asked.count("plan") == 1, Property.STEP_ORDER, f"plans that were asked for: {asked.count('plan')}, expected 1"
    )
    evidence("requeues")
    evidence("poison")


def test_letter_of_a_conversation_that_goes_on_waits(
    platform: Platform,
    store: Tenant,
    dead_letters: httpx.Client,
    model: ModelServer,
    seeded: random.Random,
    evidence: Evidence,
) -> None:
    """While the conversation's next message is answered, the letter is refused and kept; then it goes back, once."""
    alice, key = store.users["alice"], hold_key(store.tenant_id)
    episode_id, conversation, letter = _dead(platform, store, next(orders(store.tenant_id, seeded, direction=MENDED)))
    following = accepted(alice.send(f"[[hold {key}]] I want to buy 1 Mug", conversation=conversation))
    path = f"/dlq/{letter.sequence}:requeue"
    refused = dead_letters.post(path)
    seen = refused.status_code, refused.json().get("code")
    check(seen == (409, "conversation-busy"), Property.REQUEUE_ONCE, f"requeued into a busy conversation: {seen}")
    kept = len(letters(store.tenant_id))
    check(kept == 1, Property.DEAD_LETTER_KEPT, f"{kept} dead letters after a requeue was refused, expected 1")
    model.release(key)
    alice.wait(following)
    _once([dead_letters.post(path) for _ in range(2)])
    ended = alice.wait(episode_id)
    check(ended["state"] == "done", Property.EPISODE_ENDS, f"the requeued episode is {ended['state']}, expected done")
    again = _requeued(platform, store, episode_id)
    check(again == 1, Property.REQUEUE_ONCE, f"the task went back to the queue {again} times, expected 1")
    evidence("requeues")
    evidence("poison")


def test_poison_that_is_requeued_comes_back(
    platform: Platform, store: Tenant, dead_letters: httpx.Client, seeded: random.Random, evidence: Evidence
) -> None:
    """It is given up again, has one letter again, and is still one order."""
    alice = store.users["alice"]
    episode_id, conversation, letter = _dead(platform, store, next(orders(store.tenant_id, seeded, direction=POISON)))
    with open_stream(platform.target.gateway, alice.key, conversation) as stream:
        _once([dead_letters.post(f"/dlq/{letter.sequence}:requeue")])
        for _ in range(2):  # the end of the first time is in the stream too
            stream.until("ended", GIVEN_UP_SECONDS, state="failed")
    found = letters(store.tenant_id).get(episode_id, [])
    check(len(found) == 1, Property.DEAD_LETTER_KEPT, f"{len(found)} dead letters after the second time, expected 1")
    newer = found[0].sequence > letter.sequence
    check(newer, Property.REQUEUE_ONCE, "the dead letter is still the first one, expected the second")
    placed = len(platform.database.rows("orders", store.tenant_id))
    check(placed == 1, Property.EFFECT_ONCE, f"{placed} orders after {2 * DELIVERIES} deliveries, expected 1")
    frames = [frame["seq"] for frame in stream.frames]
    check(frames == list(range(1, len(frames) + 1)), Property.FRAMES_CONTIGUOUS, f"frames of both times: {frames[:30]}")
    evidence("requeues")
    evidence("poison", 2)
