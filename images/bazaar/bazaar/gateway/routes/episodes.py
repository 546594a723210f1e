"""What became of messages."""

import asyncio
import re
from typing import Annotated
from uuid import UUID

import nats.errors
from fastapi import APIRouter, Depends, Header

from bazaar import streams
from bazaar.gateway import api
from bazaar.gateway.access import Connections, Servers, caller
from bazaar.gateway.keys import Principal
from bazaar.problems import Problem

MAX_WAIT_SECONDS = 30
ROUTER = APIRouter(prefix="/v1", tags=["episodes"])


@ROUTER.get("/episodes/{episode_id}")
async def get_episode(
    episode_id: UUID,
    servers: Servers,
    principal: Annotated[Principal, Depends(caller("episodes:read"))],
    prefer: Annotated[str | None, Header(description="`wait=N`: answer when it ends, at most N seconds")] = None,
) -> api.EpisodeOut:
    """What became of a message."""
    wish = re.search(r"(?:^|[,;\s])wait=(\d{1,2})(?![\d])", prefer or "")
    seconds = min(int(wish[1]), MAX_WAIT_SECONDS) if wish else 0
    episode = await _episode(servers, principal, episode_id)
    if episode.state in ("queued", "running") and seconds:
        episode = await _ended_episode(servers, principal, episode, seconds)
    return episode


async def _episode(servers: Connections, principal: Principal, episode_id: UUID) -> api.EpisodeOut:
    async with servers.db.tenant(principal.tenant_id) as transaction:
        row = await transaction.row("find_episode", user_id=principal.user_id, episode_id=episode_id)
    if row is None:
        raise Problem("not-found", "you have no such episode")
    return api.EpisodeOut(**row._asdict())


async def _ended_episode(
    servers: Connections, principal: Principal, episode: api.EpisodeOut, seconds: int
) -> api.EpisodeOut:
    """The episode when it has ended, or as it is after `seconds`."""
    subject = streams.event_subject(principal.tenant_id, episode.conversation)
    deadline = asyncio.get_running_loop().time() + seconds
    events = await servers.nats.subscribe(subject)
    try:
        await streams.settle(servers.nats)  # the server knows of us before we look again, so no end is missed
        kind = "ended"
        while True:
            if kind == "ended":
                episode = await _episode(servers, principal, episode.episode_id)
            left = deadline - asyncio.get_running_loop().time()
            if episode.state not in ("queued", "running") or left <= 0:
                return episode
            try:
                kind = streams.Frame.model_validate_json((await events.next_msg(timeout=left)).data).type
            except nats.errors.TimeoutError:
                return episode
    finally:
        await events.unsubscribe()
