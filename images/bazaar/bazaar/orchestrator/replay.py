"""Replay: the steps of a recorded episode are really run again, with answers from the record in place of ports.

After the replay of workflow engines (Temporal: the same commands, or the replay fails). Tools never act in a replay.
"""

import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from typing_extensions import override

from bazaar.faults import fault
from bazaar.orchestrator import steps
from bazaar.orchestrator.agents import AGENTS
from bazaar.orchestrator.llm import Answer, ModelError, Prompt
from bazaar.orchestrator.ports import Live
from bazaar.orchestrator.record import Recorder
from bazaar.orchestrator.steps import DONE, FIRST, Episode, Outputs
from bazaar.problems import Problem
from bazaar.records import (
    Call,
    Difference,
    ReplayConfig,
    ReplayedStep,
    ReplayIn,
    ReplayOut,
    Step,
    state_after,
    state_before,
)
from bazaar.streams import MAX_DELIVER

MAX_STEPS = 100
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[A-Z]{0,3}\b\d{4,10}-\d{1,6}\b")
_FACT = re.compile(r"[\w-]*\d[\w-]*(?:[.,]\d+)*")
"""A word with a digit in it: a number, an amount, an id."""


class Unrecorded(Exception):
    """A step asked what is not in the record."""


class Player(Recorder):
    """Ports that answer from a record; what passes is kept, as in the original."""

    def __init__(self, wish: ReplayIn, live: Live) -> None:
        super().__init__(live)
        self._mode, self._left = wish.mode, [call for step in wish.record.steps for call in step.calls]
        self._prompts = {AGENTS[name].prompt: text for name, text in wish.config.agents.items()}

    @override
    async def answer(self, prompt: Prompt) -> Answer:
        messages = [
            m | {"content": self._prompts[m["content"]]} if m.get("content") in self._prompts else m
            for m in prompt.messages
        ]
        return await super().answer(replace(prompt, messages=messages))

    @override
    async def _tell(self, call: Call, ask: Callable[[], Awaitable[Any]]) -> Any:
        if call.port == "model" and self._mode != "EXACT":
            try:
                return await ask()
            except ModelError as error:
                raise Problem("unavailable", "the model does not answer; try again") from error
        for kept in self._left:
            if self._key(kept) == self._key(call):
                self._left.remove(kept)
                return kept.answer
        raise Unrecorded(f"{call.port} was asked what is not in the record: {json.dumps(call.asked)[:200]}")

    def _key(self, call: Call) -> str:
        if self._mode == "EXACT":
            return f"{call.port} {call.request}"
        if self._mode == "SIMILAR":
            return f"{call.port} {_ID.sub('#', json.dumps(call.asked, sort_keys=True))}"
        return f"{call.port} {call.asked.get('tool')}"


async def replay(wish: ReplayIn, live: Live) -> ReplayOut:
    """Run a record again and compare as its mode asks. Of `live` only the model is asked, and not for EXACT.

    Raises Problem `refused` for a configuration that does not fit, `unavailable` if the model does not answer.
    """
    strangers = sorted(set(wish.config.agents) - set(AGENTS))
    if strangers or (wish.mode != "ADAPTIVE" and wish.config != ReplayConfig()):
        raise Problem("refused", "only ADAPTIVE takes a configuration, and only for agents that there are")
    done, failure = await _run(wish, live)
    if fault("replay_echoes_record") is not None:
        done, failure = wish.record.steps, None
    difference = _difference(wish, done, failure)
    steps_out = [ReplayedStep(step=step.step, state=step.state) for step in done]
    return ReplayOut(equal=difference is None, steps=steps_out, first_difference=difference)


async def _run(wish: ReplayIn, live: Live) -> tuple[list[Step], Difference | None]:
    """The steps that came out, and why there are no more if one broke."""
    inputs = wish.record.inputs
    # A tool that did not answer is in a record only if it was the last delivery.
    seed = inputs.seed if wish.config.seed is None else wish.config.seed
    episode = Episode.model_validate(inputs.model_dump() | {"seed": seed, "delivery": MAX_DELIVER})
    outputs: Outputs = {}
    done: list[Step] = []
    player, state, step = Player(wish, live), state_before(inputs), FIRST
    while step != DONE and len(done) < MAX_STEPS:
        passed = len(player.calls)
        try:
            output = outputs[step] = await steps.perform(step, episode, outputs, player)
            following = steps.following(step, outputs)
        except Problem:
            raise
        except Exception as error:  # a changed record may break a step in any way: that is what is looked for
            return done, Difference(step=step, reason=f"{type(error).__name__}: {error}")
        calls = player.calls[passed:]
        state = state_after(state, step, calls, output)
        done.append(Step(step=step, calls=calls, output=output, state=state))
        step = following
    return done, None


def _difference(wish: ReplayIn, done: list[Step], failure: Difference | None) -> Difference | None:
    record = wish.record
    if wish.mode == "ADAPTIVE":
        wanted, reached = _goal(record.steps), _goal(done)
        missed = Difference(step=done[-1].step if done else FIRST, reason=f"{reached} instead of {wanted}")
        return failure or (None if wanted == reached else missed)
    if wish.mode == "EXACT" and record.state != state_before(record.inputs):
        return Difference(step="inputs", reason="the state before the first step is another")
    views: list[list[Any]] = [record.steps, done]
    if wish.mode == "SIMILAR":
        views = [_path(record.steps), _path(done)]
    for number, (wanted, got) in enumerate(zip_longest(*views)):
        if wanted != got:
            name = (done if number < len(done) else record.steps)[number].step
            return failure if failure and failure.step == name else Difference(step=name, reason="another result")
    return failure


def _path(done: list[Step]) -> list[Any]:
    """Each step with what it had the tools do, and with ids in the order of their first appearance for names."""
    path = [[step.step, [call.asked for call in _effects(step)], _outcome(step)] for step in done]
    ids: dict[str, str] = {}
    named: list[Any] = json.loads(_ID.sub(lambda m: ids.setdefault(m[0], f"#{len(ids)}"), json.dumps(path)))
    return named


def _goal(done: list[Step]) -> tuple[dict[str, int], list[str]]:
    """How often each tool was successful, and the facts that the customer is told."""
    successes = Counter(call.asked["tool"] for step in done for call in _effects(step) if _outcome(step) is True)
    reply = str(done[-1].output.get("text", "")) if done else ""
    return dict(sorted(successes.items())), sorted(set(_FACT.findall(reply)))


def _effects(step: Step) -> list[Call]:
    return [call for call in step.calls if call.port == "tools"]


def _outcome(step: Step) -> Any:
    """Of a step that calls a tool: True, or the code of a refusal."""
    return step.output.get("ok") or step.output.get("code")
