"""Whatever is sent to /route is decided or refused, never an error of the server, and repeated to nobody."""

import json
import random
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from _fixtures.evidence import Evidence
from _helpers.metrics import Counters, Restarted
from _helpers.properties import Property, check
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from t05_router.router import OTHER, Answer, Router

LONGEST = 10_240
EXAMPLES = 120
SECRET = "hidden-in-what-is-refused"
REFUSED = {
    "nothing": (b"", 422),
    "no JSON": (b"{" + SECRET.encode(), 400),
    "a list": (json.dumps([SECRET]).encode(), 422),
    "a number": (b'{"text": 1}', 422),
    "null": (b'{"text": null}', 422),
    "one field too many": (json.dumps({"text": "Where is my order?", SECRET: SECRET}).encode(), 422),
    "half a character": (b'{"text": "\\ud800 ' + SECRET.encode() + b'"}', 422),
    "no UTF-8": (b'{"text": "\xff' + SECRET.encode() + b'"}', 400),
    "one character too many": (json.dumps({"text": (SECRET * LONGEST)[: LONGEST + 1]}).encode(), 422),
    "1 MB": (json.dumps({"text": SECRET + "a" * 2**20}).encode(), 413),
    "deeper than any stack": (b"[" * 100_000, 400),
}
STRANGE = {
    "empty": "",
    "NUL": "\x00",
    "NUL in a sentence": "Where is\x00my order?",
    "bidi": "\u202eWhere is my order?\u2066\u200f",
    "nothing visible": "\u200b\u2060" * 50,
    "marks on marks": "Z" + "\u0301" * 5000,
    "one that grows eighteenfold": "\ufdfa" * LONGEST,
    "words to the limit": ("refund order " * LONGEST)[:LONGEST],
    "astral": "\U0001f6d2" * 300,
    "beyond Unicode's names": "\U0010fffd\ufffe\uffff",
}


def _sent(counters: Counters) -> float:
    try:
        return counters.growth("http_requests_total", method="POST", route="/route")
    except Restarted as error:
        pytest.skip(f"inconclusive: {error}")


def _decided(response: httpx.Response, what: str) -> Answer:
    """The decision in an answer; it follows from itself."""
    seen = f"{what}: {response.status_code}, expected 200"
    check(response.status_code == 200, Property.NO_SERVER_ERROR, seen)
    answer = Answer(**response.json())
    total = sum(answer.probabilities.values())
    check(abs(total - 1) < 1e-5, Property.ROUTE_CALIBRATED, f"probabilities sum to {total}, expected 1")
    likeliest = max(answer.probabilities.values())
    seen = f"the agent has the probability {answer.probability}, another one {likeliest}"
    check(answer.probability == likeliest, Property.ROUTE, seen)
    check(not (answer.exit and answer.agent == OTHER), Property.ROUTE_OUT_OF_SCOPE, f"{OTHER} is final")
    return answer


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_message_is_refused(router: Router, evidence: Evidence, what: str) -> None:
    """With the documented status, as a problem, and without a word of what was sent."""
    body, expected = REFUSED[what]
    response = router.send(body)
    status, kind, told = response.status_code, response.headers.get("Content-Type", ""), response.content
    check(status == expected, Property.PROBLEM, f"{what}: {status}, expected {expected}")
    right = kind.startswith("application/problem+json") and json.loads(told)["status"] == expected
    check(right, Property.PROBLEM, f"{what}: {kind} of {len(told)} bytes, expected a problem+json of status {expected}")
    check(SECRET.encode() not in told, Property.PII_ERROR, f"{what}: the refusal repeats what was sent")
    evidence("hostile")


def test_strange_texts_are_decided(router: Router, evidence: Evidence) -> None:
    """Each is a message that a customer may send, and what is visible of it decides."""
    counters = Counters(router.pods)
    answers = {}
    for what, text in STRANGE.items():
        response = router.send(json.dumps({"text": text}).encode())
        answers[what] = _decided(response, what)
    counted = _sent(counters)
    seen = f"the router's pods counted {counted:.0f} requests, sent were {len(STRANGE)}"
    check(counted >= len(STRANGE), Property.METRIC_COUNT, seen)
    for what in ("empty", "NUL", "nothing visible"):
        check(not answers[what].exit, Property.ROUTE_COVERAGE, f"{what}: it is sure of a text without a word")
    plain = _decided(router.send(b'{"text": "Where is my order?"}'), "a sentence")
    for what in ("NUL in a sentence", "bidi"):
        seen = f"{what}: {answers[what].agent}, without what nobody sees {plain.agent}"
        check(answers[what] == plain, Property.ROUTE_FEATURES, seen)
    evidence("hostile", len(STRANGE))


def _explore(what: st.SearchStrategy[Any], judge: Callable[[Any], None], chance: random.Random) -> None:
    """Have hypothesis try EXAMPLES examples, the same ones for the same seed."""
    bounded = settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[*HealthCheck],
    )
    seed(chance.getrandbits(32))(bounded(given(what)(judge)))()


def test_any_text_is_decided(router: Router, seeded: random.Random, evidence: Evidence) -> None:
    """Text of any characters, and the decisions on it differ as it does."""
    counters, answers = Counters(router.pods), []

    def judge(text: str) -> None:
        answers.append(_decided(router.send(json.dumps({"text": text}).encode()), f"{text[:40]!r}"))

    _explore(st.text(max_size=300), judge, seeded)
    counted = _sent(counters)
    seen = f"the router's pods counted {counted:.0f} requests, sent were {len(answers)}"
    check(counted >= len(answers), Property.METRIC_COUNT, seen)
    different = len({tuple(answer.probabilities.values()) for answer in answers})
    check(different > 10, Property.ROUTE_FEATURES, f"{different} different decisions on {len(answers)} texts")
    evidence("fuzzed", len(answers))


def test_any_json_is_decided_or_refused(router: Router, seeded: random.Random, evidence: Evidence) -> None:
    counters, statuses = Counters(router.pods), []
    leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    value = st.recursive(leaf, lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(max_size=9), x, max_size=4))
    near = st.fixed_dictionaries({"text": value}, optional={"more": value})

    def judge(body: Any) -> None:
        response = router.send(json.dumps(body).encode())
        status, kind = response.status_code, response.headers.get("Content-Type", "")
        wanted = isinstance(body, dict) and [*body] == ["text"] and isinstance(body["text"], str)
        expected = (200,) if wanted else (400, 422)
        check(status in expected, Property.NO_SERVER_ERROR, f"{status} to {str(body)[:80]!r}, expected {expected}")
        right = kind.startswith("application/json" if wanted else "application/problem+json")
        check(right, Property.PROBLEM, f"{status} as {kind} to {str(body)[:80]!r}")
        statuses.append(status)

    _explore(near | value, judge, seeded)
    counted = _sent(counters)
    seen = f"the router's pods counted {counted:.0f} requests, sent were {len(statuses)}"
    check(counted >= len(statuses), Property.METRIC_COUNT, seen)
    evidence("fuzzed", len(statuses))
