"""The steps of an episode on ports of this file's own: every way that a saga may go."""

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from bazaar.orchestrator import steps
from bazaar.orchestrator.agents import COMPENSATIONS
from bazaar.orchestrator.llm import Answer, Function, Prompt, Usage
from bazaar.orchestrator.steps import DONE, FIRST, Episode, Output, Outputs, ToolError
from bazaar.streams import MAX_DELIVER

NOBODY = UUID(int=0)
BUY = [("place_order", "{}"), ("pay_order", "{}"), ("ship_order", "{}")]


@dataclass
class World:
    """A model that wants BUY, and tools of which each does, refuses, or does and does not answer."""

    fate: dict[str, str]
    done: list[str] = field(default_factory=list)
    said: list[dict[str, object]] = field(default_factory=list)

    async def decide(self, text: str) -> Output | None:
        return {"agent": "order", "exit": True, "model_version": ""}

    async def search(self, episode: Episode) -> Output:
        return {"documents": [], "products": []}

    async def answer(self, prompt: Prompt) -> Answer:
        self.said = prompt.messages
        calls = [Function(name=name, arguments=text) for name, text in BUY] if prompt.step == "plan" else []
        return Answer("" if calls else "Well.", calls, Usage(prompt_tokens=1, completion_tokens=1))

    async def call(self, episode: Episode, step: str, tool: str, arguments: Output) -> Output:
        fate = self.fate.get(tool, "does")
        if fate == "refuses":
            return {"ok": False, "code": "refused"}
        if tool != "place_order":
            assert arguments == {"order_number": "1001-1"}
        undone = {undo: tool for tool, undo in COMPENSATIONS.items()}.get(tool)
        if undone in self.done:
            self.done.remove(undone)
        elif undone is None:
            self.done.append(tool)
        if fate == "is silent":
            raise ToolError(tool)
        return {"ok": True, "order_number": "1001-1"}


async def run(world: World, delivery: int) -> Outputs:
    episode = Episode(
        tenant_id=NOBODY,
        episode_id=NOBODY,
        user_id="alice",
        conversation=1,
        seed=7,
        history=[{"role": "user", "content": "Buy."}],
        channel="web",
        delivery=delivery,
    )
    outputs: Outputs = {}
    step = FIRST
    for _ in range(20):
        outputs[step] = await steps.perform(step, episode, outputs, world)
        step = steps.following(step, outputs)
        if step == DONE:
            return outputs
    raise AssertionError(f"no end: {list(outputs)}")


@given(st.dictionaries(st.sampled_from([name for name, _ in BUY]), st.sampled_from(["refuses", "is silent"])))
def test_all_or_nothing(fate: dict[str, str]) -> None:
    """Either every call is done, or none that can be undone; what nobody knows of counts as to be undone."""
    world = World(fate)
    try:
        outputs = asyncio.run(run(world, MAX_DELIVER))
    except ToolError:
        assert fate["place_order"] == "is silent"  # nothing to undo: the task becomes a dead letter
        return
    silent = fate.get("ship_order") == "is silent" and len(fate) == 1
    assert world.done == ([name for name, _ in BUY] if not fate else ["ship_order"] if silent else [])
    undone = [step for step in outputs if step.startswith("undo")]
    assert undone == sorted(undone, reverse=True)
    told = [message for message in world.said if message["role"] == "tool"]
    assert len(told) == sum(step.partition("-")[0] in ("tool", "undo") for step in outputs)


def test_silence_before_the_last_delivery_is_tried_again() -> None:
    world = World({"pay_order": "is silent"})
    try:
        asyncio.run(run(world, MAX_DELIVER - 1))
    except ToolError:
        return
    raise AssertionError("the step was not left to the next delivery")
