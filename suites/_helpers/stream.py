"""The live frames of a conversation, as a customer's client gets them over a WebSocket."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection

from _helpers.client import EPISODE_SECONDS, User
from _helpers.frames import Frame, connect_stream
from _helpers.properties import Property


@contextmanager
def listening(gateway: str, user: User, conversation: int, last_seq: int) -> Iterator[Iterator[Frame]]:
    """Frames after `last_seq`, as they come. At the end the line is cut without a word, as a lost network does.

    Raises AssertionError if there is no connection or no next frame within EPISODE_SECONDS.
    """
    query = f"conversation={conversation}&last_seq={last_seq}"
    try:
        with connect_stream(gateway, user.key, query) as line:
            yield _frames(line)
            line.socket.shutdown(socket.SHUT_RDWR)
    except (WebSocketException, OSError) as error:
        raise AssertionError(f"{Property.STREAM_RESUME}: no frames after {last_seq}: {error!r}") from error


def _frames(line: ClientConnection) -> Iterator[Frame]:
    deadline = time.monotonic() + EPISODE_SECONDS
    while True:
        frame: Frame = json.loads(line.recv(timeout=max(deadline - time.monotonic(), 0)))
        yield frame
