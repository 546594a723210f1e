"""The numbered frames of a conversation: what its clients are told while an episode runs.

The number of the last frame is stored with each checkpoint, once the stream has acknowledged every frame up to it. What
an interrupted step published comes again with the same numbers and the same content, and the stream drops it.
"""

import asyncio
from types import TracebackType
from typing import Literal, Self
from uuid import UUID

from nats.js import JetStreamContext
from nats.js.api import PubAck
from nats.js.errors import NotFoundError
from prometheus_client import Counter

from bazaar.db import Row
from bazaar.faults import fault
from bazaar.safety.pii import Redactor
from bazaar.streams import EVENTS, Frame, event_subject

EPISODES = Counter("episodes_total", "Episodes that ended.", ["state"])
SETTLE_SECONDS = 5.0
"""The wait for an acknowledgment after the one before it: a stream that is busy is slow, and none that is lost."""
PROGRESS_CHARACTERS = 24
"""A frame says some words at a time: each is a write to a disk. Their number does not depend on how the parts came."""
MAX_WAITING = 200
"""Frames of one episode on their way. A connection has 4,000, and would wait for ever if they were lost."""


class Frames:
    """Publishes the frames of an episode. `count` is the number of the conversation's last frame."""

    def __init__(self, js: JetStreamContext, tenant_id: UUID, conversation: int, episode_id: UUID, count: int) -> None:
        self._js, self._episode_id, self.count = js, episode_id, count
        self._id, self._subject = f"{tenant_id.hex}.{conversation}", event_subject(tenant_id, conversation)
        self._waiting: list[asyncio.Future[PubAck]] = []
        self._progress, self._said = Redactor(), ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        for acknowledgment in self._waiting:
            acknowledgment.cancel()

    async def publish(self, kind: Literal["started", "step", "progress", "message", "ended"], **data: str) -> None:
        """Publish the next frame without waiting for its acknowledgment."""
        self.count += 1
        frame = Frame(seq=self.count, type=kind, episode_id=self._episode_id, data=data)
        headers = {"Nats-Msg-Id": f"{self._id}.{self.count}"}
        if fault("frames_repeated") is not None:
            headers = {}
        self._waiting.append(
            await self._js.publish_async(self._subject, frame.model_dump_json().encode(), headers=headers)
        )
        if len(self._waiting) >= MAX_WAITING:
            await self._acknowledged()

    async def say(self, part: str) -> None:
        """Publish the next part of a reply as `progress`, redacted."""
        self._said += self._progress.take(part)
        if len(self._said) >= PROGRESS_CHARACTERS:
            await self._tell()
        await asyncio.sleep(0)  # a flood leaves room for others, and for saying that its task is in progress

    async def settle(self) -> None:
        """Wait until the stream has every frame. Raises nats.errors.Error or TimeoutError if it has not."""
        self._said += self._progress.rest()
        if self._said:
            await self._tell()
        await self._acknowledged()

    async def _tell(self) -> None:
        said, self._said = self._said, ""
        await self.publish("progress", text=said)

    async def _acknowledged(self) -> None:
        for acknowledgment in self._waiting:
            async with asyncio.timeout(SETTLE_SECONDS):
                await acknowledgment
        self._waiting.clear()


async def last_frame(js: JetStreamContext, tenant_id: UUID, conversation: int) -> int:
    """The number of the last frame that was published in a conversation; 0 if the stream holds none (any more)."""
    try:
        last = await js.get_last_msg(EVENTS, event_subject(tenant_id, conversation))
    except NotFoundError:
        return 0
    return Frame.model_validate_json(last.data or b"").seq


async def publish_end(js: JetStreamContext, tenant_id: UUID, ended: Row) -> None:
    """Publish the last frames of an episode that has ended, a row of `load_episode`; again does no harm."""
    before = ended.last_frame - (2 if ended.state == "done" else 1)
    async with Frames(js, tenant_id, ended.conversation, ended.episode_id, before) as frames:
        if ended.state == "done":
            await frames.publish("message", text=ended.reply)
        await frames.publish("ended", state=ended.state)
        await frames.settle()
