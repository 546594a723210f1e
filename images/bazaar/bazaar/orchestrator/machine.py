"""The state machine of an episode: it runs the steps, with a checkpoint after each, to `done` or `failed`.

Each step has one checkpoint row. A step whose row is done is never run again; one that was only started is, and is safe
to repeat because its effects have keys. The row that ends a step and the one that starts the next are one transaction.
"""

import json
import logging
from uuid import UUID

import httpx
from nats.js import JetStreamContext

from bazaar import tracing
from bazaar.conversations import EPISODES, append
from bazaar.db import Database
from bazaar.embedding import embed
from bazaar.frames import Frames, last_frame, publish_end
from bazaar.orchestrator import steps
from bazaar.orchestrator.llm import ChatModel
from bazaar.orchestrator.steps import DONE, FIRST, Episode, Output, Outputs, Ports, ToolError

LOG = logging.getLogger(__name__)


class _Overtaken(Exception):
    """Another delivery of the task was faster, or the episode was failed meanwhile."""


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

    def __init__(self, db: Database, js: JetStreamContext, model: ChatModel, tools: httpx.AsyncClient) -> None:
        self._db, self._js, self._ports = db, js, Ports(model, ToolsClient(tools), Shelf(db))

    async def run(self, tenant_id: UUID, episode_id: UUID) -> None:
        """Run an episode from its last checkpoint to its end, and tell its clients; nothing if its tenant is gone.

        Raises ModelError or ToolError if a step failed and may be tried again.
        """
        async with self._db.tenant(tenant_id) as transaction:
            row = await transaction.row("load_episode", episode_id=episode_id)
            if row is None:
                LOG.warning("episode %s is gone with its tenant", episode_id)
                return
            if row.state not in ("queued", "running"):
                return await publish_end(self._js, tenant_id, row)
            history = await transaction.rows("load_history", conversation=row.conversation, episode_id=episode_id)
            outputs: Outputs = {s.step: s.output for s in await transaction.rows("load_steps", episode_id=episode_id)}
            before = row.frames and await transaction.row(
                "find_ended_episode", conversation=row.conversation, frames=row.frames
            )
            await transaction.run("start_episode", episode_id=episode_id)
            await transaction.run("start_step", episode_id=episode_id, step=FIRST)
        if before and await last_frame(self._js, tenant_id, row.conversation) < row.frames:
            await self.run(tenant_id, before.episode_id)  # it was interrupted between its end and its last frames
        episode = Episode(
            tenant_id,
            episode_id,
            row.user_id,
            row.conversation,
            row.seed,
            [{"role": m.role, "content": m.content} for m in reversed(history)],
            history[0].channel,
        )
        async with Frames(self._js, tenant_id, row.conversation, episode_id, row.frames) as frames:
            try:
                await self._run(episode, outputs, frames)
            except _Overtaken:
                await self.run(tenant_id, episode_id)

    async def _run(self, episode: Episode, outputs: Outputs, frames: Frames) -> None:
        if not outputs:
            await frames.publish("started")
        step = FIRST
        while step != DONE:
            if step not in outputs:
                await frames.publish("step", step=step)
                outputs[step] = await steps.perform(step, episode, outputs, self._ports)
                await frames.settle()
                await self._checkpoint(episode, step, outputs, frames.count)
            step = steps.following(step, outputs)
        await frames.publish("message", text=outputs["compose"]["text"])
        await frames.publish("ended", state="done")
        await frames.settle()

    async def _checkpoint(self, episode: Episode, step: str, outputs: Outputs, frames: int) -> None:
        following = steps.following(step, outputs)
        if following == DONE:
            frames += 2  # `message` and `ended`: published when this is committed
        async with self._db.tenant(episode.tenant_id) as transaction:
            finished = await transaction.run(
                "finish_step",
                conversation=episode.conversation,
                episode_id=episode.episode_id,
                step=step,
                output=json.dumps(outputs[step]),
                frames=frames,
            )
            if not finished:
                raise _Overtaken
            if following != DONE:
                await transaction.run("start_step", episode_id=episode.episode_id, step=following)
                return
            reply = outputs["compose"]["text"]
            ended = await transaction.row(
                "finish_episode",
                episode_id=episode.episode_id,
                intent=outputs["route"]["agent"],
                reply=reply,
                frames=frames,
            )
            if ended is None:
                raise _Overtaken
            await append(transaction, episode.conversation, episode.episode_id, "assistant", episode.channel, reply)
        EPISODES.labels("done").inc()
