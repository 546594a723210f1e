"""What a tenant is charged in tokens, beside the ledger of the model that it was charged for."""

import random
from collections.abc import Iterable
from typing import Any

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform, Tenant
from _fixtures.tenants import MakeTenant
from _helpers.client import User, accepted
from _helpers.model import ModelServer, new_trace
from _helpers.properties import Property, check

pytestmark = pytest.mark.mock_only

Tokens = tuple[int, int]
TEXTS = [
    "How can I return goods?",
    "I want to buy 2 Blue Mug, please",
    "I want to buy 1 Mug, pay with tok_visa and ship it to Austria",
    "I want to talk to a human please",
    "Where is my order?",
]
COSTS = {
    "I want to buy 2 Blue Mug, please": (347, 67),
    "Where is my order?": (281, 34),
}
"""Prompt and completion tokens of a message that is the first of the tenant with seed 1 and no documents."""
COST_TOLERANCE = 0.1


def _say(made: Tenant, text: str, seeded: random.Random) -> tuple[str, str]:
    """Have alice say something in a trace of its own, to its end; gives episode and trace."""
    user = made.users["alice"]
    trace_id, headers = new_trace(made.tenant_id, seeded)
    episode_id = accepted(user.request("POST", "/v1/messages", json={"text": text}, headers=headers))
    ended = user.wait(episode_id)
    check(ended["state"] == "done", Property.EPISODE_ENDS, f"the episode is {ended['state']}, expected done")
    return episode_id, trace_id


def _witnessed(model: ModelServer, trace_id: str) -> Tokens:
    """Tokens of the calls of a trace that were answered, by the model's ledger."""
    return _sum(call for call in model.calls(trace_id) if call["status"] == 200)


def _sum(rows: Iterable[dict[str, Any]]) -> Tokens:
    pairs = [(row["prompt_tokens"], row["completion_tokens"]) for row in rows]
    return sum(prompt for prompt, _ in pairs), sum(completion for _, completion in pairs)


def _told(user: User) -> dict[str, Any]:
    answer = user.request("GET", "/v1/usage")
    check(answer.status_code == 200, Property.TOKENS_COUNTED, f"GET /v1/usage gave {answer.status_code}, expected 200")
    usage: dict[str, Any] = answer.json()
    return usage


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_episode_is_charged_what_the_model_was_asked(
    platform: Platform, tenant: MakeTenant, model: ModelServer, seeded: random.Random, evidence: Evidence, text: str
) -> None:
    """The usage row of an episode is the sum over the ledger's rows of its trace, prompt and completion apart."""
    made = tenant(seed=seeded.getrandbits(31))
    episode_id, trace_id = _say(made, text, seeded)
    calls = model.calls(trace_id)
    check(
        len(calls) > 0, Property.TOKENS_COUNTED, "the model's ledger has no call of this trace, expected at least one"
    )
    charged = _sum(platform.database.rows("usage", made.tenant_id, episode_id=episode_id))
    witnessed = _witnessed(model, trace_id)
    check(
        charged == witnessed, Property.TOKENS_COUNTED, f"charged {charged} tokens, the model's ledger has {witnessed}"
    )
    evidence("ledger-rows", len(calls))


def test_usage_of_a_tenant_is_the_sum_over_its_episodes(
    platform: Platform, tenant: MakeTenant, model: ModelServer, seeded: random.Random, evidence: Evidence
) -> None:
    """GET /v1/usage of each of two tenants is what its own traces cost, and nothing of the other's."""
    tenants = [tenant(seed=seeded.getrandbits(31)) for _ in range(2)]
    traces: dict[str, list[str]] = {made.tenant_id: [] for made in tenants}
    for number, text in enumerate(seeded.sample(TEXTS, 4)):
        made = tenants[number % 2]
        traces[made.tenant_id].append(_say(made, text, seeded)[1])
    for made in tenants:
        usage = _told(made.users["alice"])
        costs = [_witnessed(model, trace_id) for trace_id in traces[made.tenant_id]]
        expected = len(costs), sum(prompt for prompt, _ in costs), sum(completion for _, completion in costs)
        told = usage["episodes"], usage["prompt_tokens"], usage["completion_tokens"]
        seen = f"usage (episodes, prompt, completion) {told}, the model's ledger {expected}"
        check(told == expected, Property.TOKENS_COUNTED, seen)
        stored = _sum(platform.database.rows("usage", made.tenant_id))
        check(stored == told[1:], Property.TOKENS_COUNTED, f"usage tells {told[1:]} tokens, its rows have {stored}")
        evidence("ledger-rows", sum(len(model.calls(trace_id)) for trace_id in traces[made.tenant_id]))


def test_failed_call_is_not_charged(
    platform: Platform, tenant: MakeTenant, model: ModelServer, seeded: random.Random, evidence: Evidence
) -> None:
    """A call that the model refused and that was made again is charged once."""
    made = tenant(seed=seeded.getrandbits(31))
    episode_id, trace_id = _say(made, "[[error 500 times=1]] I want to buy 1 Mug", seeded)
    refused = [call["role"] for call in model.calls(trace_id) if call["status"] != 200]
    check(refused == ["compose"], Property.TOKENS_COUNTED, f"calls that the model refused: {refused}, expected compose")
    charged = _sum(platform.database.rows("usage", made.tenant_id, episode_id=episode_id))
    witnessed = _witnessed(model, trace_id)
    check(charged == witnessed, Property.TOKENS_COUNTED, f"charged {charged} tokens, answered ones cost {witnessed}")
    evidence("ledger-rows", len(model.calls(trace_id)))


@pytest.mark.parametrize("text", COSTS, ids=["order", "tracking"])
def test_journey_costs_what_it_is_known_to_cost(
    tenant: MakeTenant, model: ModelServer, seeded: random.Random, evidence: Evidence, text: str
) -> None:
    """The tokens of a known journey, by the model's ledger, are the known ones within a tenth."""
    _, trace_id = _say(tenant(seed=1), text, seeded)
    cost = _witnessed(model, trace_id)
    for what, seen, known in zip(("prompt", "completion"), cost, COSTS[text], strict=True):
        near = abs(seen - known) <= COST_TOLERANCE * known
        check(near, Property.TOKEN_COST, f"{seen} {what} tokens, known are {known} within {COST_TOLERANCE:.0%}")
    evidence("ledger-rows", len(model.calls(trace_id)))


def test_requests_of_a_window_are_counted(tenant: MakeTenant, seeded: random.Random, evidence: Evidence) -> None:
    """Usage tells exactly the requests of the tenant's window, those of all its users together and itself too."""
    users = [{"name": name, "scopes": ["orders:read", "usage:read"]} for name in ("alice", "bob")]
    made = tenant(seed=seeded.getrandbits(31), quota={"limit": 1000, "window": 3600}, users=users)
    sent = {name: seeded.randint(3, 9) for name in made.users}
    for name, count in sent.items():
        for _ in range(count):
            made.users[name].request("GET", "/v1/orders")
    told, expected = _told(made.users["bob"])["requests"], sum(sent.values()) + 1
    check(told == expected, Property.QUOTA_EXACT, f"{told} requests in the window, expected {expected}")
    evidence("requests", expected)
