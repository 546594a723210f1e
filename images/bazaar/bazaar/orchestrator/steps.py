"""The steps of an episode as functions of the episode, of earlier outputs and of ports, without a database.

    route, retrieve, plan, tool-1 ... tool-n, (undo-m ... undo-1), compose

The machine runs them with checkpoints and live ports; a replay runs the same functions with recorded ports. So whatever
decides an output is in the arguments: no clock, no randomness, no global.

The calls of a plan are a saga (Garcia-Molina and Salem 1987): each has its own step and effect. When one is refused,
those before it that can be undone are undone, last first, and the customer is told what is so.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from bazaar.orchestrator.agents import AGENTS, COMPENSATIONS, MAX_CALLS, ROUTE_PROMPT, ROUTE_SCHEMA
from bazaar.orchestrator.llm import Answer, ModelError, Prompt, json_object
from bazaar.safety.pii import redact_answer

Output = dict[str, Any]
Outputs = dict[str, Output]
FIRST, DONE = "route", "done"


class ToolError(Exception):
    """The tools did not answer; calling again may help."""


@dataclass(frozen=True)
class Episode:
    """An episode as its steps see it."""

    tenant_id: UUID
    episode_id: UUID
    user_id: str
    conversation: int
    seed: int
    history: list[dict[str, str]]
    """Chat messages up to and with the one to be answered, oldest first."""
    channel: str

    @property
    def question(self) -> str:
        """The message to be answered."""
        return self.history[-1]["content"]

    def step_seed(self, step: str) -> int:
        """A seed for the model: a function of the tenant's seed, the conversation, the turn and the step."""
        text = f"{self.seed}/{self.conversation}/{len(self.history)}/{step}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])


class Model(Protocol):
    """The language model."""

    async def answer(self, prompt: Prompt) -> Answer:
        """Ask. Raises ModelError."""
        ...


class Tools(Protocol):
    """What agents may do to the shop."""

    async def call(self, episode: Episode, step: str, tool: str, arguments: Output) -> Output:
        """Call a tool; episode and step name the effect. Gives {"ok": bool, ...}. Raises ToolError."""
        ...


class Retriever(Protocol):
    """What the shop knows."""

    async def search(self, episode: Episode) -> Output:
        """Documents for the question, and the products."""
        ...


@dataclass(frozen=True)
class Ports:
    """All that a step may ask."""

    model: Model
    tools: Tools
    retriever: Retriever


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
    if kind == "undo":
        return _undo_before(number, outputs)
    if kind == "tool" and not outputs[step]["ok"]:
        return _undo_before(number, outputs)
    return f"tool-{number + 1}" if number < len(outputs["plan"]["calls"]) else "compose"


def _undo_before(number: int, outputs: Outputs) -> str:
    calls = outputs["plan"]["calls"]
    for earlier in range(number - 1, 0, -1):
        if calls[earlier - 1]["tool"] in COMPENSATIONS and outputs[f"tool-{earlier}"]["ok"]:
            return f"undo-{earlier}"
    return "compose"


async def perform(step: str, episode: Episode, outputs: Outputs, ports: Ports) -> Output:
    """Run one step. Raises ModelError or ToolError if it may be tried again."""
    kind = step.partition("-")[0]
    return await _STEPS[kind](step, episode, outputs, ports)


async def _route(step: str, episode: Episode, outputs: Outputs, ports: Ports) -> Output:
    messages = [{"role": "system", "content": ROUTE_PROMPT}, *episode.history]
    answer = await ports.model.answer(Prompt(step, episode.step_seed(step), messages, schema=ROUTE_SCHEMA))
    agent = json_object(answer.text, step).get("agent")
    if agent not in AGENTS:
        raise ModelError(f"route: no agent {agent!r}")
    return {"agent": agent, "usage": answer.usage.model_dump()}


async def _retrieve(step: str, episode: Episode, outputs: Outputs, ports: Ports) -> Output:
    return await ports.retriever.search(episode)


async def _plan(step: str, episode: Episode, outputs: Outputs, ports: Ports) -> Output:
    tools = list(AGENTS[outputs["route"]["agent"]].tools)
    if not tools:
        return {"calls": []}
    answer = await ports.model.answer(Prompt(step, episode.step_seed(step), _briefing(episode, outputs), tools))
    offered = {tool["name"] for tool in tools}
    strangers = sorted({call.name for call in answer.calls} - offered)
    if strangers or len(answer.calls) > MAX_CALLS:
        raise ModelError(f"plan: {len(answer.calls)} calls (at most {MAX_CALLS}); not offered: {strangers}")
    calls = [{"tool": call.name, "arguments": json_object(call.arguments, step)} for call in answer.calls]
    return {"calls": calls, "usage": answer.usage.model_dump()}


async def _tool(step: str, episode: Episode, outputs: Outputs, ports: Ports) -> Output:
    number = int(step.removeprefix("tool-"))
    call = outputs["plan"]["calls"][number - 1]
    placed = [o["order_number"] for n in range(1, number) if "order_number" in (o := outputs[f"tool-{n}"])]
    # A plan is made before its order has a number, so what the plan leaves open is the order just placed.
    arguments = {"order_number": placed[-1], **call["arguments"]} if placed else call["arguments"]
    return await ports.tools.call(episode, step, call["tool"], arguments)


async def _undo(step: str, episode: Episode, outputs: Outputs, ports: Ports) -> Output:
    number = int(step.removeprefix("undo-"))
    tool = COMPENSATIONS[outputs["plan"]["calls"][number - 1]["tool"]]
    arguments = {"order_number": outputs[f"tool-{number}"]["order_number"]}
    return await ports.tools.call(episode, step, tool, arguments)


async def _compose(step: str, episode: Episode, outputs: Outputs, ports: Ports) -> Output:
    messages = _briefing(episode, outputs)
    calls = outputs["plan"]["calls"]
    numbers = range(1, len(calls) + 1)
    done = [("tool", n) for n in numbers] + [("undo", n) for n in reversed(numbers)]
    for kind, number in done:
        name, call = f"{kind}-{number}", calls[number - 1]
        if name not in outputs:
            continue
        tool = call["tool"] if kind == "tool" else COMPENSATIONS[call["tool"]]
        function = {"name": tool, "arguments": json.dumps(call["arguments"], sort_keys=True)}
        messages += [
            {"role": "assistant", "tool_calls": [{"id": name, "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": name, "content": json.dumps(outputs[name], sort_keys=True)},
        ]
    answer = await ports.model.answer(Prompt(step, episode.step_seed(step), messages))
    if not answer.text:
        raise ModelError("compose: the answer is empty")
    return {"text": redact_answer(answer.text), "usage": answer.usage.model_dump()}


def _briefing(episode: Episode, outputs: Outputs) -> list[dict[str, Any]]:
    agent = AGENTS[outputs["route"]["agent"]]
    context = json.dumps(outputs["retrieve"], sort_keys=True, ensure_ascii=False)
    return [
        {"role": "system", "content": agent.prompt},
        {"role": "system", "content": f"Context: {context}"},
        *episode.history,
    ]


_Step = Callable[[str, Episode, Outputs, Ports], Awaitable[Output]]
_STEPS: Mapping[str, _Step] = {
    "route": _route,
    "retrieve": _retrieve,
    "plan": _plan,
    "tool": _tool,
    "undo": _undo,
    "compose": _compose,
}
