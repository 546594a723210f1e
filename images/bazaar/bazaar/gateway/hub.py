"""The hub gives each WebSocket the frames of one conversation, in order, at the pace of its reader.

JetStream keeps every frame, so the hub keeps few: a connection starts, and starts again after a hole, by reading the
stream from the last frame that it has, and is live once nothing is missing. A live connection has a bounded queue. If
it is full, frames of progress are dropped, and nothing else ever is: a reader for whom that is not enough, or who takes
nothing for STALL_SECONDS, is sent away with the last sequence that it was sent, from which it can resume.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import nats.errors
from fastapi import WebSocket, WebSocketDisconnect
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig
from prometheus_client import Counter, Gauge
from pydantic import ValidationError

from bazaar.faults import fault
from bazaar.streams import EVENTS, Frame, event_subject, settle

LOG = logging.getLogger(__name__)
QUEUE_FRAMES, QUEUE_BYTES = 256, 2**18
STALL_SECONDS = 5.0
CLOSE_SECONDS = 10.0
_BATCH = 32
_INVALID, _UNSUPPORTED, _TRY_AGAIN, _SLOW, _IDLE = 1008, 1003, 1013, 4408, 4410

CONNECTIONS = Gauge("ws_connections", "WebSockets that are open.")
DEPTH = Gauge("ws_queue_depth", "Frames that wait in the queues of all WebSockets.")
DROPPED = Counter("ws_dropped_total", "Frames that a WebSocket was not sent though it was sent later ones.", ["kind"])
EVICTED = Counter("ws_evicted_total", "WebSockets closed because their reader was too slow.")


class _SlowReader(Exception):
    """The reader does not take what it must be given."""


class _Channel:
    """The live frames of a conversation: one subscription for all connections of this gateway."""

    def __init__(self, client: Client, js: JetStreamContext, subject: str) -> None:
        self.client, self._js, self._subject = client, js, subject
        self.connections: set[_Connection] = set()
        self._last = 0
        """The last sequence seen live."""

    async def open(self) -> Subscription:
        """Subscribe; when it returns the server knows. What a slow loop loses here is a hole, and is read again."""
        subscription = await self.client.subscribe(
            self._subject, cb=self._receive, pending_msgs_limit=4 * QUEUE_FRAMES, pending_bytes_limit=4 * QUEUE_BYTES
        )
        await settle(self.client)
        return subscription

    async def _receive(self, message: Msg) -> None:
        frame = _frame(message)
        if frame is not None:
            self._last = max(self._last, frame.seq)
            for connection in self.connections:
                connection.offer(frame, message.data.decode())
        await asyncio.sleep(0)  # a burst must not fill a queue before its sender had a turn

    async def replay(self, connection: "_Connection") -> None:
        """Send what the stream has, and make the connection live when it has taken the last frame that was seen.

        A publisher that is cut off and tries again may store frames out of order: those that are ahead wait for the
        missing one, as long as a reader may stall.
        """
        config = ConsumerConfig(ack_policy=AckPolicy.NONE, mem_storage=True, inactive_threshold=300.0)
        reader = await self._js.pull_subscribe(self._subject, stream=EVENTS, config=config)
        oldest, ahead = True, dict[int, str]()
        try:
            pending = (await reader.consumer_info()).num_pending or 0
            while pending or connection.taken < self._last:
                messages = await _fetch(reader)
                for message in messages:
                    pending = message.metadata.num_pending
                    frame = _frame(message)
                    if frame and oldest:
                        connection.skip(frame.seq - 1)  # the stream has forgotten what was before
                        oldest = False
                    if frame and frame.seq > connection.taken:
                        self._last = max(self._last, frame.seq)
                        ahead[frame.seq] = message.data.decode()
                if not messages or len(ahead) > QUEUE_FRAMES:
                    LOG.warning("frames are missing in a conversation")
                    connection.skip(min(ahead, default=self._last + 1) - 1)
                while connection.taken + 1 in ahead:
                    await connection.send(connection.taken + 1, ahead.pop(connection.taken + 1))
            connection.live = True
        finally:
            await reader.unsubscribe()
            with suppress(nats.errors.Error):  # else it ends by itself
                await self._js.delete_consumer(EVENTS, config.name or "")


class _Connection:
    """One client: what waits for it, and how far it is."""

    def __init__(self, websocket: WebSocket, channel: _Channel, last_seq: int, ttl: float) -> None:
        self._websocket, self._channel, self._ttl = websocket, channel, ttl
        self._queue: deque[tuple[Frame, str]] = deque()
        self._bytes = 0
        self.taken = self.sent = last_seq
        """The last sequence that was queued, dropped or sent; and the last that was sent."""
        self.live = self._overrun = False
        self._reconnects = 0
        self._wake = asyncio.Event()
        self._stall: asyncio.Timeout | None = None
        self._unawaited: set[asyncio.Future[None]] = set()
        self._active = asyncio.get_running_loop().time()

    def offer(self, frame: Frame, text: str) -> None:
        """Queue a live frame, or drop one of progress. A hole before it makes the connection read the stream again."""
        if not self.live or frame.seq <= self.taken:
            return
        self._wake.set()
        if frame.seq > self.taken + 1:
            self.live = False
            return
        self.taken = frame.seq
        if frame.type == "ended" and self._queue and fault("ws_final_frame_dropped") is not None:
            return
        while self._full(text):
            if frame.type == "progress":
                return
            victim = next((i for i, (queued, _) in enumerate(self._queue) if queued.type == "progress"), None)
            if victim is None:
                self._overrun = True
                if self._stall:
                    self._stall.reschedule(0)
                return
            self._remove(victim)
        self._queue.append((frame, text))
        self._bytes += len(text)
        DEPTH.inc()

    def _full(self, text: str) -> bool:
        if not self._queue or fault("ws_unbounded_queue") is not None:
            return False
        return len(self._queue) >= QUEUE_FRAMES or self._bytes + len(text) > QUEUE_BYTES

    def _remove(self, index: int) -> tuple[Frame, str]:
        frame, text = self._queue[index]
        del self._queue[index]
        self._bytes -= len(text)
        DEPTH.dec()
        return frame, text

    def skip(self, seq: int) -> None:
        """Go on after `seq`: what is missing up to it cannot be had any more."""
        if seq > self.taken:
            self.taken = self.sent = seq

    async def run(self) -> tuple[int, str]:
        """Send until the connection must end; gives the close code and its reason."""
        try:
            while True:
                while self._queue:
                    frame, text = self._remove(0)
                    await self.send(frame.seq, text)
                if self._reconnects != self._channel.client.stats["reconnects"]:
                    self._reconnects, self.live = self._channel.client.stats["reconnects"], False
                if not self.live:
                    if self.taken and fault("ws_resume_off_by_one") is not None:
                        self.taken += 1
                    await self._channel.replay(self)
                elif asyncio.get_running_loop().time() > self._active + self._ttl:
                    return _IDLE, f"idle; last_seq={self.sent}"
                else:
                    self._wake.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(1):
                            await self._wake.wait()
        except _SlowReader:
            EVICTED.inc()
            return _SLOW, f"slow; last_seq={self.sent}"
        except nats.errors.Error as error:
            LOG.warning("a stream cannot be read: %r", error)
            return _TRY_AGAIN, f"try again; last_seq={self.sent}"
        finally:
            while self._queue:
                self._remove(0)

    async def send(self, seq: int, text: str) -> None:
        """Send a frame. Raises _SlowReader if the reader does not take it."""
        self.taken = max(self.taken, seq)
        if fault("ws_never_pauses") is not None:
            self._unawaited.add(asyncio.ensure_future(self._websocket.send_text(text)))
            return
        try:
            patience = None if fault("ws_unbounded_queue") is not None else STALL_SECONDS
            async with asyncio.timeout(patience) as self._stall:
                await self._websocket.send_text(text)
        except TimeoutError:
            raise _SlowReader from None
        finally:
            self._stall = None
        if self._overrun:
            raise _SlowReader
        if seq > self.sent + 1:
            DROPPED.labels("progress").inc(seq - self.sent - 1)
        self.sent = seq
        self._active = asyncio.get_running_loop().time()

    async def listen(self) -> tuple[int, str]:
        """Wait until the client goes or says something, which it may not; gives the close code (0: it is gone)."""
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            return 0, ""
        return (_UNSUPPORTED, "send nothing") if message.get("text") is None else (_INVALID, "send nothing")


class Hub:
    """Serves WebSockets."""

    def __init__(self, client: Client, js: JetStreamContext, ttl: float) -> None:
        self._client, self._js, self._ttl = client, js, ttl
        self._channels: dict[str, tuple[_Channel, Subscription]] = {}
        self._opening = asyncio.Lock()

    async def serve(self, websocket: WebSocket, tenant_id: UUID, conversation: int, last_seq: int) -> None:
        """Send the frames after `last_seq` and all that follow, until one side ends it."""
        async with self._channel(event_subject(tenant_id, conversation)) as channel:
            connection = _Connection(websocket, channel, last_seq, self._ttl)
            channel.connections.add(connection)
            CONNECTIONS.inc()
            both = [asyncio.create_task(connection.run()), asyncio.create_task(connection.listen())]
            try:
                done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                code, reason = done.pop().result()
            except WebSocketDisconnect:
                code, reason = 0, ""
            finally:
                CONNECTIONS.dec()
                channel.connections.discard(connection)
                while not all(task.done() for task in both):
                    for task in both:
                        task.cancel()
                    await asyncio.wait(both, timeout=1)  # and again: wait_for loses a cancellation that meets a result
                await asyncio.gather(*both, return_exceptions=True)
        if code:
            with suppress(TimeoutError, WebSocketDisconnect):
                async with asyncio.timeout(CLOSE_SECONDS):  # the reason arrives if the reader wakes up by then
                    await websocket.close(code, reason)

    @asynccontextmanager
    async def _channel(self, subject: str) -> AsyncIterator[_Channel]:
        async with self._opening:
            if subject not in self._channels:
                channel = _Channel(self._client, self._js, subject)
                self._channels[subject] = channel, await channel.open()
            channel, subscription = self._channels[subject]
        try:
            yield channel
        finally:
            if not channel.connections and self._channels.get(subject) == (channel, subscription):
                del self._channels[subject]
                await subscription.unsubscribe()


async def _fetch(reader: JetStreamContext.PullSubscription) -> list[Msg]:
    try:
        return await reader.fetch(_BATCH, timeout=STALL_SECONDS)
    except nats.errors.TimeoutError:
        return []


def _frame(message: Msg) -> Frame | None:
    try:
        return Frame.model_validate_json(message.data)
    except ValidationError:
        LOG.warning("a message on %s is no frame", EVENTS)
        return None
