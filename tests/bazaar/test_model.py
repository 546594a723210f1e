"""The model server as the official client sees it, and its ledger as a witness."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import httpx
import openai
import pytest
from loopback import ROOT, Platform, free_port, wait_for

from bazaar import embedding
from bazaar.orchestrator import llm

MODEL = "bazaar-scripted"
CONTEXT = {"documents": [{"title": "Returns", "body": "You may return goods within 30 days."}], "products": []}
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "place_order", "parameters": {"type": "object"}}}
MUG = {"products": [{"sku": "mug", "name": "Mug"}]}


class Model:
    """A model server and the official client of it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.trace_id = uuid4().hex
        headers = {"traceparent": f"00-{self.trace_id}-{uuid4().hex[:16]}-01"}
        self.client = openai.OpenAI(
            base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=30, default_headers=headers
        )

    def chat(self, text: str = "How to return?", context: Any = CONTEXT, **more: Any) -> Any:
        messages = [{"role": "system", "content": f"Context: {json.dumps(context)}"}, {"role": "user", "content": text}]
        call: Any = self.client.chat.completions.create
        return call(model=MODEL, messages=messages, metadata={"step": "compose"}, **more)

    def text(self, text: str, **more: Any) -> str:
        return str(self.chat(text, **more).choices[0].message.content)

    def stream(self, text: str = "How to return?", **more: Any) -> list[Any]:
        return list(self.chat(text, stream=True, stream_options={"include_usage": True}, **more))

    def ledger(self) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = httpx.get(f"{self.url}/ledger", params={"trace_id": self.trace_id}).json()[
            "calls"
        ]
        return calls


@pytest.fixture
def model(bazaar: Platform) -> Model:
    return Model(bazaar.urls["model"])


def test_chat_and_its_row_in_the_ledger(model: Model) -> None:
    said = model.chat()
    assert (said.choices[0].finish_reason, said.model) == ("stop", MODEL)
    assert "within 30 days" in said.choices[0].message.content
    (row,) = model.ledger()
    assert (row["role"], row["status"], row["upstream"]) == ("compose", 200, "first")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (said.usage.prompt_tokens, said.usage.completion_tokens)
    assert said.usage.total_tokens == row["prompt_tokens"] + row["completion_tokens"]


def test_stream_is_the_same_answer_word_by_word(model: Model) -> None:
    chunks = model.stream()
    words = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert "".join(words) == model.text("How to return?")
    assert len(words) == len("".join(words).split())
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-2:] == [None, "stop"]
    assert [c.usage is not None for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].usage.completion_tokens == model.ledger()[0]["completion_tokens"]
    assert all(c.usage is None for c in model.chat(stream=True)), "usage was not asked for"


def test_tool_calls_whole_and_streamed(model: Model) -> None:
    call = model.chat("I want two Mug", MUG, tools=[TOOL]).choices[0]
    assert (call.finish_reason, call.message.content) == ("tool_calls", None)
    function = call.message.tool_calls[0].function
    assert (function.name, json.loads(function.arguments)) == ("place_order", {"sku": "mug", "quantity": 2})
    deltas = [c.choices[0].delta for c in model.stream("I want two Mug", context=MUG, tools=[TOOL]) if c.choices]
    (streamed,) = [delta.tool_calls[0] for delta in deltas if delta.tool_calls]
    assert (streamed.function, streamed.index) == (streamed.function.model_copy(update=function.to_dict()), 0)


def test_embeddings_and_models(model: Model) -> None:
    answer = model.client.embeddings.create(model="bazaar-embedding", input=["return goods", "opening hours"])
    plain = model.client.embeddings.create(model="bazaar-embedding", input="return goods", encoding_format="float")
    assert plain.data[0].embedding == json.loads(embedding.embed("return goods"))
    assert answer.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert [item.index for item in answer.data] == [0, 1]
    assert [row["role"] for row in model.ledger()] == ["embeddings", "embeddings"]
    assert [m.id for m in model.client.models.list()] == [MODEL, "bazaar-embedding"]


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        ("[[error 400]]", openai.BadRequestError, None),
        ("[[error 401]]", openai.AuthenticationError, "invalid_api_key"),
        ("[[error 404]]", openai.NotFoundError, "not_found"),
        ("[[error 429 retry-after=7]]", openai.RateLimitError, "rate_limit_exceeded"),
        ("[[error 500]]", openai.InternalServerError, None),
        ("[[error 200]]", openai.BadRequestError, None),
        ("[[stream n=100001]]", openai.BadRequestError, None),
        ("[[stream n=100000 bytes=16384]]", openai.BadRequestError, None),
        ("[[hold a seconds=121]]", openai.BadRequestError, None),
        ("[[hang loudly=1]]", openai.BadRequestError, None),
    ],
)
def test_scripted_and_refused_errors(model: Model, text: str, kind: type[openai.APIStatusError], code: str) -> None:
    with pytest.raises(kind) as caught:
        model.chat(f"{text}\nHow to return?")
    error = caught.value
    assert isinstance(error.body, dict)
    assert (sorted(error.body), error.code) == (["code", "message", "param", "type"], code)
    if error.status_code == 429:
        assert error.response.headers["retry-after"] == "7"
    assert [row["status"] for row in model.ledger()] in ([], [error.status_code]), "refused calls have no row"


def test_errors_of_requests(model: Model) -> None:
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        model.client.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "a"}])
    with pytest.raises(openai.BadRequestError) as caught:
        model.client.chat.completions.create(model=MODEL, messages=[])
    assert caught.value.param == "messages"
    with pytest.raises(openai.BadRequestError, match="cannot read this chat"):
        model.client.chat.completions.create(model=MODEL, messages=[{"content": "no role"}])  # type: ignore[list-item]
    unknown = httpx.post(f"{model.url}/v1/images", json={})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_found")
    assert httpx.post(f"{model.url}/v1/chat/completions", content=b"{").status_code == 400


def test_directive_acts_on_its_step_and_as_often_as_it_says(model: Model) -> None:
    assert "30 days" in model.text("[[error 500 step=plan]]\nHow to return?")
    for _ in range(2):
        with pytest.raises(openai.InternalServerError):
            model.chat("[[error 500 times=2]]\nHow to return?")
    assert "30 days" in model.text("[[error 500 times=2]]\nHow to return?")
    model.trace_id = uuid4().hex  # another trace starts again
    with pytest.raises(openai.InternalServerError):
        model.chat(
            "[[error 500 times=2]]\nHow to return?", extra_headers={"traceparent": f"00-{model.trace_id}-{1:016x}-01"}
        )


def test_the_script_does_not_see_directives(model: Model) -> None:
    said = model.chat("[[hang seconds=0]]\nI want a Mug", MUG, tools=[TOOL]).choices[0].message
    assert json.loads(said.tool_calls[0].function.arguments) == {"sku": "mug", "quantity": 1}


def test_flood(model: Model) -> None:
    chunks = model.stream("[[stream n=500 bytes=200]]")
    words = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert {len(word) for word in words} == {200}
    digits = str.maketrans("abcdefghij", "0123456789")
    assert [int(word.split(".")[0].translate(digits)) for word in words] == list(range(500))
    assert chunks[-1].usage.completion_tokens == 500 * 200 // 4
    assert len(model.text("[[stream n=500 bytes=200]]")) == 100_000


def test_truncated_answers_break_off(model: Model) -> None:
    read: list[str] = []
    with pytest.raises(openai.APIConnectionError):  # noqa: PT012 - what came before it breaks counts
        for chunk in model.chat("[[truncate]]\nHow to return?", stream=True):
            read.append(chunk.choices[0].delta.content or "")
    assert 1 < len(read) < len(model.text("How to return?").split())
    with pytest.raises(openai.APIConnectionError):
        model.chat("[[truncate]]\nHow to return?")


def test_malformed_tool_call(model: Model) -> None:
    call = model.chat("[[malformed]]\nI want a Mug", MUG, tools=[TOOL]).choices[0].message.tool_calls[0]
    with pytest.raises(json.JSONDecodeError):
        json.loads(call.function.arguments)


async def test_the_orchestrator_reads_streams(model: Model) -> None:
    async with aiohttp.ClientSession() as http:
        chat = llm.ChatModel(http, model.url)

        async def read(text: str) -> list[str | llm.Answer]:
            prompt = llm.Prompt("compose", 0, [{"role": "user", "content": text}])
            return [part async for part in chat.stream(prompt)]

        *words, answer = await read("Hello")
        assert isinstance(answer, llm.Answer)
        assert "".join(map(str, words)) == answer.text == "I can place orders, track them and answer questions."
        assert len(words) == 9
        for cue in ("[[truncate]]", "[[error 500]]", "[[error 429]]"):
            with pytest.raises(llm.ModelError, match="compose"):
                await read(f"{cue}\nHello")


def holds(model: Model) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = httpx.get(f"{model.url}/holds").json()["holds"]
    return [held for held in listed if held["trace_id"] == model.trace_id]


def test_hold_is_listed_until_it_is_released(model: Model) -> None:
    said: list[str] = []
    calls = [
        threading.Thread(target=lambda: said.append(model.text("[[hold the-key]]\nHow to return?"))) for _ in range(2)
    ]
    for call in calls:
        call.start()
    wait_until(lambda: len(holds(model)) == 2)
    assert holds(model)[0] == {"key": "the-key", "step": "compose", "trace_id": model.trace_id}
    assert len(model.ledger()) == 2, "the ledger knows what is held"
    assert not said
    assert httpx.post(f"{model.url}/holds/other/release").json() == {"released": 0}
    assert httpx.post(f"{model.url}/holds/the-key/release").json() == {"released": 2}
    for call in calls:
        call.join(10)
    assert len(said) == 2
    assert holds(model) == []


def test_hold_ends_when_its_caller_leaves(model: Model) -> None:
    with pytest.raises(openai.APITimeoutError):
        model.chat("[[hold left-alone]]\nHow to return?", timeout=0.5)
    wait_until(lambda: not holds(model))


def wait_until(condition: Any) -> None:
    def attempt() -> None:
        if not condition():
            raise OSError("not yet")

    wait_for("the condition", attempt, Path(os.devnull))


@contextmanager
def server(folder: Path, **environment: str) -> Iterator[tuple[Model, subprocess.Popen[bytes]]]:
    """A model server of its own."""
    port = free_port()
    base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "images/bazaar"), "BAZAAR_HOST": "127.0.0.1"}
    base |= {"BAZAAR_PORT": str(port), "BAZAAR_LEDGER_PATH": str(folder / "calls.sqlite")}
    log = folder / "model.log"
    with log.open("ab") as out:
        child = subprocess.Popen([sys.executable, "-m", "bazaar", "model"], env={**base, **environment}, stderr=out)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for("model", lambda: httpx.get(f"{url}/readyz").raise_for_status(), log)
        yield Model(url), child
    finally:
        child.kill()
        child.wait(10)


def test_kill_loses_no_answered_call(tmp_path: Path) -> None:
    answered: list[str] = []

    def ask(model: Model) -> None:
        try:
            for number in range(10_000):
                answered.append(model.chat("How to return?", seed=number).id)
        except openai.OpenAIError:
            return  # it was killed

    with server(tmp_path, BAZAAR_UPSTREAM="second") as (model, child):
        askers = [threading.Thread(target=ask, args=(model,)) for _ in range(4)]
        for asker in askers:
            asker.start()
        wait_until(lambda: len(answered) >= 50)
        child.send_signal(signal.SIGKILL)
        for asker in askers:
            asker.join(20)
    with server(tmp_path, BAZAAR_UPSTREAM="second") as (again, _):
        again.trace_id = model.trace_id
        rows = again.ledger()
        boot_id = httpx.get(f"{again.url}/ledger").json()["boot_id"]
    assert len(answered) >= 50
    kept = [row["key"][:24] for row in rows]
    for name in answered:  # one row each: four asked the same
        kept.remove(name.removeprefix("chatcmpl-"))
    assert len(kept) <= 4, "only what was not answered yet is left"
    assert {row["upstream"] for row in rows} == {"second"}
    assert boot_id not in {row["boot_id"] for row in rows}


def test_planted_miscount(tmp_path: Path) -> None:
    with server(tmp_path, FAULTS="usage_miscounted") as (model, _):
        usage = model.chat().usage
        assert usage.prompt_tokens < model.ledger()[0]["prompt_tokens"]


def test_planted_loss_of_a_chunk(tmp_path: Path) -> None:
    with server(tmp_path, FAULTS="stream_chunk_lost") as (model, _):
        words = [c.choices[0].delta.content or "" for c in model.stream() if c.choices]
        whole = model.text("How to return?")
        assert len("".join(words).split()) == len(whole.split()) - 1
