"""MOCK, GOLDEN and LIVE_SMOKE from a tenant's message to the ledgers of both models."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
from _fixtures.evidence import Evidence
from _fixtures.factories import make_world
from _helpers.cassettes import CassetteProxy
from _helpers.model import new_trace
from _helpers.properties import Property, check
from _helpers.target import GOLDEN_SEED
from t01_scaffolding.tenants import MoveIn, Resident, all_done
from t01_scaffolding.wire import NewName, Wire, Witnesses, some_chat

CONVERSATION = 5
COMMITTED = Path(__file__).parent / "cassettes" / "scaffolding.jsonl"
MOST_CALLS = 500


def prompts(witnesses: Witnesses, resident: Resident) -> list[str]:
    """The hashes of what the first model was asked for a resident, in order."""
    return [call["key"] for call in witnesses.first.calls(resident.trace_id)]


def test_mock_is_deterministic(move_in: MoveIn, witnesses: Witnesses, seeded: Random, evidence: Evidence) -> None:
    """Two tenants with one seed that say the same at the same time ask the same prompts and get the same replies."""
    world = make_world(seeded.getrandbits(53))
    one, other = move_in(world, "MOCK"), move_in(world, "MOCK")
    with ThreadPoolExecutor(2) as pool:
        for episodes in pool.map(lambda resident: resident.talk(CONVERSATION), (one, other)):
            check(not all_done(episodes), Property.EPISODE_ENDS, f"an episode in MOCK: {all_done(episodes)}")
    asked, again = prompts(witnesses, one), prompts(witnesses, other)
    check(len(asked) >= CONVERSATION, Property.MODE_UPSTREAM, f"{len(asked)} calls for {CONVERSATION} messages in MOCK")
    equal = sum(a == b for a, b in zip(asked, again, strict=False))
    seen = f"{equal} of {len(asked)} and {len(again)} prompts are equal, expected all"
    check(asked == again, Property.PROMPT_DETERMINISTIC, seen)
    same = one.replies() == other.replies() and len(one.replies()) == CONVERSATION
    check(same, Property.PROMPT_DETERMINISTIC, f"{one.replies()} and {other.replies()}, expected equal replies")
    evidence("prompts", len(asked) + len(again))


def test_another_seed_asks_otherwise(move_in: MoveIn, witnesses: Witnesses, seeded: Random) -> None:
    """The seed reaches the model: tenants that differ in nothing but the seed share no prompt."""
    world = make_world(seeded.getrandbits(53))
    one, other = move_in(world, "MOCK"), move_in(world.with_seed(world.seed + 1), "MOCK")
    for resident in (one, other):
        resident.talk(2)
    asked, others = prompts(witnesses, one), prompts(witnesses, other)
    check(bool(asked) and bool(others), Property.MODE_UPSTREAM, f"{len(asked)} and {len(others)} calls, expected some")
    shared = len(set(asked) & set(others))
    check(shared == 0, Property.PROMPT_DETERMINISTIC, f"{shared} prompts of two seeds are equal, expected 0")


def test_golden_replays_a_conversation(
    move_in: MoveIn,
    cassette_proxy: CassetteProxy,
    witnesses: Witnesses,
    new_cassette: NewName,
    seeded: Random,
    evidence: Evidence,
) -> None:
    """What one tenant recorded serves another with its seed: equal replies at an equal cost, and no model is asked."""
    world, name = make_world(seeded.getrandbits(53)), new_cassette()
    first = move_in(world, "GOLDEN")
    with cassette_proxy.record(name):
        recorded = first.talk(CONVERSATION)
    check(not all_done(recorded), Property.EPISODE_ENDS, f"an episode that is recorded: {all_done(recorded)}")
    second = move_in(world, "GOLDEN")
    replayed = second.talk(CONVERSATION)
    # A prompt that differs between two tenants is a miss of the second.
    check(not all_done(replayed), Property.PROMPT_DETERMINISTIC, f"an episode that is replayed: {all_done(replayed)}")
    asked = witnesses.asked(first.trace_id), witnesses.asked(second.trace_id)
    lines = len(cassette_proxy.text(name).splitlines())
    seen = f"{asked[0]} calls while {lines} interactions were recorded, expected ({lines}, 0)"
    check(asked[0] == (lines, 0) and lines >= CONVERSATION, Property.MODE_UPSTREAM, seen)
    check(asked[1] == (0, 0), Property.REPLAY_OFFLINE, f"{asked[1]} calls while replaying, expected (0, 0)")
    same = first.replies() == second.replies() and len(first.replies()) == CONVERSATION
    check(same, Property.REPLAY_IDENTICAL, f"{first.replies()} and {second.replies()}, expected equal replies")
    cost = f"recorded {first.tokens()}, replayed {second.tokens()}, expected equal tokens"
    check(first.tokens() == second.tokens(), Property.TOKEN_COST, cost)
    unused = cassette_proxy.unused(name)
    check(not unused, Property.CASSETTE_TOLD, f"{len(unused)} interactions are unused after a whole replay")
    mock = move_in(world, "MOCK")
    mock.talk(1)
    called = witnesses.asked(mock.trace_id)
    check(called[0] > 0, Property.MODE_UPSTREAM, f"{called} calls in MOCK of what was recorded, expected some")
    evidence("interactions", lines)


def test_tenants_with_one_seed_record_one_cassette(
    move_in: MoveIn, cassette_proxy: CassetteProxy, new_cassette: NewName, seeded: Random, evidence: Evidence
) -> None:
    """Two tenants with one seed, each recorded from nothing: the cassettes are equal to the byte."""
    world, made = make_world(seeded.getrandbits(53)), []
    for _ in range(2):
        name = new_cassette()
        with cassette_proxy.record(name):
            move_in(world, "GOLDEN").talk(CONVERSATION)
        made.append(cassette_proxy.text(name))
        cassette_proxy.remove(name)
    ids = [[json.loads(line)["id"] for line in text.splitlines()] for text in made]
    equal = len(set(ids[0]) & set(ids[1]))
    seen = f"{equal} keys of {len(ids[0])} and {len(ids[1])} are equal, expected all"
    check(ids[0] == ids[1], Property.PROMPT_DETERMINISTIC, seen)
    check(len(ids[0]) >= CONVERSATION, Property.MODE_UPSTREAM, f"{len(ids[0])} interactions were recorded")
    check(made[0] == made[1], Property.PROMPT_DETERMINISTIC, "equal keys, but the cassettes differ in the answers")
    evidence("interactions", len(ids[0]) + len(ids[1]))


def test_golden_miss_is_an_error_of_the_episode(
    move_in: MoveIn, witnesses: Witnesses, wire: Wire, seeded: Random, evidence: Evidence
) -> None:
    """A conversation that nobody recorded fails at the model, is told as cassette-miss, and no model is asked."""
    resident = move_in(make_world(seeded.getrandbits(53)), "GOLDEN")
    (episode,) = resident.talk(1)
    check(episode["state"] == "failed", Property.REPLAY_STRICT, f"a miss is {episode['state']}, expected failed")
    (row,) = resident.rows("episodes", episode_id=episode["episode_id"]) or [{"state": "not in the database"}]
    check(row["state"] == "failed", Property.REPLAY_STRICT, f"the episode is {row['state']}, expected failed")
    asked = witnesses.asked(resident.trace_id)
    check(asked == (0, 0), Property.REPLAY_OFFLINE, f"a miss asked the models {asked} times, expected (0, 0)")
    answer = wire.ask(some_chat(seeded, stream=False), headers=resident.headers)
    seen = f"a chat that was not recorded gave {answer.status} {answer.code}, expected 404 cassette-miss"
    check((answer.status, answer.code) == (404, "cassette-miss"), Property.REPLAY_STRICT, seen)
    evidence("misses", 2)


def test_committed_cassette_is_still_what_is_asked(
    move_in: MoveIn, cassette_proxy: CassetteProxy, witnesses: Witnesses, evidence: Evidence
) -> None:
    """The committed cassette answers a conversation of its seed to the end: no prompt has changed since."""
    if not cassette_proxy.recording():
        cassette_proxy.put(COMMITTED.stem, COMMITTED.read_text(encoding="utf-8"))
    resident = move_in(make_world(GOLDEN_SEED), "GOLDEN")
    episodes = resident.talk(CONVERSATION)
    check(not all_done(episodes), Property.PROMPT_DETERMINISTIC, f"an episode by the cassette: {all_done(episodes)}")
    replies = len(resident.replies())
    check(replies == CONVERSATION, Property.REPLAY_IDENTICAL, f"{replies} replies, expected {CONVERSATION}")
    asked = witnesses.asked(resident.trace_id)
    if not cassette_proxy.recording():
        check(asked == (0, 0), Property.REPLAY_OFFLINE, f"a replay asked the models {asked} times, expected (0, 0)")
        unused = cassette_proxy.unused(COMMITTED.stem)
        check(not unused, Property.CASSETTE_TOLD, f"{len(unused)} committed interactions are unused, expected 0")
    evidence("messages", CONVERSATION)


@pytest.mark.smoke
def test_live_smoke_asks_the_live_upstream(
    move_in: MoveIn, cassette_proxy: CassetteProxy, witnesses: Witnesses, seeded: Random, evidence: Evidence
) -> None:
    """Offline the second model is the live upstream: its ledger has the calls, as many as were counted, and no more."""
    if refusal := cassette_proxy.refusal_of_live_call():
        pytest.skip(f"inconclusive: the proxy makes no live call: {refusal}")
    before, resident = cassette_proxy.live(), move_in(make_world(seeded.getrandbits(53)), "LIVE_SMOKE")
    episodes = resident.talk(2)
    spent = cassette_proxy.live()
    if spent["calls"] >= spent["max_calls"]:
        pytest.skip("inconclusive: the ceiling was reached on the way")
    check(not all_done(episodes), Property.EPISODE_ENDS, f"an episode in LIVE_SMOKE: {all_done(episodes)}")
    first, second = witnesses.asked(resident.trace_id)
    check(first == 0, Property.MODE_UPSTREAM, f"{first} calls of the first model in LIVE_SMOKE, expected 0")
    check(second >= 2, Property.MODE_UPSTREAM, f"{second} calls of the second model, expected 2 at least")
    counted = spent["calls"] - before["calls"]
    check(counted >= second, Property.LIVE_CEILING, f"{counted} calls counted, {second} made, expected no fewer")
    within = spent["calls"] <= spent["max_calls"]
    check(within, Property.LIVE_CEILING, f"{spent['calls']} calls, ceiling {spent['max_calls']}")
    evidence("live_calls", second)


@pytest.mark.mock_only
def test_ceiling_of_calls(
    cassette_proxy: CassetteProxy, wire: Wire, witnesses: Witnesses, new_cassette: NewName, seeded: Random
) -> None:
    """Calls go to the live upstream until their ceiling is reached, then none does, and the refusal has a name."""
    _only_if_free(cassette_proxy, wire, witnesses, new_cassette, seeded)
    most = cassette_proxy.live()["max_calls"]
    if most > MOST_CALLS:
        pytest.skip(f"inconclusive: a ceiling of {most} calls is not reached in time")
    trace_id, headers = new_trace(new_cassette(), seeded)
    chat = some_chat(seeded, stream=False)
    try:
        answers = [wire.ask(chat, "LIVE_SMOKE", headers) for _ in range(most + 3)]
        asked, spent = witnesses.asked(trace_id), cassette_proxy.live()
    finally:
        cassette_proxy.reset_live()
    refused = [(answer.status, answer.code) for answer in answers[most:]]
    seen = f"after {most} calls {refused}, expected 429 ceiling-reached"
    check(refused == [(429, "ceiling-reached")] * 3, Property.LIVE_CEILING, seen)
    check(asked == (0, most), Property.LIVE_CEILING, f"the models were asked {asked} times, expected (0, {most})")
    check(spent["calls"] == most, Property.LIVE_CEILING, f"{spent['calls']} calls counted, expected {most}")


@pytest.mark.mock_only
def test_ceiling_of_tokens(
    cassette_proxy: CassetteProxy, wire: Wire, witnesses: Witnesses, new_cassette: NewName, seeded: Random
) -> None:
    """A call that passes the ceiling of tokens is the last one, though the ceiling of calls is far."""
    _only_if_free(cassette_proxy, wire, witnesses, new_cassette, seeded)
    most = cassette_proxy.live()["max_tokens"]
    if most > 1_000_000:
        pytest.skip(f"inconclusive: a ceiling of {most} tokens is not reached in time")
    trace_id, headers = new_trace(new_cassette(), seeded)
    chat = some_chat(seeded, stream=False)
    # A bit more than half of the ceiling: one token has about 4 bytes.
    chat["messages"][0]["content"] += " more" * (most * 11 // 25)
    try:
        codes = [wire.ask(chat, "LIVE_SMOKE", headers).code for _ in range(4)]
        asked, spent = witnesses.asked(trace_id), cassette_proxy.live()
    finally:
        cassette_proxy.reset_live()
    expected = ["", "", "ceiling-reached", "ceiling-reached"]
    check(codes == expected, Property.LIVE_CEILING, f"calls of half the ceiling gave {codes}, expected {expected}")
    check(asked == (0, 2), Property.LIVE_CEILING, f"the models were asked {asked} times, expected (0, 2)")
    rows = witnesses.second.calls(trace_id)
    cost = sum(row["prompt_tokens"] + row["completion_tokens"] for row in rows)
    check(spent["tokens"] == cost, Property.LIVE_CEILING, f"{spent['tokens']} tokens counted, ledger {cost}")


def _only_if_free(
    proxy: CassetteProxy, wire: Wire, witnesses: Witnesses, new_cassette: NewName, seeded: Random
) -> None:
    """Begin again, if the live upstream is the second model; a ceiling is not tried with anybody's money."""
    if refusal := proxy.refusal_of_live_call():
        if "ceiling-reached" not in refusal:
            pytest.skip(f"inconclusive: the proxy makes no live call: {refusal}")
        proxy.reset_live()
    trace_id, headers = new_trace(new_cassette(), seeded)
    wire.ask(some_chat(seeded, stream=False), "LIVE_SMOKE", headers)
    if witnesses.asked(trace_id) != (0, 1):
        pytest.skip("inconclusive: the live upstream is not the second model")
    proxy.reset_live()
