"""The proxy as the platform's pods see it: what it replays, what it misses, and what it tells of its cassettes."""

import hashlib
import json
from random import Random
from typing import Any

import rfc8785
from _fixtures.evidence import Evidence
from _helpers.cassettes import CassetteProxy
from _helpers.model import new_trace
from _helpers.properties import Property, check
from t01_scaffolding.wire import INTERACTIONS, REPLAYS, NewName, Recording, Replays, Reply, Wire, Witnesses, some_chat

MUTATIONS = 50


def id_of(chat: dict[str, Any]) -> str:
    """The id of a chat without secrets, computed here: the beginning of the SHA-256 of the canonical request."""
    request = {"method": "POST", "path": "/v1/chat/completions", "body": chat}
    return hashlib.sha256(rfc8785.dumps(request)).hexdigest()[:16]


def test_replays_are_byte_identical(replays: Replays, evidence: Evidence) -> None:
    """Three replays of 200 interactions are the recorded answers: heads, bytes, and the bounds of the chunks."""
    first = replays.answers[0]
    for number, replay in enumerate(replays.answers, 1):
        wrong = sum(now.raw != then.raw for now, then in zip(replay, first, strict=True))
        check(wrong == 0, Property.REPLAY_IDENTICAL, f"{wrong} answers of replay {number} differ, expected 0")
        evidence("replays", len(replay))
    changed = sum(now.body != then.body for now, then in zip(first, replays.of.answers, strict=True))
    check(changed == 0, Property.REPLAY_IDENTICAL, f"{changed} replays are not what was recorded, expected 0")
    different = len({replay.raw for replay in first})
    seen = f"{different} different answers to {INTERACTIONS} different chats, expected {INTERACTIONS}"
    check(different == INTERACTIONS, Property.REPLAY_STRICT, seen)


def test_streams_are_replayed_event_by_event(replays: Replays, evidence: Evidence) -> None:
    """Each chunk of a replayed stream is one whole event, so a client sees the parts that the model sent."""
    for chat, answer in zip(replays.of.chats, replays.answers[0], strict=True):
        if "stream" in chat:
            chunks = answer.chunks
            whole = all(chunk.startswith(b"data: ") and chunk.find(b"\n\n") == len(chunk) - 2 for chunk in chunks)
            check(whole, Property.REPLAY_IDENTICAL, f"the {len(chunks)} chunks of a stream are not one event each")
            check(len(chunks) > 5, Property.REPLAY_IDENTICAL, f"a stream of {len(chunks)} events, expected the parts")
            evidence("events", len(chunks))


def test_replays_ask_nobody(replays: Replays, witnesses: Witnesses) -> None:
    """What was recorded is in the first model's ledger once; what is replayed is in no ledger."""
    recorded = witnesses.asked(replays.of.trace_id)
    seen = f"recording {INTERACTIONS} chats asked the models {recorded} times, expected ({INTERACTIONS}, 0)"
    check(recorded == (INTERACTIONS, 0), Property.REPLAY_OFFLINE, seen)
    served = sum(answer.status == 200 for replay in replays.answers for answer in replay)
    expected = REPLAYS * INTERACTIONS
    check(served == expected, Property.REPLAY_IDENTICAL, f"{served} replays gave 200, expected {expected}")
    asked = witnesses.asked(replays.trace_id)
    check(asked == (0, 0), Property.REPLAY_OFFLINE, f"replays asked the models {asked} times, expected (0, 0)")


def test_mutated_prompts_miss(
    recording: Recording, wire: Wire, witnesses: Witnesses, seeded: Random, evidence: Evidence
) -> None:
    """One character of a message is another: 50 of 50 are errors named cassette-miss, and no model is asked."""
    trace_id, headers = new_trace(recording.cassette, seeded)
    for number in range(MUTATIONS):
        mutated = _with_another_character(seeded.choice(recording.chats), seeded)
        answer = wire.ask(mutated, headers=headers)
        _check_missed(answer, f"mutation {number + 1} of {MUTATIONS}")
        evidence("mutations")
    asked = witnesses.asked(trace_id)
    check(asked == (0, 0), Property.REPLAY_OFFLINE, f"misses asked the models {asked} times, expected (0, 0)")


def test_every_member_of_the_body_counts(recording: Recording, wire: Wire, seeded: Random) -> None:
    """A chat that differs in any member besides its messages is another chat."""
    chat = seeded.choice([chat for chat in recording.chats if "stream" not in chat])
    others: dict[str, Any] = {"seed": chat["seed"] + 1, "temperature": 0.5, "model": "another", "stream": True}
    others |= {"metadata": {"step": "another"}, "tools": [], "response_format": {"type": "json_object"}}
    others |= {"messages": [*chat["messages"], {"role": "user", "content": "And?"}]}
    for member, value in others.items():
        _check_missed(wire.ask(chat | {member: value}), f"a chat with another {member}")


def test_order_of_members_does_not_count(recording: Recording, wire: Wire, seeded: Random) -> None:
    """The key is that of the canonical form, so a client that writes the members in another order is answered."""
    indices = seeded.sample(range(INTERACTIONS), 20)
    different = len({recording.answers[index].body for index in indices})
    check(different == 20, Property.REPLAY_STRICT, f"{different} different answers to 20 different chats")
    for index in indices:
        chat = recording.chats[index]
        turned = {name: chat[name] for name in seeded.sample(list(chat), len(chat))}
        turned["messages"] = [dict(reversed(message.items())) for message in chat["messages"]]
        same = wire.ask(turned).body == recording.answers[index].body
        check(same, Property.CASSETTE_KEY, "a chat with its members in another order is not replayed")


def test_ids_are_hashes_of_the_requests(recording: Recording, cassette_proxy: CassetteProxy) -> None:
    """The ids of a cassette are those computed here from the chats by RFC 8785 and SHA-256."""
    kept = [json.loads(line)["id"] for line in cassette_proxy.text(recording.cassette).splitlines()]
    expected = sorted(id_of(chat) for chat in recording.chats)
    check(kept == expected, Property.CASSETTE_KEY, f"{len(set(kept) & set(expected))} of {len(expected)} ids are right")


def test_cassette_with_a_wrong_id_is_refused(
    recording: Recording, cassette_proxy: CassetteProxy, new_cassette: NewName, seeded: Random
) -> None:
    """An interaction under the id of another request would be an answer to something else."""
    one, other = seeded.sample(cassette_proxy.text(recording.cassette).splitlines(), 2)
    swapped = json.dumps(json.loads(one) | {"id": json.loads(other)["id"]})
    refused = cassette_proxy.refusal_of(new_cassette(), swapped)
    seen = f"a cassette with a wrong id: {refused or 'taken'}, expected invalid-cassette"
    check(refused is not None and "invalid-cassette" in refused, Property.CASSETTE_KEY, seen)


def test_unused_interactions_are_told(
    cassette_proxy: CassetteProxy, wire: Wire, new_cassette: NewName, seeded: Random, evidence: Evidence
) -> None:
    """Of 10 interactions, 6 are asked for: the other 4 are told, by ids computed here."""
    name, chats = new_cassette(), [some_chat(seeded, stream=False) for _ in range(10)]
    with cassette_proxy.record(name):
        for chat in chats:
            wire.ask(chat)
    seeded.shuffle(chats)
    for chat in chats[:6]:
        wire.ask(chat)
    told, expected = sorted(cassette_proxy.unused(name)), sorted(map(id_of, chats[6:]))
    check(told == expected, Property.CASSETTE_TOLD, f"unused are {told}, expected {expected}")
    evidence("interactions", len(chats))


def test_verify_finds_changed_answers(
    cassette_proxy: CassetteProxy, wire: Wire, new_cassette: NewName, seeded: Random
) -> None:
    """Of 6 answers, 2 are edited: `verify` names these two, and changes nothing."""
    name, chats = new_cassette(), [some_chat(seeded, stream=number % 2 == 0) for number in range(6)]
    with cassette_proxy.record(name):
        for chat in chats:
            wire.ask(chat)
    told = cassette_proxy.verify(name)
    check(told["same"] == len(chats), Property.CASSETTE_TOLD, f"{told['same']} of {len(chats)} are the same as before")
    lines = cassette_proxy.text(name).splitlines()
    edited = seeded.sample(range(len(lines)), 2)
    for index in edited:
        entry = json.loads(lines[index])
        entry["response"]["parts"][0] = entry["response"]["parts"][0].replace("chatcmpl", "chatcmpl-edited")
        lines[index] = json.dumps(entry, ensure_ascii=False)
    cassette_proxy.put(name, "\n".join(lines))
    before, told = cassette_proxy.text(name), cassette_proxy.verify(name)
    named = sorted(entry["id"] for entry in told["different"])
    expected = sorted(json.loads(lines[index])["id"] for index in edited)
    check(named == expected, Property.CASSETTE_TOLD, f"verify names {named}, expected {expected}")
    check(cassette_proxy.text(name) == before, Property.CASSETTE_TOLD, "verify has changed the cassette")


def test_errors_are_not_recorded(
    cassette_proxy: CassetteProxy, wire: Wire, new_cassette: NewName, seeded: Random
) -> None:
    """An upstream's error goes to the caller, and is a miss afterwards: it may be gone when it is asked again."""
    chat, name = some_chat(seeded, stream=False), new_cassette()
    chat["messages"][-1]["content"] = "[[error 503 step=compose]]"
    chat["metadata"] = {"step": "compose"}
    with cassette_proxy.record(name):
        answer = wire.ask(chat)
        wire.ask(some_chat(seeded, stream=False))
    check(answer.status == 503, Property.REPLAY_STRICT, f"an upstream's 503 gave {answer.status}, expected 503")
    kept = len(cassette_proxy.text(name).splitlines())
    check(kept == 1, Property.REPLAY_STRICT, f"{kept} interactions of an error and an answer, expected 1")
    _check_missed(wire.ask(chat), "what was answered by an error")


def test_streamed_answers_are_whole(wire: Wire, seeded: Random, evidence: Evidence) -> None:
    """The parts of a streamed answer are together what the same chat is answered in one piece."""
    for _ in range(20):
        chat = some_chat(seeded, stream=False)
        piece = wire.ask(chat, "MOCK").said()
        streamed = wire.ask(chat | {"stream": True}, "MOCK").said()
        check(len(piece) > 20, Property.STREAM_WHOLE, f"the model says {piece!r}, expected a text of the context")
        seen = f"{len(streamed)} characters streamed, {len(piece)} in one piece"
        check(streamed == piece, Property.STREAM_WHOLE, seen)
        evidence("streams")


def test_administration_needs_its_key(
    recording: Recording, cassette_proxy: CassetteProxy, new_cassette: NewName
) -> None:
    """Without the admin key nobody reads, makes, records or removes cassettes, nor resets a ceiling."""
    of, new = f"/cassettes/{recording.cassette}", f"/cassettes/{new_cassette()}"
    doors = [("GET", "/cassettes"), ("GET", of), ("PUT", of), ("DELETE", of), ("GET", f"{of}/usage"), ("PUT", new)]
    doors += [("POST", f"{of}:verify"), ("DELETE", "/recording"), ("GET", "/live"), ("DELETE", "/live")]
    before = cassette_proxy.text(recording.cassette)
    for method, path in doors:
        status = cassette_proxy.http.request(method, path, headers={"X-Admin-Key": "guessed"}, content="").status_code
        door = f"{method} {path.replace(recording.cassette, 'NAME')}"
        check(status == 401, Property.AUTHENTICATION, f"{door} with a wrong key gave {status}, expected 401")
    same = cassette_proxy.text(recording.cassette) == before
    check(same, Property.AUTHENTICATION, "a request with a wrong key has changed the cassette")


def _with_another_character(chat: dict[str, Any], chance: Random) -> dict[str, Any]:
    mutated: dict[str, Any] = json.loads(json.dumps(chat))
    message = chance.choice(mutated["messages"])
    place = chance.randrange(len(message["content"]))
    other = chance.choice([c for c in "abcXYZ 789ß漢" if c != message["content"][place]])
    message["content"] = message["content"][:place] + other + message["content"][place + 1 :]
    return mutated


def _check_missed(answer: Reply, what: str) -> None:
    missed = (answer.status, answer.code) == (404, "cassette-miss")
    check(missed, Property.REPLAY_STRICT, f"{what} gave {answer.status} {answer.code}, expected 404 cassette-miss")
