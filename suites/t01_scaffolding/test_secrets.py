"""Cassettes are committed, so no secret may reach one, wherever in a call it is."""

import json
import string
from collections.abc import Iterator
from random import Random
from typing import Any

from _fixtures.evidence import Evidence
from _helpers.cassettes import CassetteProxy
from _helpers.properties import Property, check
from t01_scaffolding.wire import MODEL, NewName, Wire

OF_EACH_KIND = 10
SECRETS = 5 * OF_EACH_KIND
SENTENCES = ("it is {}", "({})", "first line\n{}\nlast line", '{{"note": "{}"}}', "{}")
Call = tuple[str, dict[str, Any], dict[str, str]]
"""The secret, the chat and the headers of a call."""


def calls_with_secrets(chance: Random) -> Iterator[Call]:
    """Keys in headers, tokens and passwords in bodies, card numbers, e-mail addresses; every other chat is streamed."""

    def some(length: int, letters: str = string.ascii_letters + string.digits) -> str:
        # Keys have letters of both cases and digits; a text without is a word or a number.
        return "".join(chance.choices(letters, k=length - 3)) + "aZ7"

    for number in range(OF_EACH_KIND):
        key = f"sk-{some(32)}"
        header = ("Authorization", f"Bearer {key}") if number % 2 else ("X-Api-Key", key)
        yield key, _chat("What do you know?", "nothing", number), dict([header])
        token = chance.choice([f"ghp_{some(36)}", f"xoxb-{some(24)}", some(48), f"AKIA{some(20)}"])
        yield token, _chat("What is the token?", _sentence(chance, token), number), {}
        password = some(12)
        yield password, _chat("What is the password?", f"password: {password}", number), {}
        card = _card(chance)
        yield card, _chat(f"Please charge {card}", _sentence(chance, card), number), {}
        mail = f"{some(9)}@{''.join(chance.choices(string.ascii_lowercase, k=8))}.example.com"
        yield mail, _chat(f"Write to {mail}", _sentence(chance, mail), number), {}


def test_no_secret_reaches_a_cassette(
    cassette_proxy: CassetteProxy, wire: Wire, new_cassette: NewName, seeded: Random, evidence: Evidence
) -> None:
    """0 of 50 planted secrets are in the cassette, though the model says them and the caller is told them."""
    name, calls = new_cassette(), list(calls_with_secrets(seeded))
    with cassette_proxy.record(name):
        recorded = [wire.ask(chat, headers=headers) for _, chat, headers in calls]
    told = 0
    for (secret, chat, headers), then in zip(calls, recorded, strict=True):
        check(then.status == 200, Property.CASSETTE_CLEAN, f"a chat with a secret gave {then.status}, expected 200")
        said = secret in then.said()
        check(said or bool(headers), Property.CASSETTE_CLEAN, "the caller is not told what the model said of a secret")
        same = wire.ask(chat, headers=headers).body == then.body
        check(same, Property.REPLAY_IDENTICAL, "a chat with a secret is not replayed as it was recorded")
        told += said
    kept = cassette_proxy.text(name)
    lines = len(kept.splitlines())
    check(lines == SECRETS, Property.CASSETTE_CLEAN, f"{lines} interactions of {SECRETS} chats with secrets")
    leaked = sum(secret in kept for secret, _, _ in calls)
    check(leaked == 0, Property.CASSETTE_CLEAN, f"{leaked} of {SECRETS} secrets are in the cassette, expected 0")
    evidence("secrets", SECRETS)
    evidence("secrets_told", told)


def test_equal_chats_of_other_secrets_are_one(
    cassette_proxy: CassetteProxy, wire: Wire, new_cassette: NewName, seeded: Random
) -> None:
    """A secret is no part of the key: a caller with another address is answered, with the own one."""
    mine, yours = (f"{''.join(seeded.choices(string.ascii_lowercase, k=10))}@example.com" for _ in range(2))
    name, number = new_cassette(), seeded.getrandbits(30)
    chats = [_chat(f"Write to {mail}", f"the address is {mail}", number) for mail in (mine, yours)]
    with cassette_proxy.record(name):
        wire.ask(chats[0])
    answer = wire.ask(chats[1])
    check(answer.status == 200, Property.CASSETTE_KEY, f"another address gave {answer.status}, expected the replay")
    check(yours in answer.said(), Property.CASSETTE_KEY, "the replay does not tell the caller's own address")
    check(mine not in answer.said(), Property.CASSETTE_CLEAN, "the replay tells another caller's address")


def test_cassette_with_a_secret_is_refused(
    cassette_proxy: CassetteProxy, wire: Wire, new_cassette: NewName, seeded: Random
) -> None:
    """What was made elsewhere, by hand or by another tool, is looked through when it is put."""
    name, copy = new_cassette(), new_cassette()
    with cassette_proxy.record(name):
        wire.ask(_chat("What do you know?", "nothing", 2 * seeded.getrandbits(30)))
    entry = json.loads(cassette_proxy.text(name))
    fine = cassette_proxy.refusal_of(copy, json.dumps(entry))
    check(fine is None, Property.CASSETTE_CLEAN, f"a cassette without a secret is refused: {fine}")
    entry["response"]["parts"][0] = entry["response"]["parts"][0].replace("nothing", f"card {_card(seeded)}")
    refused = cassette_proxy.refusal_of(copy, json.dumps(entry))
    seen = f"a cassette with a card number: {refused or 'taken'}, expected invalid-cassette"
    check(refused is not None and "invalid-cassette" in refused, Property.CASSETTE_CLEAN, seen)


def _chat(question: str, note: str, number: int) -> dict[str, Any]:
    """A chat whose answer is the note: the scripted model answers questions from its context."""
    context = json.dumps({"documents": [{"title": "Note", "body": note}]})
    messages = [
        {"role": "system", "content": f"Context: {context}"},
        {"role": "user", "content": f"{question} What is in the note?"},
    ]
    chat = {"model": MODEL, "seed": number, "messages": messages, "metadata": {"step": "compose"}}
    return chat | {"stream": True} if number % 2 else chat


def _sentence(chance: Random, secret: str) -> str:
    return chance.choice(SENTENCES).format(secret)


def _card(chance: Random) -> str:
    """A card number with the right check digit (Luhn, ISO/IEC 7812-1)."""
    digits = [4, *chance.choices(range(10), k=14)]
    check_digit = -sum(sum(divmod(d * (2 - i % 2), 10)) for i, d in enumerate(digits)) % 10
    return "".join(map(str, [*digits, check_digit]))
