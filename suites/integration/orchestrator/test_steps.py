"""An episode that goes well: its steps in order, its checkpoints, its record, and a replay of the record."""

import random
from itertools import pairwise
from typing import Any

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform, Shop
from _helpers.model import ModelServer, new_trace
from _helpers.properties import Property, check

PATHS = {
    "answer": ("How can I return goods?", ["compose"]),
    "ask-back": ("I want to buy something nice", ["compose"]),
    "order": ("I want to buy 2 Blue Mug, please", ["tool-1", "compose"]),
    "saga": (
        "I want to buy 2 Blue Mug, pay with tok_visa and ship it to Germany",
        ["tool-1", "tool-2", "tool-3", "compose"],
    ),
    "undone": (
        "I want to buy 2 Blue Mug, pay with tok_declined and ship it to Germany",
        ["tool-1", "tool-2", "undo-1", "compose"],
    ),
    "handoff": ("I want to talk to a human please", ["tool-1", "compose"]),
}
"""What is said, and the steps after route, retrieve and plan."""
EFFECTS = {
    "answer": [],
    "ask-back": [],
    "order": ["order"],
    "saga": ["order", "payment", "shipment"],
    "undone": ["order", "cancellation"],
    "handoff": ["handoff"],
}


def _steps(shop: Shop, episode_id: str) -> list[dict[str, Any]]:
    """The checkpoint rows of an episode, in the order in which they were started."""
    return sorted(shop.rows("episode_steps", episode_id=episode_id), key=lambda row: str(row["started_at"]))


def _record(platform: Platform, shop: Shop, episode_id: str) -> dict[str, Any]:
    answer = platform.http.get(
        f"/v1/admin/episodes/{episode_id}/record",
        params={"tenant_id": shop.tenant_id},
        headers={"Authorization": f"Bearer {platform.target.admin_key}"},
    )
    seen = f"the record of an episode that is done gave {answer.status_code}, expected 200"
    check(answer.status_code == 200, Property.CHECKPOINT, seen)
    record: dict[str, Any] = answer.json()
    return record


def _replay(platform: Platform, record: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    answer = platform.http.post(
        "/v1/admin/replay",
        json={"record": record, "mode": "EXACT"},
        headers={"Authorization": f"Bearer {platform.target.admin_key}", **headers},
    )
    check(answer.status_code == 200, Property.REPLAY_EXACT, f"a replay gave {answer.status_code}, expected 200")
    outcome: dict[str, Any] = answer.json()
    return outcome


@pytest.mark.parametrize("path", PATHS)
def test_steps_run_in_order(shop: Shop, evidence: Evidence, path: str) -> None:
    """Each step of the path has one row, starts when the one before is done, and none comes after the end."""
    text, rest = PATHS[path]
    episode_id = shop.alice.say(text)["episode_id"]
    rows = _steps(shop, episode_id)
    names, expected = [row["step"] for row in rows], ["route", "retrieve", "plan", *rest]
    check(names == expected, Property.STEP_ORDER, f"steps {names}, expected {expected}")
    for before, after in pairwise(rows):
        step, at = after["step"], str(before["done_at"])
        check(at <= str(after["started_at"]), Property.STEP_ORDER, f"{step} started before {before['step']} was done")
    (episode,) = shop.rows("episodes", episode_id=episode_id)
    check(episode["state"] == "done", Property.EPISODE_ENDS, f"the episode is {episode['state']}, expected done")
    ended = str(rows[-1]["done_at"]) <= str(episode["finished_at"])
    check(ended, Property.STEP_ORDER, f"a step was done after the end of its episode: {rows[-1]['step']}")
    evidence("episodes")
    evidence("steps", len(rows))


@pytest.mark.parametrize("path", [path for path, kinds in EFFECTS.items() if kinds])
def test_checkpoints_say_what_was_done(shop: Shop, evidence: Evidence, path: str) -> None:
    """What a tool's checkpoint holds is the result of the effect that the shop has, which came before it."""
    episode_id = shop.alice.say(PATHS[path][0])["episode_id"]
    effects = sorted(shop.rows("effects", episode_id=episode_id), key=lambda row: str(row["created_at"]))
    kinds = [effect["kind"] for effect in effects]
    check(kinds == EFFECTS[path], Property.EFFECT_ONCE, f"effects {kinds}, expected {EFFECTS[path]}")
    left = list(effects)
    tools = [row for row in _steps(shop, episode_id) if row["step"].startswith(("tool-", "undo-"))]
    for row in tools:
        told = [call["answer"] for call in row["calls"] if call["port"] == "tools"]
        seen = f"{row['step']} is marked as done with {row['output']}, told {told}"
        check(told == [row["output"]], Property.CHECKPOINT, seen)
        if row["output"]["ok"]:
            check(len(left) > 0, Property.EFFECT_KEPT, f"{row['step']} is done, but its effect is not there")
            effect = left.pop(0)
            same = effect["result"] == row["output"]
            check(same, Property.CHECKPOINT, f"{row['step']} says {row['output']}, its effect {effect['result']}")
            in_time = str(effect["created_at"]) <= str(row["done_at"])
            check(in_time, Property.EFFECT_KEPT, f"{row['step']} was marked as done before its effect")
    evidence("effects", len(effects))


@pytest.mark.parametrize("path", ["answer", "saga", "undone"])
def test_record_is_what_the_checkpoints_hold(platform: Platform, shop: Shop, evidence: Evidence, path: str) -> None:
    """The record's steps are the rows, all of them and in order, and it starts from what the customer said."""
    episode_id = shop.alice.say(PATHS[path][0])["episode_id"]
    record, rows = _record(platform, shop, episode_id), _steps(shop, episode_id)
    names = [step["step"] for step in record["steps"]]
    expected = [row["step"] for row in rows]
    check(names == expected, Property.STEP_ORDER, f"the record has the steps {names}, the database {expected}")
    for step, row in zip(record["steps"], rows, strict=True):
        wrong = [part for part in ("calls", "output", "state") if step[part] != row[part]]
        check(not wrong, Property.CHECKPOINT, f"{step['step']}: the record's {wrong} is not what is in the database")
    check(record["inputs"]["episode_id"] == episode_id, Property.CHECKPOINT, "the record is of another episode")
    (said,) = shop.rows("messages", episode_id=episode_id, role="user") or [{"content": None}]
    started = record["inputs"]["history"][-1]["content"]
    check(started == said["content"], Property.CHECKPOINT, f"the record starts from {started!r}")
    states = {record["state"], *(step["state"] for step in record["steps"])}
    check(len(states) == len(rows) + 1, Property.CHECKPOINT, f"{len(states)} states after {len(rows)} steps, one each")
    evidence("records")


@pytest.mark.parametrize("path", ["answer", "order", "undone"])
def test_replay_is_exact_and_has_no_effect(
    platform: Platform, shop: Shop, model: ModelServer, seeded: random.Random, evidence: Evidence, path: str
) -> None:
    """A replay computes every state of the record again, without the model and without an effect."""
    record = _record(platform, shop, shop.alice.say(PATHS[path][0])["episode_id"])
    before = shop.database.snapshot(shop.tenant_id)
    trace_id, headers = new_trace(shop.tenant_id, seeded)
    outcome = _replay(platform, record, headers)
    check(outcome["equal"], Property.REPLAY_EXACT, f"the replay differs: {outcome['first_difference']}")
    states = [step["state"] for step in outcome["steps"]]
    same = states == [step["state"] for step in record["steps"]]
    check(same, Property.REPLAY_EXACT, "the replay is called equal, but its states are not those of the record")
    asked = len(model.calls(trace_id))
    check(asked == 0, Property.REPLAY_OFFLINE, f"an exact replay asked the model {asked} times, expected 0")
    check(shop.database.snapshot(shop.tenant_id) == before, Property.EFFECT_ALLOWED, "a replay changed the shop")
    evidence("replays")


def test_changed_record_is_named_at_its_step(
    platform: Platform, shop: Shop, seeded: random.Random, evidence: Evidence
) -> None:
    """Whichever step's output is changed by one character, the replay names that step."""
    record = _record(platform, shop, shop.alice.say(PATHS["order"][0])["episode_id"])
    number = seeded.randrange(len(record["steps"]))
    step = record["steps"][number]
    changed = {**step, "output": {**step["output"], "added": 1}}
    other = {**record, "steps": [*record["steps"][:number], changed, *record["steps"][number + 1 :]]}
    outcome = _replay(platform, other, {})
    named = (outcome["first_difference"] or {}).get("step")
    seen = f"{step['step']} was changed, the replay is {'equal' if outcome['equal'] else f'different at {named}'}"
    check(not outcome["equal"] and named == step["step"], Property.REPLAY_EXACT, seen)
    evidence("replays")


def test_every_task_leaves_the_outbox_once(shop: Shop, seeded: random.Random, evidence: Evidence) -> None:
    """After the episodes have ended, each has one task in the outbox, and it was published."""
    texts = [seeded.choice(["How can I pay?", "I want to buy 1 Mug", "Where is my order?"]) for _ in range(4)]
    episodes = [shop.alice.say(text)["episode_id"] for text in texts]
    tasks = [row for row in shop.rows("outbox") if row["subject"].startswith("tasks.")]
    of = sorted(row["payload"]["episode_id"] for row in tasks)
    check(of == sorted(episodes), Property.EFFECT_ONCE, f"{len(of)} tasks for {len(episodes)} messages, one each")
    waiting = sum(row["published_at"] is None for row in tasks)
    check(waiting == 0, Property.ACCEPTED_THEN_LOST, f"{waiting} tasks of ended episodes still wait, expected 0")
    evidence("episodes", len(episodes))
