"""The recorder: it stands between a step and its ports, and keeps what passes."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from pydantic import TypeAdapter

from bazaar.orchestrator.llm import Answer, Prompt, Say
from bazaar.orchestrator.ports import Live
from bazaar.orchestrator.steps import Episode, Output, ToolError
from bazaar.records import Call, Inputs, digest

_ANSWER = TypeAdapter(Answer)


def inputs_of(episode: Episode) -> Inputs:
    """What of an episode its record holds: all but the delivery, which is no part of what it is."""
    return Inputs.model_validate(episode.model_dump(exclude={"delivery"}))


class Recorder:
    """Ports that ask the live ones; what was asked and answered is in `calls`, and `say` hears what is aloud."""

    def __init__(self, live: Live, say: Say | None = None) -> None:
        self._live, self._say = live, say
        self.calls: list[Call] = []

    async def decide(self, text: str) -> Output | None:
        """Ask the router."""
        asked = {"text": text}
        decision: Output | None = await self._pass("router", asked, asked, lambda: self._live.decide(text))
        return decision

    async def answer(self, prompt: Prompt) -> Answer:
        """Ask the model."""

        async def ask() -> Any:
            answer = await self._live.answer(prompt, self._say if prompt.aloud else None)
            return _ANSWER.dump_python(answer, mode="json")

        asked = {"step": prompt.step, "seed": prompt.seed}
        return _ANSWER.validate_python(await self._pass("model", asked, prompt.body(), ask))

    async def search(self, episode: Episode) -> Output:
        """Ask the retriever."""
        asked = {"user_id": episode.user_id, "topic": episode.topic}
        found: Output = await self._pass("retriever", asked, asked, lambda: self._live.search(episode))
        return found

    async def call(self, episode: Episode, step: str, tool: str, arguments: Output) -> Output:
        """Call a tool. One that did not answer is kept with null, and raises ToolError."""

        async def ask() -> Output | None:
            try:
                return await self._live.call(episode, step, tool, arguments)
            except ToolError:
                return None

        asked = {"step": step, "tool": tool, "arguments": arguments}
        result: Output | None = await self._pass("tools", asked, {**asked, "episode": str(episode.episode_id)}, ask)
        if result is None:
            raise ToolError(f"{tool}: no answer")
        return result

    async def _pass(
        self,
        port: Literal["router", "model", "retriever", "tools"],
        asked: dict[str, Any],
        request: Any,
        ask: Callable[[], Awaitable[Any]],
    ) -> Any:
        call = Call(port=port, asked=asked, request=digest(request), answer=None)
        call.answer = await self._tell(call, ask)
        self.calls.append(call)
        return call.answer

    async def _tell(self, call: Call, ask: Callable[[], Awaitable[Any]]) -> Any:
        return await ask()
