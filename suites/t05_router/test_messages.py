"""What the router decides is what becomes of messages: early exits ask no model, all else does, and is paid for."""

import random
from collections import Counter

import pytest
from _fixtures.evidence import Evidence
from _fixtures.shops import Shop
from _helpers.metrics import Counters, Restarted
from _helpers.model import ModelServer
from _helpers.properties import Property, check
from _helpers.replicas import replicas
from t05_router.golden import Asked, Golden
from t05_router.router import Router
from t05_router.talk import Routed, asked_for_route, choose, early, plain, say, strange, sure

MESSAGES = 12
TOKENS = 40
"""What a decision on a text in scope may cost, early exits counted as none: a fifth of what the model would cost."""
FAILING = "\n[[error 500 step=route]]"
FAILING_ONCE = "\n[[error 500 step=route times=1]]"


def test_messages_go_where_the_router_says(
    shop: Shop, router: Router, golden: Golden, seeded: random.Random, evidence: Evidence
) -> None:
    """Asked for the stored text, it gives the agent of each early exit, and is sure of no other."""
    routed = [say(shop, text, seeded) for text in choose(plain(golden.lines), MESSAGES, seeded)]
    answers = router.ask([message.text for message in routed], seeded)
    for message, answer in zip(routed, answers, strict=True):
        expected = "early" if answer.exit else "escalated"
        seen = f"the message's exit is {message.exit}, by what the router says expected {expected}"
        check(message.exit == expected, Property.ROUTE_COVERAGE, seen)
        if answer.exit:
            seen = f"the message is for {message.agent}, the router says {answer.agent}"
            check(message.agent == answer.agent, Property.ROUTE, seen)
    evidence("messages", len(routed))


def test_decisions_are_counted(shop: Shop, golden: Golden, seeded: random.Random, evidence: Evidence) -> None:
    """By the orchestrators' own counter, with agent and exit; others may use the platform too, so at least these."""
    counters = Counters(replicas("orchestrator"))
    texts = choose(sure(golden), MESSAGES // 2, seeded) + choose(strange(golden), 3, seeded)
    made = Counter((message.agent, message.exit) for message in (say(shop, text, seeded) for text in texts))
    for (agent, exit_), count in made.items():
        try:
            counted = counters.growth("router_decisions_total", agent=agent, exit=exit_)
        except Restarted as error:
            pytest.skip(f"inconclusive: {error}")
        seen = f"{counted:.0f} decisions {exit_} for {agent} counted, at least {count} were made"
        check(counted >= count, Property.METRIC_COUNT, seen)
    evidence("messages", len(texts))


@pytest.mark.mock_only
def test_early_exit_asks_no_model(
    shop: Shop, router: Router, model: ModelServer, golden: Golden, seeded: random.Random, evidence: Evidence
) -> None:
    """The model's ledger has calls of each message's trace, and none for its route; the usage is charged none."""
    for text in early(router, golden, MESSAGES, seeded):
        message = say(shop, text, seeded)
        check(message.exit == "early", Property.ROUTE_COVERAGE, f"exit {message.exit} of a plain message")
        calls = len(asked_for_route(model, message))
        seen = f"the model was asked {calls} times for the route of a message that exits early, expected 0"
        check(calls == 0 and message.usage is None, Property.TOKEN_COST, seen)
        others = len(model.calls(message.trace_id))
        check(others > 0, Property.TOKEN_COST, "the model's ledger has no call of the message's other steps")
    evidence("messages", MESSAGES)


@pytest.mark.mock_only
def test_out_of_scope_asks_the_model_once(
    shop: Shop, model: ModelServer, golden: Golden, seeded: random.Random, evidence: Evidence
) -> None:
    """The model's ledger has one call for the route of each, and the step is charged just that."""
    for text in choose(strange(golden), MESSAGES, seeded):
        _escalated(model, say(shop, text, seeded))
    evidence("messages", MESSAGES)


def _escalated(model: ModelServer, message: Routed) -> int:
    """The tokens of a decision that the model made, by its ledger."""
    calls = asked_for_route(model, message)
    seen = f"exit {message.exit}, {len(calls)} calls for the route, expected escalated and 1"
    check((message.exit, len(calls)) == ("escalated", 1), Property.ROUTE_OUT_OF_SCOPE, seen)
    witnessed = {name: calls[0][name] for name in ("prompt_tokens", "completion_tokens")}
    check(message.usage == witnessed, Property.TOKEN_COST, f"charged {message.usage}, the ledger has {witnessed}")
    return sum(witnessed.values())


@pytest.mark.mock_only
def test_cost_of_a_decision(
    shop: Shop, model: ModelServer, asked: Asked, seeded: random.Random, evidence: Evidence
) -> None:
    """Of all texts in scope: the share that is escalated, times what the ledger says of escalated ones."""
    left = [line for line, answer in asked.in_scope if not answer.exit]
    share = len(left) / len(asked.in_scope)
    texts = choose(plain(left), MESSAGES, seeded)
    messages = [say(shop, text, seeded) for text in texts]
    tokens = [_escalated(model, message) for message in messages if message.exit != "early"]
    if len(tokens) < MESSAGES // 2:  # redaction may change a text, but not many
        pytest.skip(f"inconclusive: {len(tokens)} of {MESSAGES} messages were escalated")
    cost = share * sum(tokens) / len(tokens)
    seen = f"a decision costs {cost:.1f} tokens: {share:.1%} at {sum(tokens) / len(tokens):.0f}, expected {TOKENS}"
    check(cost <= TOKENS, Property.TOKEN_COST, seen)
    evidence("messages", len(messages))


@pytest.mark.mock_only
def test_early_exit_needs_no_model_that_works(
    shop: Shop, router: Router, model: ModelServer, golden: Golden, seeded: random.Random, evidence: Evidence
) -> None:
    """Messages for which the model fails at every route: those that exit early are not stopped by it."""
    for text in early(router, golden, MESSAGES // 2, seeded, FAILING):
        message = say(shop, text, seeded)
        check(message.exit == "early", Property.ROUTE_COVERAGE, f"exit {message.exit}, the router says early")
        refused = [call["role"] for call in model.calls(message.trace_id) if call["status"] != 200]
        check(not refused, Property.TOKEN_COST, f"the model refused {refused} of a message that exits early")
    evidence("messages", MESSAGES // 2)


@pytest.mark.mock_only
def test_model_that_fails_once_is_asked_again(
    shop: Shop, model: ModelServer, golden: Golden, seeded: random.Random, evidence: Evidence
) -> None:
    """An escalated decision that the model refuses comes again with its task, and is charged once."""
    message = say(shop, choose(strange(golden), 1, seeded)[0] + FAILING_ONCE, seeded)
    statuses = [call["status"] for call in asked_for_route(model, message)]
    seen = f"exit {message.exit} after the answers {statuses}, expected escalated after 500, 200"
    check((message.exit, statuses) == ("escalated", [500, 200]), Property.ROUTE_OUT_OF_SCOPE, seen)
    evidence("messages")
