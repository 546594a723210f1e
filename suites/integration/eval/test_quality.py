"""The quality of answers, by labelled questions: exact facts and sources, and no judge that would itself need one."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from _fixtures.evidence import Evidence
from _fixtures.shops import Platform, Shop
from _helpers.bounds import lower_bound
from _helpers.properties import Property, check

HERE = Path(__file__).parent
CORPORA: dict[str, list[dict[str, Any]]] = yaml.safe_load((HERE / "corpora.yaml").read_text(encoding="utf-8"))
CASES: list[dict[str, Any]] = yaml.safe_load((HERE / "cases.yaml").read_text(encoding="utf-8"))
MUST = [case for case in CASES if case.get("must")]
QUALITY, CONFIDENCE = 0.9, 0.95
"""We must be so sure that so many questions like these are answered right: of 68 cases, 2 may be wrong."""
AT_ONCE = {"MOCK": 4, "GOLDEN": 1}
"""Cases asked together. Which of them gets which conversation is chance, and a cassette has only one of the ways."""


@contextmanager
def _open(platform: Platform, seed: int, corpus: str) -> Iterator[Shop]:
    """A shop that has the documents of a corpus and no others."""
    with platform.open_shop(seed) as shop:
        documents = CORPORA[corpus]
        stored = shop.alice.request("POST", "/v1/documents:batch", json={"documents": documents})
        if stored.status_code != 200:
            raise RuntimeError(f"POST /v1/documents:batch gave {stored.status_code}, expected 200")
        yield shop


def _wrong(shop: Shop, case: dict[str, Any]) -> tuple[Property, str] | None:
    """The first way in which a case is answered wrongly: the property that it breaks, and what was seen."""
    user = shop.user(case.get("user", "alice"))
    conversation = None
    for text in case["says"]:
        episode = user.say(text, conversation)
        conversation = episode["conversation"]
    reply = episode["reply"] or ""
    retrieved = shop.rows("episode_steps", episode_id=episode["episode_id"], step="retrieve")
    if episode["state"] != "done" or not retrieved:
        return Property.EPISODE_ENDS, f"the episode is {episode['state']}, with {len(retrieved)} look-ups"
    sources = {document["document_id"]: document["body"] for document in retrieved[0]["output"]["documents"]}
    given = [name for name, body in sources.items() if body in reply]
    for name in case.get("never", []):
        if name in sources:
            return Property.USER_READ, f"{name} was found for {user.name}, who may not read it"
    for words in case.get("absent", []):
        if words in reply:
            return Property.USER_READ if "never" in case else Property.ANSWER, f"the answer has {words!r}: {reply!r}"
    if "agent" in case and episode["intent"] != case["agent"]:
        return Property.ROUTE, f"answered by {episode['intent']}, expected {case['agent']}"
    if case.get("unanswerable") and given:
        return Property.ANSWER, f"an answer from {given} to what no document tells"
    if "cites" in case and not set(case["cites"]) & set(given):
        return Property.ANSWER, f"the source is {given or 'none'} of {sorted(sources)}, expected {case['cites']}"
    missing = [words for words in case.get("facts", []) if words not in reply]
    if missing:
        return Property.ANSWER, f"the answer lacks {missing}: {reply!r}"
    return None


@pytest.mark.parametrize("case", MUST, ids=[case["id"] for case in MUST])
def test_case_that_must_be_right(
    platform: Platform, seeded: random.Random, evidence: Evidence, case: dict[str, Any]
) -> None:
    """Context is kept over turns, nobody is told what they may not read, and what nobody knows is not made up."""
    with _open(platform, seeded.getrandbits(32), case["shop"]) as shop:
        wrong = _wrong(shop, case)
    if wrong:
        check(False, wrong[0], f"{case['id']}: {wrong[1]}")
    evidence("must-cases")


def test_quality_of_all_cases(platform: Platform, seeded: random.Random, evidence: Evidence) -> None:
    """Of all cases so many are right that, with the stated confidence, so are most questions like them."""
    wrong = {}
    for corpus in CORPORA:
        cases = seeded.sample(ours := [case for case in CASES if case["shop"] == corpus], len(ours))
        with (
            _open(platform, seeded.getrandbits(32), corpus) as shop,
            ThreadPoolExecutor(AT_ONCE[platform.target.mode]) as pool,
        ):
            for case, outcome in zip(cases, pool.map(lambda case: _wrong(shop, case), cases), strict=True):
                if outcome:
                    wrong[case["id"]] = outcome
    n = len(CASES)
    bound = lower_bound(n - len(wrong), n, CONFIDENCE)
    seen = f"{n - len(wrong)} of {n} right, so at least {bound:.3f} with {CONFIDENCE:.0%} confidence"
    check(bound >= QUALITY, Property.ANSWER_QUALITY, f"{seen}, expected {QUALITY}; wrong: {sorted(wrong)}")
    evidence("cases", n)
