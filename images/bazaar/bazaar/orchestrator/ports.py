"""What the steps of a running episode ask: the roles behind their wire formats, and the database."""

import asyncio
import logging

import aiohttp
from pydantic import BaseModel, ValidationError

from bazaar import retrieval, tracing
from bazaar.db import Database
from bazaar.faults import fault
from bazaar.orchestrator.agents import AGENTS
from bazaar.orchestrator.llm import Answer, ChatModel, Prompt, Say
from bazaar.orchestrator.steps import Episode, Output, ToolError
from bazaar.toolcalls import Call, use

LOG = logging.getLogger(__name__)
ROUTER_SECONDS = 1.0
"""A router that needs longer is no cheaper than the model."""
PASSAGES = 3
"""How many passages of documents an answer may be taken from."""


class _Decision(BaseModel):
    agent: str
    exit: bool
    model_version: str


class Live:
    """The ports of running episodes: the router and the tools by HTTP, the model, and the database."""

    def __init__(
        self, router: aiohttp.ClientSession, model: ChatModel, tools: aiohttp.ClientSession, db: Database
    ) -> None:
        self._router, self._model, self._tools, self._db = router, model, tools, db

    async def decide(self, text: str) -> Output | None:
        """Ask for the agent of a text; None if there is no usable answer within ROUTER_SECONDS."""
        try:
            asked = self._router.post("/route", json={"text": text}, headers=tracing.headers(), raise_for_status=True)
            async with asyncio.timeout(ROUTER_SECONDS), asked as response:
                decision = _Decision.model_validate_json(await response.read())
        except (aiohttp.ClientError, ValidationError, TimeoutError) as error:
            LOG.warning("the router does not answer, so the model decides: %s", type(error).__name__)
            return None
        return decision.model_dump() if decision.agent in AGENTS else None

    async def answer(self, prompt: Prompt, say: Say | None = None) -> Answer:
        """Ask the model; `say` hears its prose as it comes. Raises ModelError."""
        return await self._model.answer(prompt, say)

    async def call(self, episode: Episode, step: str, tool: str, arguments: Output) -> Output:
        """Call a tool under the effect key of the step. Raises ToolError."""
        key = f"{episode.episode_id}/{step}"
        if fault("effect_key_per_delivery") is not None:
            key = f"{key}/{episode.delivery}"
        call = Call(
            tenant_id=episode.tenant_id,
            user_id=episode.user_id,
            conversation=episode.conversation,
            episode_id=episode.episode_id,
            key=key,
            arguments=arguments,
        )
        try:
            return await use(self._tools, tool, call)
        except (aiohttp.ClientError, ValueError) as error:
            raise ToolError(f"{tool}: {error}") from error

    async def search(self, episode: Episode) -> Output:
        """Passages near the topic that the episode's user may read, and the products."""
        async with self._db.tenant(episode.tenant_id) as transaction:
            products = await transaction.rows("list_products")
            hits = await retrieval.search(transaction, episode.user_id, episode.topic, PASSAGES)
        documents = [{"document_id": hit.document_id, "title": hit.title, "body": hit.text} for hit in hits]
        return {"documents": documents, "products": [p._asdict() for p in products]}
