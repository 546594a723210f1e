"""Replays of recorded episodes: computed anew, without a live call and without an effect, and honest about changes."""

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform, Shop
from _helpers.model import ModelServer, new_trace
from _helpers.properties import Property, check

pytestmark = pytest.mark.mock_only
Record = dict[str, Any]
CONVERSATIONS = [
    ["How can I return goods?", "And how can I pay?"],
    ["When do you open?", "Thank you, and what about returns?"],
    ["I want to buy {n} Blue Mug", "Where is my order?", "Cancel my order"],
    ["I want to buy {n} Mug, pay with tok_visa and ship it to Germany", "I want a refund for my order"],
    ["I want to buy {n} Mug, pay with tok_declined and ship it to Germany", "Where is my order?"],
    ["I want to buy {n} Blue Mug, pay with tok_visa and ship it to France"],
    ["I want to buy 900 Mug"],
    ["I want to buy {n} Mug", "Pay my order with tok_visa"],
    ["We are interested in {n} Desk Lamp for our office", "The budget is 900 EUR", "Yes, go ahead with the offer"],
    ["I want to talk to a human please"],
    ["I want to buy something nice"],
]
"""Answers, orders, sagas that end well and that are undone, refusals, leads, questions: 20 episodes."""
EPISODES = 20
CHANGES = 40
ADAPTED = {"seed": 4711, "agents": {"order": "You sell things. Be short.", "faq": "You answer questions. Be kind."}}


@dataclass(frozen=True)
class Past:
    """A shop, and the records of all that happened in it."""

    platform: Platform = field(repr=False)
    shop: Shop
    records: list[Record] = field(repr=False)

    def admin(self, method: str, path: str, **arguments: Any) -> Any:
        """What the operator of the platform is answered: status and JSON."""
        headers = {"Authorization": f"Bearer {self.platform.target.admin_key}", **arguments.pop("headers", {})}
        answer = self.platform.http.request(method, path, headers=headers, **arguments)
        return answer.status_code, answer.json()

    def replay(self, record: Record, mode: str, headers: dict[str, str], **config: Any) -> dict[str, Any]:
        wish = {"record": record, "mode": mode, "config": config}
        status, outcome = self.admin("POST", "/v1/admin/replay", json=wish, headers=headers)
        check(status == 200, Property.REPLAY_EXACT, f"a replay gave {status}, expected 200")
        told: dict[str, Any] = outcome
        return told


@pytest.fixture
def past(platform: Platform, shop: Shop, seeded: random.Random) -> Past:
    """All conversations, side by side."""
    number = seeded.randint(1, 3)

    def talk(texts: list[str]) -> list[str]:
        episodes, conversation = [], None
        for text in texts:
            said = shop.alice.say(text.format(n=number), conversation)
            conversation = said["conversation"]
            episodes.append(said["episode_id"])
        return episodes

    with ThreadPoolExecutor(4) as pool:
        episodes = [episode for said in pool.map(talk, CONVERSATIONS) for episode in said]
    past = Past(platform, shop, [])
    for episode_id in episodes:
        status, record = past.admin(
            "GET", f"/v1/admin/episodes/{episode_id}/record", params={"tenant_id": shop.tenant_id}
        )
        check(status == 200, Property.CHECKPOINT, f"the record of an episode that is done gave {status}, expected 200")
        past.records.append(record)
    return past


def test_exact_replay_is_identical(past: Past, model: ModelServer, seeded: random.Random, evidence: Evidence) -> None:
    """Steps, arguments and states come out as they were, with 0 live calls, and no row is new."""
    before = past.shop.database.snapshot(past.shop.tenant_id, bookkeeping=True)
    check(len(past.records) >= EPISODES, Property.EPISODE_ENDS, f"{len(past.records)} episodes, expected {EPISODES}")
    for record in past.records:
        trace_id, headers = new_trace(past.shop.tenant_id, seeded)
        outcome = past.replay(record, "EXACT", headers)
        check(outcome["equal"], Property.REPLAY_EXACT, f"an exact replay differs: {outcome['first_difference']}")
        seen = [(step["step"], step["state"]) for step in outcome["steps"]]
        wanted = [(step["step"], step["state"]) for step in record["steps"]]
        check(seen == wanted, Property.REPLAY_EXACT, "a replay is called equal, but its steps and states are others")
        asked = len(model.calls(trace_id))
        check(asked == 0, Property.REPLAY_OFFLINE, f"an exact replay asked the model {asked} times, expected 0")
    same = past.shop.database.snapshot(past.shop.tenant_id, bookkeeping=True) == before
    check(same, Property.EFFECT_ALLOWED, "replays have changed the tenant's rows")
    evidence("replays", len(past.records))


@pytest.mark.parametrize(("mode", "config"), [("SIMILAR", {}), ("ADAPTIVE", {}), ("ADAPTIVE", ADAPTED)])
def test_replay_asks_the_model_again_and_has_no_effect(
    past: Past, model: ModelServer, seeded: random.Random, evidence: Evidence, mode: str, config: dict[str, Any]
) -> None:
    """SIMILAR takes the same path to the same effects, ADAPTIVE reaches the same goal, whatever the model says now."""
    before = past.shop.database.snapshot(past.shop.tenant_id, bookkeeping=True)
    for record in past.records:
        trace_id, headers = new_trace(past.shop.tenant_id, seeded)
        outcome = past.replay(record, mode, headers, **config)
        check(outcome["equal"], Property.REPLAY_EXACT, f"a replay {mode} differs: {outcome['first_difference']}")
        path, taken = [[step["step"] for step in steps] for steps in (record["steps"], outcome["steps"])]
        check(mode != "SIMILAR" or path == taken, Property.REPLAY_EXACT, f"a SIMILAR replay went {taken}, not {path}")
        recorded = sum(call["port"] == "model" for step in record["steps"] for call in step["calls"])
        asked = len(model.calls(trace_id))
        seen = f"a replay {mode} asked the model {asked} times, the record {recorded} times"
        check(asked == recorded, Property.REPLAY_EXACT, seen)
    same = past.shop.database.snapshot(past.shop.tenant_id, bookkeeping=True) == before
    check(same, Property.EFFECT_ALLOWED, f"replays {mode} have changed the tenant's rows")
    evidence("replays", len(past.records))


def test_changed_byte_is_named_at_its_step(past: Past, seeded: random.Random, evidence: Evidence) -> None:
    """Whatever is changed in a record, by one byte and wherever, the replay names the step where it is."""
    for _ in range(CHANGES):
        record = seeded.choice(past.records)
        number = seeded.randrange(len(record["steps"]))
        changed = json.loads(json.dumps(record))
        where = _change(changed["steps"][number], seeded)
        outcome = past.replay(changed, "EXACT", {})
        step = record["steps"][number]["step"]
        named = (outcome["first_difference"] or {}).get("step")
        seen = (
            f"{where} of {step} was changed, the replay is {'equal' if outcome['equal'] else f'different at {named}'}"
        )
        check(not outcome["equal"] and named == step, Property.REPLAY_EXACT, seen)
    evidence("mutations", CHANGES)


def test_changed_goal_is_not_similar(past: Past, evidence: Evidence) -> None:
    """A tool that answered otherwise is another course and another goal: SIMILAR and ADAPTIVE say so."""
    record = next(one for one in past.records if [step["step"] for step in one["steps"]][3:] == ["tool-1", "compose"])
    changed = json.loads(json.dumps(record))
    (call,) = changed["steps"][3]["calls"]
    call["answer"] = {"ok": False, "code": "out-of-stock", "sku": "mug", "quantity": 1}
    for mode in ("SIMILAR", "ADAPTIVE"):
        outcome = past.replay(changed, mode, {})
        check(not outcome["equal"], Property.REPLAY_EXACT, f"a refusal in place of an effect is {mode} to it")
    evidence("mutations", 2)


def test_configuration_is_for_adaptive_only(past: Past, evidence: Evidence) -> None:
    """What a mode cannot take is refused, not ignored."""
    for mode, config in (("EXACT", {"seed": 1}), ("SIMILAR", ADAPTED), ("ADAPTIVE", {"agents": {"nobody": "x"}})):
        wish = {"record": past.records[0], "mode": mode, "config": config}
        status, told = past.admin("POST", "/v1/admin/replay", json=wish)
        seen = f"a replay {mode} with {sorted(config)} gave {status} {told.get('code')}, expected refused"
        check(status == 409 and told.get("code") == "refused", Property.PROBLEM, seen)
    evidence("replays", 3)


def _change(step: dict[str, Any], seeded: random.Random) -> str:
    """Change one character of a text or one digit of a number somewhere in a step's calls, output or state."""
    leaves = [leaf for part in ("calls", "output", "state") for leaf in _leaves(step, part)]
    holder, key = seeded.choice(leaves)
    value = holder[key]
    if isinstance(value, str):
        place = seeded.randrange(len(value))
        other = seeded.choice([letter for letter in "abcdef0123456789" if letter != value[place]])
        holder[key] = value[:place] + other + value[place + 1 :]
    else:
        holder[key] = value + 1
    return f"{key!r}"


def _leaves(holder: Any, key: Any) -> Iterator[tuple[Any, Any]]:
    """Where the texts and numbers are that can be another one."""
    value = holder[key]
    if isinstance(value, dict):
        for name in value:
            yield from _leaves(value, name)
    elif isinstance(value, list):
        for index in range(len(value)):
            yield from _leaves(value, index)
    elif not isinstance(value, bool) and value not in (None, "") and key != "port":
        yield holder, key
