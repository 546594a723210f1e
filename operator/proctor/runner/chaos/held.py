"""The connection to a target that is opened before the fault and only held: its end tells of faults too short to see.

The kernel finds out. A killed peer closes or resets; a cut one leaves the keep-alive of a silent connection unanswered.
Since servers close connections that say nothing for long, the one that is held is replaced all the time; while no new
one can be had, the old one stays.
"""

import asyncio
import socket
from contextlib import suppress

from proctor.runner.chaos.checks import explain

_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 3000),
)
_RENEWAL = 1.5
"""Seconds. A NATS server that wants credentials waits 2 s for them; others wait longer."""
_CONNECT = 1.0


class HeldConnection:
    """One open connection, of which only the end is of interest."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._end = asyncio.create_task(_end(reader))

    @classmethod
    async def open(cls, host: str, port: int) -> "HeldConnection":
        """Open one. Raises OSError or asyncio.TimeoutError."""
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), _CONNECT)
        connection: socket.socket = writer.get_extra_info("socket")
        for level, option, value in _OPTIONS:
            connection.setsockopt(level, option, value)
        return cls(reader, writer)

    async def end(self, patience: float) -> str | None:
        """Wait for the end and return why it came; None when it has not within `patience` seconds."""
        await asyncio.wait({self._end}, timeout=patience)
        return self._end.result() if self._end.done() else None

    def close(self) -> None:
        """Give it up."""
        self._end.cancel()
        self._writer.transport.abort()


async def hold(host: str, port: int, connection: HeldConnection) -> str:
    """Hold `connection`, or one that replaces it, until it ends by no act of ours. Return why it did."""
    try:
        while (why := await connection.end(_RENEWAL)) is None:
            with suppress(OSError, asyncio.TimeoutError):  # Then the old one will tell.
                newer = await HeldConnection.open(host, port)
                connection, older = (newer, connection)
                why = await older.end(0)
                older.close()
                if why is not None:
                    return why
        return why
    finally:
        connection.close()


async def _end(reader: asyncio.StreamReader) -> str:
    """Drop what arrives until nothing more can come."""
    try:
        while await reader.read(1 << 16):
            pass
    except TimeoutError:
        return "no answer to the kernel's keep-alive"
    except OSError as error:
        return explain(error)
    return "closed by the peer"
