"""Messages that can be sent, and what became of their decision: the row of its step, and the calls of the model."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from _fixtures.shops import Shop
from _helpers.client import accepted
from _helpers.model import ModelServer, new_trace
from _helpers.properties import Property, check
from t05_router.golden import Golden, Line
from t05_router.router import OTHER, Router

SURE = 0.97
"""Texts for single messages are chosen well away from the threshold, so that another version decides them alike."""


@dataclass(frozen=True)
class Routed:
    """How a message was routed."""

    text: str
    """As it is stored, so as the router was asked."""
    trace_id: str
    agent: str
    exit: str
    """`early`, or the model decided: `escalated` (the router is not sure), `fallback` (it does not answer)."""
    usage: dict[str, int] | None
    """The tokens that the decision cost, if the model made it."""


def say(shop: Shop, text: str, chance: random.Random) -> Routed:
    """Have alice say something in a trace of its own, to its end; gives how the rows say that it was routed."""
    trace_id, headers = new_trace(shop.tenant_id, chance)
    episode_id = accepted(shop.alice.request("POST", "/v1/messages", json={"text": text}, headers=headers))
    ended = shop.alice.wait(episode_id)
    check(ended["state"] == "done", Property.EPISODE_ENDS, f"the episode is {ended['state']}, expected done")
    steps = shop.rows("episode_steps", episode_id=episode_id, step="route")
    check(len(steps) == 1, Property.STEP_ORDER, f"{len(steps)} rows of the step route, expected 1")
    (stored,) = shop.rows("messages", episode_id=episode_id, role="user")
    decided: dict[str, Any] = steps[0]["output"]
    return Routed(stored["content"], trace_id, decided["agent"], decided["exit"], decided.get("usage"))


def asked_for_route(model: ModelServer, routed: Routed) -> list[dict[str, Any]]:
    """The calls for the decision of a message, by the model's ledger."""
    return [call for call in model.calls(routed.trace_id) if call["role"] == "route"]


def plain(lines: Sequence[Line]) -> list[Line]:
    """Texts without directions to the scripted model: some of the corpus have a hold, which nobody here releases."""
    return [line for line in lines if "[[" not in line.text]


def sure(golden: Golden) -> list[Line]:
    """Texts that exit."""
    return [line for line in plain(golden.lines) if line.exit and line.agent == line.label and line.probability >= SURE]


def early(router: Router, golden: Golden, count: int, chance: random.Random, ending: str = "") -> list[str]:
    """Texts with this ending that exit, as the router says whatever its version is.

    Skips as inconclusive where these are too few among twice as many that should.
    """
    texts = [text + ending for text in choose(sure(golden), 2 * count, chance)]
    exits = [text for text, answer in zip(texts, router.ask(texts, chance), strict=True) if answer.exit]
    if len(exits) < count:
        pytest.skip(f"inconclusive: {len(exits)} of {len(texts)} texts exit, {count} are needed")
    return exits[:count]


def strange(golden: Golden) -> list[Line]:
    """What is out of scope, and known as that: a router in which `other` may be final exits with it."""
    return [line for line in plain(golden.lines) if line.label == line.agent == OTHER and line.probability >= SURE]


def choose(lines: Sequence[Line], count: int, chance: random.Random) -> list[str]:
    return [line.text for line in chance.sample(lines, count)]
