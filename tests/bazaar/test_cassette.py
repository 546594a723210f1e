"""The cassette proxy in front of two real model servers, as its clients see it."""

import json
import os
import random
import re
import signal
import socket
import string
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from loopback import ROOT, Platform, free_port, wait_for
from recorder import ADMIN, Proxy, chat, proxy
from shop import new_shop


def on_the_wire(url: str, body: Any) -> bytes:
    """The answer as the bytes of the connection, chunk bounds of HTTP included; without the date."""
    data, parts = json.dumps(body).encode(), urlsplit(url)
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Proctor-Mode: GOLDEN\r\n"
    with socket.create_connection((parts.hostname, parts.port), 10) as connection:
        connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return re.sub(rb"date: [^\r]*\r\n", b"", answer)


def test_replays_are_byte_identical_and_ask_nobody(cassette: Proxy) -> None:
    bodies = [chat(f"Question {n}?", n, stream=n % 2 == 0, stream_options={"include_usage": True}) for n in range(200)]
    recorded = cassette.record(bodies)
    assert {answer.status_code for answer in recorded} == {200}
    before = (cassette.calls(cassette.first), cassette.calls(cassette.second))
    replays = [[on_the_wire(cassette.url, body) for body in bodies] for _ in range(3)]
    assert replays[0] == replays[1] == replays[2]
    assert len(set(replays[0])) == 200
    for answer, wire in zip(recorded, replays[0], strict=True):
        assert answer.content == b"".join(chunks(wire))
    events = chunks(replays[0][0])
    assert len(events) > 10
    assert all(event.startswith(b"data: ") and event.endswith(b"\n\n") for event in events), "a chunk for each event"
    assert (cassette.calls(cassette.first), cassette.calls(cassette.second)) == before
    assert cassette.admin("GET", "/cassettes/one/usage").json() == {"interactions": 200, "unused": []}


def chunks(wire: bytes) -> list[bytes]:
    """The chunks of a chunked answer."""
    rest, found = wire.split(b"\r\n\r\n", 1)[1], []
    while rest:
        size, rest = rest.split(b"\r\n", 1)
        found.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    return [chunk for chunk in found if chunk]


def test_recording_is_what_the_upstream_said(cassette: Proxy) -> None:
    bodies = [chat("How are you?"), chat("How are you?", stream=True)]
    for body, recorded in zip(bodies, cassette.record(bodies), strict=True):
        direct = httpx.post(f"{cassette.first}/v1/chat/completions", json=body)
        assert recorded.content == direct.content == cassette.call(body).content
        assert recorded.headers["content-type"] == direct.headers["content-type"]


def test_mutated_prompts_miss(cassette: Proxy) -> None:
    text = "Where is the order that I made on Monday, please?"
    cassette.record([chat(text)])
    dice, before = random.Random(1), cassette.calls(cassette.first)
    for _ in range(50):
        place = dice.randrange(len(text))
        other = dice.choice([c for c in string.ascii_letters + "äß漢 " if c != text[place]])
        missed = cassette.call(chat(text[:place] + other + text[place + 1 :]))
        assert (missed.status_code, missed.json()["code"]) == (404, "cassette-miss")
        assert missed.headers["content-type"] == "application/problem+json"
        assert missed.json()["nearest"]["where"] == "body.messages[1].content"
    for change in ({"seed": 1}, {"temperature": 0.1}, {"stream": True}, {"metadata": {"step": "plan"}}):
        assert cassette.call(chat(text) | change).json()["nearest"]["where"].startswith(f"body.{next(iter(change))}")
    assert cassette.call(chat(text)).status_code == 200
    assert cassette.call(dict(reversed(chat(text).items()))).status_code == 200, "the order of members says nothing"
    assert cassette.calls(cassette.first) == before
    assert cassette.calls(cassette.second) == 0


def secrets_of(dice: random.Random) -> Iterator[str]:
    def some(length: int, letters: str = string.ascii_letters + string.digits) -> str:
        return "".join(dice.choice(letters) for _ in range(length - 1)) + "7"

    for number in range(10):
        yield f"sk-{some(24)}"
        yield f"{some(8, string.ascii_lowercase)}{number}@{some(6, string.ascii_lowercase)}.example.com"
        digits = [int(d) for d in "4" + some(14, string.digits)]
        check = -sum(sum(divmod(d * (2 - i % 2), 10)) for i, d in enumerate(digits)) % 10
        yield "".join(map(str, [*digits, check]))
        yield f"ghp_{some(36)}"
        yield some(48)


PHRASES = ("my key is {}", "({})", "first line\n{}\nlast", '{{"note": "{}"}}', "Authorization: Bearer {}", "{}")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_no_secret_reaches_a_cassette(cassette: Proxy, stream: bool) -> None:
    """The model says each secret back, for the history is a document that it answers from."""
    planted = list(secrets_of(random.Random(2)))
    assert len(set(planted)) == 50
    for number, secret in enumerate(planted):
        said = PHRASES[number % len(PHRASES)].format(secret)
        context = json.dumps({"documents": [{"title": "Note", "body": f"The note says: {said}"}]})
        body = chat("What does the note say?", number, stream=stream)
        body["messages"][0]["content"] = f"Context: {context}"
        (recorded,) = cassette.record([body])
        assert secret in whole(recorded), "the caller gets what the model said"
        assert cassette.call(body).content == recorded.content
    kept = (cassette.folder / "one.jsonl").read_text()
    assert [secret for secret in planted if secret in kept] == []
    log = (cassette.folder / "cassette.log").read_text()
    assert [secret for secret in planted if secret in log] == []


def whole(answer: httpx.Response) -> str:
    """What the model said in an answer."""
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return str(answer.json()["choices"][0]["message"]["content"])
    events = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line.startswith("data: {")]
    return "".join(e["choices"][0]["delta"].get("content", "") for e in events if e["choices"])


def test_secret_over_several_events_does_not_reach_a_cassette(tmp_path: Path, models: list[str]) -> None:
    """Real models stream tokens, and a token is a part of a word."""
    tokens = ["my mail is ali", "ce@exam", "ple.com", " and my key sk-abc", "def1234567890", "!"]
    events = [{"choices": [{"index": 0, "delta": {"content": token}}]} for token in tokens]
    stream = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    with answering(stream) as url, proxy([url, models[1]], tmp_path) as running:
        body = chat("Say it", stream=True)
        (recorded,) = running.record([body])
        kept, replayed = (running.folder / "one.jsonl").read_text(), running.call(body)
        assert whole(recorded) == "".join(tokens)
        assert whole(replayed) == "my mail is <<email-1>> and my key <<key-1>>!"
        assert len(replayed.content.split(b"\n\n")) == len(stream.split("\n\n"))
        assert not re.search("alice|mail is ali|abcdef|exam", kept)


@contextmanager
def answering(body: str) -> Iterator[str]:
    """A server that gives one stream to everybody."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return  # the test is over
                with connection:
                    connection.recv(65536)
                    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {len(body)}\r\n\r\n"
                    connection.sendall((head + body).encode())

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def test_credentials_of_the_caller_go_nowhere(tmp_path: Path, models: list[str]) -> None:
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                seen.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

        threading.Thread(target=serve, daemon=True).start()
        live = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with proxy([models[0], live], tmp_path, CASSETTE_LIVE_KEY="the-providers-key") as running:
            headers = {"X-Proctor-Mode": "LIVE_SMOKE", "Authorization": "Bearer the-callers", "Cookie": "a=b"}
            trace = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
            httpx.post(f"{running.url}/v1/chat/completions", json=chat("Hi"), headers={**headers, **trace})
    assert b"authorization: Bearer the-providers-key" in seen[0]
    assert trace["traceparent"].encode() in seen[0]
    assert b"callers" not in seen[0]
    assert b"cookie" not in seen[0].lower()


def test_mock_passes_everything_through(cassette: Proxy) -> None:
    direct = openai.OpenAI(base_url=f"{cassette.first}/v1", api_key="-", max_retries=0)
    through = openai.OpenAI(base_url=f"{cassette.url}/v1", api_key="-", max_retries=0)
    body = chat("How are you?")
    assert through.chat.completions.create(**body) == direct.chat.completions.create(**body)
    assert list(through.chat.completions.create(**body, stream=True)) == list(
        direct.chat.completions.create(**body, stream=True)
    )
    assert [m.id for m in through.models.list()] == [m.id for m in direct.models.list()]
    embedded = through.embeddings.create(model="bazaar-embedding", input="mugs")
    assert embedded == direct.embeddings.create(model="bazaar-embedding", input="mugs")
    with pytest.raises(openai.RateLimitError) as caught:
        through.chat.completions.create(**chat("[[error 429 retry-after=7]]"))
    assert caught.value.response.headers["retry-after"] == "7"
    with pytest.raises(openai.APIConnectionError):
        list(through.chat.completions.create(**chat("[[truncate]]\nHow are you?"), stream=True))


def test_caller_who_leaves_a_hold_frees_it(cassette: Proxy) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{cassette.url}/v1/chat/completions", json=chat("[[hold through-the-proxy]]"), timeout=1)

    def free() -> None:
        if httpx.get(f"{cassette.first}/holds").json()["holds"]:
            raise OSError("still held")

    wait_for("the end of the hold", free, cassette.folder / "cassette.log")


def test_errors_are_not_recorded(cassette: Proxy) -> None:
    body = chat("[[error 500]]")
    (answer,) = cassette.record([body])
    assert answer.status_code == 500
    assert cassette.call(body).json()["code"] == "cassette-miss"


def test_live_smoke_ends_at_its_ceilings(models: list[str], tmp_path: Path) -> None:
    with proxy(models, tmp_path, CASSETTE_MAX_CALLS="3") as running:
        before = running.calls(running.second)
        answers = [running.call(chat("Hello", n), "LIVE_SMOKE") for n in range(5)]
        assert [a.status_code for a in answers] == [200, 200, 200, 429, 429]
        assert answers[0].json()["system_fingerprint"] == "second"
        assert answers[3].json()["code"] == "ceiling-reached"
        assert running.calls(running.second) == before + 3
        tokens = sum(a.json()["usage"]["total_tokens"] for a in answers[:3])
        assert running.admin("GET", "/live").json()["tokens"] == tokens
        running.process.send_signal(signal.SIGKILL)
    with proxy(models, tmp_path, CASSETTE_MAX_CALLS="3") as running:
        assert running.call(chat("Hello"), "LIVE_SMOKE").status_code == 429, "a restart does not refill it"
        running.admin("DELETE", "/live").raise_for_status()
        assert running.call(chat("Hello", stream=True), "LIVE_SMOKE").status_code == 200
        assert running.admin("GET", "/live").json()["tokens"] > 0
    with proxy(models, tmp_path, CASSETTE_MAX_TOKENS="1", CASSETTE_FOLDER=str(fresh(tmp_path))) as running:
        assert [running.call(chat("Hello"), "LIVE_SMOKE").status_code for _ in range(2)] == [200, 429]
    with proxy(models, tmp_path, CASSETTE_LIVE_URL="") as running:
        answer = running.call(chat("Hello"), "LIVE_SMOKE")
        assert (answer.status_code, answer.json()["code"]) == (503, "no-live-upstream")


def fresh(folder: Path) -> Path:
    (folder / "fresh").mkdir()
    return folder / "fresh"


def test_verify_tells_what_has_changed(cassette: Proxy) -> None:
    cassette.record([chat("One?"), chat("Two?"), chat("Three?", stream=True)])
    size = (cassette.folder / "one.jsonl").stat().st_size
    assert cassette.admin("POST", "/cassettes/one:verify").json() == {"same": 3, "different": [], "failed": []}
    assert (cassette.folder / "one.jsonl").stat().st_size == size
    lines = cassette.admin("GET", "/cassettes/one").text.splitlines()
    edited = json.loads(lines[0])
    edited["response"]["parts"][-1] = edited["response"]["parts"][-1].replace("1", "9").replace("DONE", "END")
    text = "\n".join([json.dumps(edited), *lines[1:]])
    cassette.admin("PUT", "/cassettes/one", content=text).raise_for_status()
    told = cassette.admin("POST", "/cassettes/one:verify").json()
    assert told["same"] == 2
    assert [entry["id"] for entry in told["different"]] == [edited["id"]]


def test_cassettes_travel_and_unused_ones_are_told(cassette: Proxy) -> None:
    cassette.record([chat("One?"), chat("Two?")], "kept-in-git")
    text = cassette.admin("GET", "/cassettes/kept-in-git").text
    assert text == (cassette.folder / "kept-in-git.jsonl").read_text()
    assert text.splitlines() == sorted(text.splitlines(), key=lambda line: json.loads(line)["id"])
    cassette.admin("PUT", "/cassettes/copy", content=text).raise_for_status()
    assert cassette.call(chat("Two?")).status_code == 200
    unused = cassette.admin("GET", "/cassettes/copy/usage").json()["unused"]
    assert len(unused) == 1
    assert [json.loads(line)["request"]["body"]["messages"][1]["content"] for line in text.splitlines()
            if json.loads(line)["id"] in unused] == ["One?"]  # fmt: skip


def test_a_cassette_can_be_forgotten(cassette: Proxy) -> None:
    cassette.record([chat("One?")])
    assert cassette.call(chat("One?")).status_code == 200
    assert cassette.admin("DELETE", "/cassettes/one").status_code == 204
    assert cassette.call(chat("One?")).json()["code"] == "cassette-miss"
    assert cassette.admin("GET", "/cassettes").json()["cassettes"] == []
    assert list(cassette.folder.glob("*.jsonl")) == [], "it does not come back with a restart"
    assert cassette.admin("DELETE", "/cassettes/one").status_code == 404


def test_bad_cassettes_are_refused(cassette: Proxy) -> None:
    cassette.record([chat("One?")])
    line = json.loads(cassette.admin("GET", "/cassettes/one").text)
    other = line | {"request": line["request"] | {"path": "/v1/embeddings"}}
    secret = line | {"response": {"content_type": "application/json", "parts": ["mail bob@example.com"]}}
    for bad in ("{", json.dumps(other), json.dumps(secret), "[]", '{"id": "x"}', "\udcff"):
        answer = cassette.admin("PUT", "/cassettes/two", content=bad.encode("utf-8", "surrogateescape"))
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-cassette"), bad
    for name in ("..%2f..%2fetc", "A", "a" * 65, ".hidden"):
        assert cassette.admin("PUT", f"/cassettes/{name}", content="").status_code in (404, 422)
    assert [c["name"] for c in cassette.admin("GET", "/cassettes").json()["cassettes"]] == ["one"]


def test_kill_loses_no_recorded_answer(models: list[str], tmp_path: Path) -> None:
    answered: list[bytes] = []
    with proxy(models, tmp_path) as running:
        running.admin("POST", "/recording", json={"cassette": "one"}).raise_for_status()

        def ask() -> None:
            try:
                for number in range(10_000):
                    answered.append(running.call(chat("Hello", number)).content)
            except httpx.HTTPError:
                return  # it was killed

        asker = threading.Thread(target=ask)
        asker.start()
        while len(answered) < 30:
            asker.join(0.05)
            assert asker.is_alive()
        running.process.send_signal(signal.SIGKILL)
        asker.join(20)
    with proxy(models, tmp_path) as again:
        assert [again.call(chat("Hello", number)).content for number in range(len(answered))] == answered
        assert again.call(chat("Hello", 20_000)).status_code == 404, "a restart ends the recording"


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"url": "/v1/chat/completions", "content": b"{"}, 400, "malformed-request"),
        ({"url": "/v1/chat/completions", "content": b"[1]"}, 400, "malformed-request"),
        ({"url": "/v1/chat/completions", "content": b"\xff\xfe"}, 400, "malformed-request"),
        ({"url": "/v1/chat/completions", "content": b'{"a": ' + b"[" * 100_000}, 400, "malformed-request"),
        ({"url": "/v1/chat/completions", "content": b'{"a": NaN}'}, 400, "malformed-request"),
        ({"url": "/v1/chat/completions", "content": b'{"a": 1e999}'}, 400, "malformed-request"),
        ({"url": "/v1/chat/completions", "content": b'{"a": 123456789012345678901}'}, 400, "malformed-request"),
        ({"url": "/v1/chat/completions", "content": b'{"a": "\\ud800"}'}, 400, "malformed-request"),
        ({"url": "/v1/chat/completions", "content": b'{"a": "' + b"x" * 10_000_000 + b'"}'}, 413, "too-large"),
        ({"url": "/v1/chat/completions", "json": {}, "headers": {"X-Proctor-Mode": "OTHER"}}, 422, "invalid-request"),
        ({"url": "/v1/images", "json": {}}, 404, "not-found"),
        ({"url": "/v1/models", "json": {}}, 405, "method-not-allowed"),
        ({"url": "/recording", "json": {"cassette": "one"}}, 401, "unauthenticated"),
        ({"url": "/recording", "json": {"cassette": "../x"}, "headers": ADMIN}, 422, "invalid-request"),
        ({"url": "/cassettes/none:verify", "headers": ADMIN}, 404, "not-found"),
    ],
)
def test_bad_requests_are_problems(shared: Proxy, request_: dict[str, Any], status: int, code: str) -> None:
    headers = {"X-Proctor-Mode": "GOLDEN", **request_.pop("headers", {})}
    response = httpx.post(shared.url + request_.pop("url"), headers=headers, timeout=30, **request_)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert (response.json()["code"], response.json()["status"]) == (code, status)
    assert httpx.get(f"{shared.url}/healthz").text == "ok"


@pytest.fixture(scope="module")
def shared(models: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with proxy(models, tmp_path_factory.mktemp("shared")) as running:
        yield running


def test_absent_upstream_and_metrics(tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with proxy([nowhere, nowhere], tmp_path) as running:
        for mode in ("MOCK", "LIVE_SMOKE"):
            answer = running.call(chat("Hello"), mode)
            assert (answer.status_code, answer.json()["code"]) == (502, "upstream-failed")
        running.call(chat("Hello"))
        metrics = httpx.get(f"{running.url}/metrics").text
    assert 'cassette_requests_total{mode="MOCK",result="upstream-failed"} 1.0' in metrics
    assert 'cassette_requests_total{mode="GOLDEN",result="cassette-miss"} 1.0' in metrics


def test_broken_cassette_and_missing_settings_end_the_start(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("{}\n")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "images/cassette")}
    settings = {"CASSETTE_MOCK_URL": "http://x", "CASSETTE_ADMIN_KEY": "k" * 16, "CASSETTE_FOLDER": str(tmp_path)}
    for more, told in (({}, "CASSETTE_MOCK_URL"), (settings, "line 1 is not an interaction")):
        run = subprocess.run(
            [sys.executable, "-m", "cassette"], env={**environment, **more}, capture_output=True, text=True, timeout=30
        )
        assert run.returncode == 1
        assert told in run.stderr


def test_planted_key_without_the_body(models: list[str], tmp_path: Path) -> None:
    with proxy(models, tmp_path, FAULTS="cassette_key_ignores_body") as running:
        (recorded,) = running.record([chat("One?")])
        assert running.call(chat("Another?")).content == recorded.content


def test_planted_live_call(models: list[str], tmp_path: Path) -> None:
    port = free_port()
    planted = {"FAULTS": "cassette_miss_goes_live", "CASSETTE_ACTIVATIONS_PORT": str(port)}
    with proxy(models, tmp_path, **planted) as running:
        before = running.calls(running.second)
        assert running.call(chat("One?")).json()["system_fingerprint"] == "second"
        assert running.calls(running.second) == before + 1
        counted = httpx.get(f"http://127.0.0.1:{port}/").text
        assert 'fault_activations_total{fault="cassette_miss_goes_live"} 1.0' in counted
        assert "cassette_miss_goes_live" not in httpx.get(f"{running.url}/metrics").text


def test_planted_secret(models: list[str], tmp_path: Path) -> None:
    with proxy(models, tmp_path, FAULTS="cassette_stores_secret") as running:
        running.record([chat("I am bob@example.com")])
        assert "bob@example.com" in (running.folder / "one.jsonl").read_text()


def test_the_proxy_knows_neither_bazaar_nor_proctor() -> None:
    for path in (ROOT / "images/cassette/cassette").glob("*.py"):
        assert not re.search(r"^\s*(from|import) (bazaar|proctor)\b", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_golden_of_the_platform(bazaar: Platform) -> None:
    """What one tenant recorded serves another with the same seed, and nobody is asked; another seed is a miss."""
    admin = {"X-Admin-Key": bazaar.admin_key}
    proxy, messages = bazaar.urls["cassette"], ["I want to buy 2 Mug", "Where is my order?", "How are you?"]

    def last(model: str) -> int:
        count = since = 0
        while rows := httpx.get(f"{bazaar.urls[model]}/ledger", params={"since": since}).json()["calls"]:
            count, since = count + len(rows), rows[-1]["sequence"]
        return count

    with httpx.Client(base_url=bazaar.urls["gateway"], timeout=60) as http:
        first = new_shop(http, bazaar.admin_key, 77, mode="GOLDEN")
        httpx.post(f"{proxy}/recording", json={"cassette": "journey"}, headers=admin).raise_for_status()
        recorded = [first.say(text) for text in messages]
        httpx.delete(f"{proxy}/recording", headers=admin).raise_for_status()
        before = last("model"), last("model-second")
        second = new_shop(http, bazaar.admin_key, 77, mode="GOLDEN")
        replayed = [second.say(text) for text in messages]
        assert [(e["state"], e["reply"]) for e in replayed] == [(e["state"], e["reply"]) for e in recorded]
        assert {e["state"] for e in replayed} == {"done"}
        assert (last("model"), last("model-second")) == before
        assert httpx.get(f"{proxy}/cassettes/journey/usage", headers=admin).json()["unused"] == []
        live = new_shop(http, bazaar.admin_key, 77, mode="LIVE_SMOKE")
        assert live.say(messages[2])["reply"] == recorded[2]["reply"]
        assert (last("model"), last("model-second") > before[1]) == (before[0], True)
        stranger = new_shop(http, bazaar.admin_key, 78, mode="GOLDEN")
        missed = stranger.say(messages[2])
        assert (missed["state"], missed["error"]) == ("failed", "step-failed")
    assert last("model") == before[0]
