"""An episode whose model is slow, fails once or fails for good: what is kept, what is repeated, how it ends."""

import random

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform, Shop
from _helpers.client import accepted
from _helpers.frames import open_stream
from _helpers.model import ModelServer, hold_key, new_trace
from _helpers.properties import Property, check

pytestmark = pytest.mark.mock_only
FRAME_SECONDS = 15.0
GIVEN_UP_SECONDS = 40.0
"""Four deliveries with waits of 2, 2 and 4 seconds, and the way to the dead letters."""
ORDER = "I want to buy 2 Blue Mug, please"
ONCE = {
    "error": "[[error 500 times=1]] " + ORDER,
    "rate-limited": "[[error 429 times=1]] " + ORDER,
    "truncated": "[[truncate times=1]] " + ORDER,
    "malformed": "[[malformed step=plan times=1]] " + ORDER,
}


def test_step_in_flight_is_seen(platform: Platform, shop: Shop, model: ModelServer, evidence: Evidence) -> None:
    """While the model withholds its answer, the steps before are done, this one is started, and nothing after."""
    key = hold_key(shop.tenant_id)
    sent = shop.alice.send(f"[[hold {key}]] {ORDER}")
    episode_id = accepted(sent)
    with open_stream(platform.target.gateway, shop.alice.key, sent.json()["conversation"]) as stream:
        stream.until("step", FRAME_SECONDS, step="compose")
        rows = {row["step"]: row["done_at"] is not None for row in shop.rows("episode_steps", episode_id=episode_id)}
        expected = {"route": True, "retrieve": True, "plan": True, "tool-1": True, "compose": False}
        check(rows == expected, Property.STEP_ORDER, f"steps done while the last is held: {rows}")
        (episode,) = shop.rows("episodes", episode_id=episode_id)
        state = episode["state"]
        check(state == "running", Property.STEP_ORDER, f"the episode is {state} while its last step is held")
        said = len(shop.rows("messages", episode_id=episode_id, role="assistant"))
        check(said == 0, Property.STEP_ORDER, f"{said} replies stored before the end, expected 0")
        model.release(key)
        stream.until("ended", FRAME_SECONDS, state="done")
    check(shop.alice.wait(episode_id)["state"] == "done", Property.EPISODE_ENDS, "the released episode is not done")
    evidence("holds")


def test_interrupted_step_is_repeated_alone(
    shop: Shop, model: ModelServer, seeded: random.Random, evidence: Evidence
) -> None:
    """When the model fails once, its step is run again after a redelivery; finished ones are not, nor is the effect."""
    sent = {}
    for name, text in ONCE.items():
        trace_id, headers = new_trace(shop.tenant_id, seeded)
        answer = shop.alice.request("POST", "/v1/messages", json={"text": text}, headers=headers)
        sent[name] = trace_id, accepted(answer)
    for name, (trace_id, episode_id) in sent.items():
        ended = shop.alice.wait(episode_id)
        check(
            ended["state"] == "done", Property.EPISODE_ENDS, f"{name}: the episode is {ended['state']}, expected done"
        )
        asked = [call["role"] for call in model.calls(trace_id)]
        again = "plan" if name == "malformed" else "compose"
        expected = {"plan": 1, "compose": 1} | {again: 2}
        counts = {step: asked.count(step) for step in expected}
        check(counts == expected, Property.STEP_ORDER, f"{name}: the model was asked {counts}, expected {expected}")
        orders = len(shop.rows("orders", episode_id=episode_id))
        check(orders == 1, Property.EFFECT_ONCE, f"{name}: {orders} orders after a redelivery, expected 1")
        rows = shop.rows("episode_steps", episode_id=episode_id)
        done = sorted(row["step"] for row in rows if row["done_at"])
        expected_steps = ["compose", "plan", "retrieve", "route", "tool-1"]
        check(done == expected_steps, Property.STEP_ORDER, f"{name}: steps done {done}")
        evidence("redeliveries")


def test_slow_model_is_waited_for(shop: Shop, model: ModelServer, seeded: random.Random, evidence: Evidence) -> None:
    """An answer that takes longer than the queue's patience is not asked for twice: the worker says that it lives."""
    trace_id, headers = new_trace(shop.tenant_id, seeded)
    text = f"[[hang seconds=4]] {ORDER}"
    episode_id = accepted(shop.alice.request("POST", "/v1/messages", json={"text": text}, headers=headers))
    ended = shop.alice.wait(episode_id)
    check(ended["state"] == "done", Property.EPISODE_ENDS, f"the episode is {ended['state']}, expected done")
    asked = [call["role"] for call in model.calls(trace_id)].count("compose")
    check(asked == 1, Property.STEP_ORDER, f"a slow answer was asked for {asked} times, expected 1")
    evidence("holds")


@pytest.mark.parametrize(
    ("text", "step", "orders"),
    [("[[error 500]] " + ORDER, "compose", 1), ("[[malformed step=plan]] " + ORDER, "plan", 0)],
    ids=["error", "malformed"],
)
def test_step_that_never_succeeds_ends_the_episode(
    platform: Platform, shop: Shop, evidence: Evidence, text: str, step: str, orders: int
) -> None:
    """After the last delivery the episode is failed and says so; its conversation is free; what was done is kept."""
    sent = shop.alice.send(text)
    episode_id, conversation = accepted(sent), sent.json()["conversation"]
    with open_stream(platform.target.gateway, shop.alice.key, conversation) as stream:
        stream.until("ended", GIVEN_UP_SECONDS, state="failed")
    episode = shop.alice.request("GET", f"/v1/episodes/{episode_id}").json()
    seen = episode["state"], episode["error"], episode["reply"]
    check(seen == ("failed", "step-failed", None), Property.EPISODE_ENDS, f"the episode is {seen}")
    rows = {row["step"]: row["done_at"] is not None for row in shop.rows("episode_steps", episode_id=episode_id)}
    check(rows.get(step) is False, Property.CHECKPOINT, f"steps {rows}, expected {step} started and not done")
    placed = len(shop.rows("orders", episode_id=episode_id))
    check(placed == orders, Property.EFFECT_ONCE, f"{placed} orders after four deliveries, expected {orders}")
    following = shop.alice.say("How can I pay?", conversation)
    check(
        following["state"] == "done", Property.EPISODE_ENDS, f"the next message is {following['state']}, expected done"
    )
    evidence("dead-letters")


def test_refused_payment_is_undone_once(shop: Shop, evidence: Evidence) -> None:
    """An order whose payment is declined is cancelled by its own step; stock and money are as they were."""
    before = shop.database.snapshot(shop.tenant_id)["stock"]
    episode_id = shop.alice.say("I want to buy 3 Mug, pay with tok_declined and ship it to France")["episode_id"]
    undone = [
        row["step"] for row in shop.rows("episode_steps", episode_id=episode_id) if row["step"].startswith("undo")
    ]
    check(undone == ["undo-1"], Property.COMPENSATION, f"steps that undo: {undone}, expected undo-1")
    statuses = [order["status"] for order in shop.rows("orders", episode_id=episode_id)]
    check(statuses == ["cancelled"], Property.COMPENSATION, f"orders are {statuses}, expected one that is cancelled")
    same = shop.database.snapshot(shop.tenant_id)["stock"] == before
    check(same, Property.STOCK_CONSERVED, "the stock is not what it was before the order that was undone")
    evidence("effects", len(shop.rows("effects", episode_id=episode_id)))
