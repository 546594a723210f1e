"""The frames of a conversation over a WebSocket, waited for one by one and kept."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from _helpers.properties import Property, check

Frame = dict[str, Any]
MAX_FRAMES = 10_000


class Stream:
    """One open stream. `frames` holds every frame that came, in order."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.frames: list[Frame] = []

    def until(self, kind: str, seconds: float, **data: str) -> Frame:
        """The next frame of a kind with this data. Fails as stream-lost if it does not come in time."""
        deadline = time.monotonic() + seconds
        for _ in range(MAX_FRAMES):
            try:
                frame: Frame = json.loads(self._connection.recv(timeout=max(deadline - time.monotonic(), 0)))
            except (TimeoutError, ConnectionClosed) as error:
                seen = [f["type"] for f in self.frames]
                check(False, Property.STREAM_LOST, f"no frame {kind} {data} ({type(error).__name__}), seen {seen}")
            self.frames.append(frame)
            if frame["type"] == kind and data.items() <= frame["data"].items():
                return frame
        raise AssertionError(f"{Property.STREAM_LOST}: {MAX_FRAMES} frames without a {kind} among them")


def connect_stream(gateway: str, key: str, query: str) -> ClientConnection:
    """A WebSocket of /v1/stream, from a gateway's base URL with a user's key."""
    url = f"{gateway.replace('http', 'ws', 1)}/v1/stream?{query}"
    header = {"Authorization": f"Bearer {key}"}
    return connect(url, additional_headers=header, open_timeout=10, close_timeout=2, proxy=None)


@contextmanager
def open_stream(gateway: str, key: str, conversation: int, last_seq: int = 0) -> Iterator[Stream]:
    """Frames after `last_seq` of a conversation, from a gateway's base URL with a user's key."""
    with connect_stream(gateway, key, f"conversation={conversation}&last_seq={last_seq}") as connection:
        yield Stream(connection)
