"""The state machine of an episode: route, retrieve, plan, tool, compose, done.

Each step has one checkpoint row. A step whose row is done is never run again; one that was only started is, and is safe
to repeat because its effects have keys. The row that ends a step and the one that starts the next are one transaction.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx

from bazaar import tracing
from bazaar.conversations import append
from bazaar.db import Database
from bazaar.embedding import embed
from bazaar.orchestrator.agents import AGENTS, ROUTE_PROMPT, ROUTE_SCHEMA
from bazaar.orchestrator.llm import ChatModel, ModelError, Prompt

Output = dict[str, Any]
Outputs = dict[str, Output]
DONE = "done"


class ToolError(Exception):
    """The tools did not answer; calling again may help."""


@dataclass(frozen=True)
class Episode:
    """An episode as its steps see it."""

    tenant_id: UUID
    episode_id: UUID
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


@dataclass(frozen=True)
class Ended:
    """How an episode ended: `state` is done or failed."""

    conversation: int
    state: str


class Machine:
    """Runs episodes to their end."""

    def __init__(self, db: Database, model: ChatModel, tools: httpx.AsyncClient) -> None:
        self._db, self._model, self._tools = db, model, tools
        self._steps: dict[str, tuple[Callable[[Episode, Outputs], Awaitable[Output]], Callable[[Output], str]]] = {
            "route": (self._route, lambda _: "retrieve"),
            "retrieve": (self._retrieve, lambda _: "plan"),
            "plan": (self._plan, lambda plan: "tool" if plan["tool"] else "compose"),
            "tool": (self._tool, lambda _: "compose"),
            "compose": (self._compose, lambda _: DONE),
        }

    async def run(self, tenant_id: UUID, episode_id: UUID) -> Ended | None:
        """Run an episode from its last checkpoint to its end; None if there is no such episode (its tenant is gone).

        Raises ModelError or ToolError if a step failed and may be tried again.
        """
        async with self._db.tenant(tenant_id) as transaction:
            row = await transaction.row("load_episode", episode_id=episode_id)
            if row is None:
                return None
            if row.state not in ("queued", "running"):
                return Ended(row.conversation, row.state)
            history = await transaction.rows("load_history", conversation=row.conversation, episode_id=episode_id)
            outputs: Outputs = {s.step: s.output for s in await transaction.rows("load_steps", episode_id=episode_id)}
            await transaction.run("start_episode", episode_id=episode_id)
            await transaction.run("start_step", episode_id=episode_id, step="route")
        episode = Episode(
            tenant_id,
            episode_id,
            row.conversation,
            row.seed,
            [{"role": m.role, "content": m.content} for m in reversed(history)],
            history[0].channel,
        )
        step = "route"
        while step != DONE:
            work, following = self._steps[step]
            if step in outputs:
                step = following(outputs[step])
                continue
            outputs[step] = await work(episode, outputs)
            finished, step = step, following(outputs[step])
            await self._checkpoint(episode, finished, outputs, step)
        return Ended(episode.conversation, "done")

    async def fail(self, tenant_id: UUID, episode_id: UUID, error: str) -> Ended | None:
        """Give an episode up. `error` is a stable code."""
        async with self._db.tenant(tenant_id) as transaction:
            row = await transaction.row(
                "finish_episode", episode_id=episode_id, state="failed", intent=None, reply=None, error=error
            )
        return Ended(row.conversation, "failed") if row else None

    async def _checkpoint(self, episode: Episode, finished: str, outputs: Outputs, following: str) -> None:
        async with self._db.tenant(episode.tenant_id) as transaction:
            output = json.dumps(outputs[finished])
            await transaction.run("finish_step", episode_id=episode.episode_id, step=finished, output=output)
            if following != DONE:
                await transaction.run("start_step", episode_id=episode.episode_id, step=following)
                return
            reply = outputs["compose"]["text"]
            ended = await transaction.row(
                "finish_episode",
                episode_id=episode.episode_id,
                state="done",
                intent=outputs["route"]["agent"],
                reply=reply,
                error=None,
            )
            if ended:  # else another delivery of the task was faster
                await append(transaction, episode.conversation, episode.episode_id, "assistant", episode.channel, reply)

    async def _route(self, episode: Episode, outputs: Outputs) -> Output:
        prompt = Prompt(
            "route",
            episode.step_seed("route"),
            [{"role": "system", "content": ROUTE_PROMPT}, *episode.history],
            schema=ROUTE_SCHEMA,
        )
        answer = await self._model.data(prompt)
        if answer.get("agent") not in AGENTS:
            raise ModelError(f"route: no agent {answer.get('agent')!r}")
        return {"agent": answer["agent"]}

    async def _retrieve(self, episode: Episode, outputs: Outputs) -> Output:
        async with self._db.tenant(episode.tenant_id) as transaction:
            documents = await transaction.rows("nearest_documents", embedding=embed(episode.question))
            products = await transaction.rows("list_products")
        return {"documents": [dict(d._mapping) for d in documents], "products": [dict(p._mapping) for p in products]}

    async def _plan(self, episode: Episode, outputs: Outputs) -> Output:
        agent = AGENTS[outputs["route"]["agent"]]
        if not agent.tools:
            return {"tool": None}
        prompt = Prompt("plan", episode.step_seed("plan"), self._briefing(episode, outputs), tools=list(agent.tools))
        call = await self._model.tool_call(prompt)
        return {"tool": call[0], "arguments": call[1]} if call else {"tool": None}

    async def _tool(self, episode: Episode, outputs: Outputs) -> Output:
        plan = outputs["plan"]
        body = {
            "tenant_id": str(episode.tenant_id),
            "episode_id": str(episode.episode_id),
            "key": f"{episode.episode_id}/tool",
            "arguments": plan["arguments"],
        }
        try:
            response = await self._tools.post(f"/tools/{plan['tool']}", json=body, headers=tracing.headers())
            response.raise_for_status()
            result: Output = response.json()
        except (httpx.HTTPError, json.JSONDecodeError) as error:
            raise ToolError(f"{plan['tool']}: {error}") from error
        return result

    async def _compose(self, episode: Episode, outputs: Outputs) -> Output:
        messages = self._briefing(episode, outputs)
        if "tool" in outputs:
            plan = outputs["plan"]
            function = {"name": plan["tool"], "arguments": json.dumps(plan["arguments"], sort_keys=True)}
            messages += [
                {"role": "assistant", "tool_calls": [{"id": "call-1", "type": "function", "function": function}]},
                {"role": "tool", "tool_call_id": "call-1", "content": json.dumps(outputs["tool"], sort_keys=True)},
            ]
        prompt = Prompt("compose", episode.step_seed("compose"), messages)
        return {"text": await self._model.text(prompt)}

    @staticmethod
    def _briefing(episode: Episode, outputs: Outputs) -> list[dict[str, Any]]:
        agent = AGENTS[outputs["route"]["agent"]]
        context = json.dumps(outputs["retrieve"], sort_keys=True, ensure_ascii=False)
        return [
            {"role": "system", "content": agent.prompt},
            {"role": "system", "content": f"Context: {context}"},
            *episode.history,
        ]
