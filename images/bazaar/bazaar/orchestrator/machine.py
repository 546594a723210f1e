"""The state machine of an episode: it runs the steps, with a checkpoint after each, to `done` or `failed`.

Each step has one checkpoint row. A step whose row is done is never run again; one that was only started is, and is safe
to repeat because its effects have keys. The row that ends a step and the one that starts the next are one transaction.
"""

import json
from dataclasses import dataclass
from uuid import UUID

import httpx

from bazaar import tracing
from bazaar.conversations import append
from bazaar.db import Database
from bazaar.embedding import embed
from bazaar.orchestrator import steps
from bazaar.orchestrator.llm import ChatModel
from bazaar.orchestrator.steps import DONE, FIRST, Episode, Output, Outputs, Ports, ToolError


@dataclass(frozen=True)
class Ended:
    """How an episode ended: `state` is done or failed."""

    conversation: int
    state: str


class ToolsClient:
    """The tools role."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def call(self, episode: Episode, step: str, tool: str, arguments: Output) -> Output:
        """Call a tool under the effect key of the step. Raises ToolError."""
        body = {
            "tenant_id": str(episode.tenant_id),
            "episode_id": str(episode.episode_id),
            "key": f"{episode.episode_id}/{step}",
            "arguments": arguments,
        }
        try:
            response = await self._client.post(f"/tools/{tool}", json=body, headers=tracing.headers())
            response.raise_for_status()
            result: Output = response.json()
        except (httpx.HTTPError, json.JSONDecodeError) as error:
            raise ToolError(f"{tool}: {error}") from error
        return result


class Shelf:
    """Documents and products in the database."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def search(self, episode: Episode) -> Output:
        """Documents near the question, and the products."""
        async with self._db.tenant(episode.tenant_id) as transaction:
            documents = await transaction.rows("nearest_documents", embedding=embed(episode.question))
            products = await transaction.rows("list_products")
        return {"documents": [dict(d._mapping) for d in documents], "products": [dict(p._mapping) for p in products]}


class Machine:
    """Runs episodes to their end."""

    def __init__(self, db: Database, model: ChatModel, tools: httpx.AsyncClient) -> None:
        self._db, self._ports = db, Ports(model, ToolsClient(tools), Shelf(db))

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
            await transaction.run("start_step", episode_id=episode_id, step=FIRST)
        episode = Episode(
            tenant_id,
            episode_id,
            row.user_id,
            row.conversation,
            row.seed,
            [{"role": m.role, "content": m.content} for m in reversed(history)],
            history[0].channel,
        )
        step = FIRST
        while step != DONE:
            if step not in outputs:
                outputs[step] = await steps.perform(step, episode, outputs, self._ports)
                await self._checkpoint(episode, step, outputs)
            step = steps.following(step, outputs)
        return Ended(episode.conversation, "done")

    async def fail(self, tenant_id: UUID, episode_id: UUID, error: str) -> Ended | None:
        """Give an episode up. `error` is a stable code."""
        async with self._db.tenant(tenant_id) as transaction:
            row = await transaction.row(
                "finish_episode", episode_id=episode_id, state="failed", intent=None, reply=None, error=error
            )
        return Ended(row.conversation, "failed") if row else None

    async def _checkpoint(self, episode: Episode, step: str, outputs: Outputs) -> None:
        following = steps.following(step, outputs)
        async with self._db.tenant(episode.tenant_id) as transaction:
            output = json.dumps(outputs[step])
            await transaction.run("finish_step", episode_id=episode.episode_id, step=step, output=output)
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
