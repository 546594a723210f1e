"""The steps of an episode as functions of the episode, of earlier outputs and of ports, without a database.

    route, retrieve, plan, tool-1 ... tool-n, (undo-m ... undo-1), compose

The machine runs them with checkpoints and live ports; a replay runs the same functions with recorded ports. So whatever
decides an output is in the arguments: no clock, no randomness, no global.

The calls of a plan are a saga (Garcia-Molina and Salem 1987): each has its own step and effect. When one is refused,
those before it that can be undone are undone, last first, and the customer is told what is so. A tool that does not
answer on the last delivery of a task counts as refused if something is to be undone; whether it did anything is then
unknown, so it is undone too.
"""

import hashlib
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from bazaar.faults import fault
from bazaar.orchestrator.agents import AGENTS, COMPENSATIONS, MAX_CALLS, ROUTE_PROMPT, ROUTE_SCHEMA
from bazaar.orchestrator.llm import Answer, ModelError, Prompt, json_object
from bazaar.records import Inputs
from bazaar.safety.pii import redact_answer
from bazaar.streams import MAX_DELIVER

Output = dict[str, Any]
Outputs = dict[str, Output]
FIRST, DONE = "route", "done"
UNKNOWN = "unavailable"
"""The code of a tool call of which nobody knows whether it had its effect."""


class ToolError(Exception):
    """The tools did not answer; calling again may help."""


class Episode(Inputs, frozen=True):
    """An episode as its steps see it: what it starts from, and the attempt."""

    delivery: int
    """Which delivery of its task this is, from 1. Only a tool that does not answer makes a difference of it."""

    @property
    def question(self) -> str:
        """The message to be answered."""
        return self.history[-1]["content"]

    @property
    def topic(self) -> str:
        """What to look up. The question outweighs the one before, without which "and on Sundays?" says little."""
        asked = [message["content"] for message in self.history if message["role"] == "user"]
        return " ".join([self.question, self.question, *asked[-2:-1]])

    def step_seed(self, step: str) -> int:
        """A seed for the model: a function of the tenant's seed, the conversation, the turn and the step."""
        text = f"{self.seed}/{self.conversation}/{len(self.history)}/{step}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


class Ports(Protocol):
    """All that a step may ask."""

    async def decide(self, text: str) -> Output | None:
        """Ask a classifier that is cheaper than the model: {"agent": str, "exit": bool, "model_version": str}.

        `exit` is false if it is not sure; None: no answer.
        """
        ...

    async def search(self, episode: Episode) -> Output:
        """Look up documents on the topic, and the products."""
        ...

    async def answer(self, prompt: Prompt) -> Answer:
        """Ask the language model. Raises ModelError."""
        ...

    async def call(self, episode: Episode, step: str, tool: str, arguments: Output) -> Output:
        """Call a tool; episode and step name the effect. Gives {"ok": bool, ...}. Raises ToolError."""
        ...


def following(step: str, outputs: Outputs) -> str:
    """The step after `step`, whose output is in `outputs`; DONE after the last."""
    if step == "route":
        return "retrieve"
    if step == "retrieve":
        return "plan"
    if step == "compose":
        return DONE
    kind, _, ordinal = step.partition("-")
    number = int(ordinal or 0)
    if kind == "undo" or (kind == "tool" and not outputs[step]["ok"]):
        return _undo_from(outputs, number - 1 if kind == "undo" else number)
    return f"tool-{number + 1}" if number < len(outputs["plan"]["calls"]) else "compose"


def _undo_from(outputs: Outputs, last: int) -> str:
    """The step that undoes the last call, of those up to `last`, that did or may have done what can be undone."""
    for number in range(last, 0, -1):
        result = outputs[f"tool-{number}"]
        happened = result["ok"] or result["code"] == UNKNOWN
        if outputs["plan"]["calls"][number - 1]["tool"] in COMPENSATIONS and happened:
            return f"undo-{number}" if fault("compensation_skipped") is None else "compose"
    return "compose"


def tool_of(step: str, outputs: Outputs) -> str | None:
    """The tool that a step calls, or None."""
    kind, _, number = step.partition("-")
    if kind not in ("tool", "undo"):
        return None
    tool: str = outputs["plan"]["calls"][int(number) - 1]["tool"]
    return tool if kind == "tool" else COMPENSATIONS[tool]


async def perform(step: str, episode: Episode, outputs: Outputs, ports: Ports) -> Output:
    """Run one step. Raises ModelError or ToolError if it may be tried again."""
    kind = step.partition("-")[0]
    return await _STEPS[kind](step, episode, outputs, ports)


async def _route(step: str, episode: Episode, outputs: Outputs, ports: Ports) -> Output:
    drawn = {} if fault("random_step") is None else {"sample": random.random()}  # noqa: S311 - a planted fault
    decision = await ports.decide(episode.question)
    if decision and decision["exit"]:
        return {"agent": decision["agent"], "exit": "early", **drawn}
    messages = [{"role": "system", "content": ROUTE_PROMPT}, *episode.history]
    answer = await ports.answer(Prompt(step, episode.step_seed(step), messages, schema=ROUTE_SCHEMA))
    agent = json_object(answer.text, step).get("agent")
    if agent not in AGENTS:
        raise ModelError(f"route: no agent {agent!r}")
    exit_ = "escalated" if decision else "fallback"
    return {"agent": agent, "exit": exit_, "usage": answer.usage.model_dump(), **drawn}


async def _retrieve(step: str, episode: Episode, outputs: Outputs, ports: Ports) -> Output:
    return await ports.search(episode)


async def _plan(step: str, episode: Episode, outputs: Outputs, ports: Ports) -> Output:
    tools = AGENTS[outputs["route"]["agent"]].tools
    if not tools:
        return {"calls": []}
    answer = await ports.answer(Prompt(step, episode.step_seed(step), _briefing(episode, outputs), tools))
    offered = {tool["name"] for tool in tools}
    strangers = sorted({call.name for call in answer.calls} - offered)
    if strangers or len(answer.calls) > MAX_CALLS:
        raise ModelError(f"plan: {len(answer.calls)} calls (at most {MAX_CALLS}); not offered: {strangers}")
    calls = [{"tool": call.name, "arguments": json_object(call.arguments, step)} for call in answer.calls]
    asked_back = {} if calls else {"text": redact_answer(answer.text)}
    return {"calls": calls, "usage": answer.usage.model_dump(), **asked_back}


async def _tool(step: str, episode: Episode, outputs: Outputs, ports: Ports) -> Output:
    number, tool = int(step.removeprefix("tool-")), tool_of(step, outputs)
    assert tool is not None
    try:
        return await ports.call(episode, step, tool, _arguments(outputs, number))
    except ToolError:
        if episode.delivery >= MAX_DELIVER and _undo_from(outputs, number - 1) != "compose":
            return {"ok": False, "code": UNKNOWN}
        raise


async def _undo(step: str, episode: Episode, outputs: Outputs, ports: Ports) -> Output:
    number, tool = int(step.removeprefix("undo-")), tool_of(step, outputs)
    assert tool is not None
    of = outputs[f"tool-{number}"].get("order_number") or _arguments(outputs, number)["order_number"]
    return await ports.call(episode, step, tool, {"order_number": of})


def _arguments(outputs: Outputs, number: int) -> Output:
    """What a call is made with. A plan is older than its order's number; left open, it is the order just placed."""
    call = outputs["plan"]["calls"][number - 1]
    planned: Output = call["arguments"]
    named = [o["order_number"] for n in range(1, number) if "order_number" in (o := outputs[f"tool-{n}"])]
    forms = {tool["name"]: tool["parameters"] for tool in AGENTS[outputs["route"]["agent"]].tools}
    if named and "order_number" in forms[call["tool"]]["properties"]:
        return {"order_number": named[-1], **planned}
    return planned


async def _compose(step: str, episode: Episode, outputs: Outputs, ports: Ports) -> Output:
    if "text" in outputs["plan"]:
        return {"text": outputs["plan"]["text"]}  # the agent asks back instead of acting
    messages = _briefing(episode, outputs)
    numbers = range(1, len(outputs["plan"]["calls"]) + 1)
    for name in [*(f"tool-{n}" for n in numbers), *(f"undo-{n}" for n in reversed(numbers))]:
        if name not in outputs:
            continue
        arguments = outputs["plan"]["calls"][int(name.partition("-")[2]) - 1]["arguments"]
        function = {"name": tool_of(name, outputs), "arguments": json.dumps(arguments, sort_keys=True)}
        messages += [
            {"role": "assistant", "tool_calls": [{"id": name, "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": name, "content": json.dumps(outputs[name], sort_keys=True)},
        ]
    answer = await ports.answer(Prompt(step, episode.step_seed(step), messages, aloud=True))
    if not answer.text:
        raise ModelError("compose: the answer is empty")
    return {"text": redact_answer(answer.text), "usage": answer.usage.model_dump()}


def _briefing(episode: Episode, outputs: Outputs) -> list[dict[str, Any]]:
    agent = AGENTS[outputs["route"]["agent"]]
    context = json.dumps(outputs["retrieve"], sort_keys=True, ensure_ascii=False)
    messages = [
        {"role": "system", "content": agent.prompt},
        {"role": "system", "content": f"Context: {context}"},
        *episode.history,
    ]
    if fault("clock_in_prompt") is not None:
        messages.insert(1, {"role": "system", "content": f"It is {datetime.now(UTC).isoformat()}."})
    if fault("prompt_padding") is not None:
        size = len(json.dumps(messages, ensure_ascii=False)) * 2 // 5
        messages.insert(1, {"role": "system", "content": ("Be brief, be kind and be exact. " * size)[:size]})
    return messages


_Step = Callable[[str, Episode, Outputs, Ports], Awaitable[Output]]
_STEPS: Mapping[str, _Step] = {
    "route": _route,
    "retrieve": _retrieve,
    "plan": _plan,
    "tool": _tool,
    "undo": _undo,
    "compose": _compose,
}
