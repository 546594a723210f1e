"""What passes on the platform's streams, heard from outside, and the schemas that it must have."""

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import nats
from _helpers.properties import Property, check
from nats.aio.client import Client
from nats.aio.msg import Msg

SCHEMAS = json.loads((Path(__file__).parent / "schemas.json").read_text(encoding="utf-8"))
CONNECT_SECONDS = 10


class Heard:
    """The messages of some subjects, as they come."""

    def __init__(self) -> None:
        self._messages: list[Msg] = []
        self._news = threading.Condition()

    async def take(self, message: Msg) -> None:
        with self._news:
            self._messages.append(message)
            self._news.notify_all()

    def until(self, enough: Callable[[list[Msg]], bool], seconds: float) -> list[Msg]:
        """All messages so far, when they are enough or the time is over."""
        deadline = time.monotonic() + seconds
        with self._news:
            while not enough(self._messages) and (left := deadline - time.monotonic()) > 0:
                self._news.wait(left)
            return list(self._messages)


@contextmanager
def listening(*subjects: str) -> Iterator[Heard]:
    """Hear what is published on the subjects from now on. Raises RuntimeError if NATS is not told or not there."""
    url = os.environ.get("PROCTOR_TARGET_NATS_URL")
    if not url:
        raise RuntimeError("PROCTOR_TARGET_NATS_URL is not set (see suites/README.md)")
    heard = Heard()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def connect() -> Client:
        client = await nats.connect(url, allow_reconnect=False, connect_timeout=CONNECT_SECONDS)
        for subject in subjects:
            await client.subscribe(subject, cb=heard.take)
        await client.flush(CONNECT_SECONDS)
        return client

    try:
        try:
            client = asyncio.run_coroutine_threadsafe(connect(), loop).result(2 * CONNECT_SECONDS)
        except (OSError, nats.errors.Error, TimeoutError) as error:
            raise RuntimeError(f"PROCTOR_TARGET_NATS_URL does not answer: {error!r}") from error
        yield heard
        asyncio.run_coroutine_threadsafe(client.close(), loop).result(CONNECT_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(CONNECT_SECONDS)
        loop.close()


def check_schema(kind: str, value: Any) -> None:
    """The value is what schemas.json says of this kind."""
    validator = jsonschema.Draft202012Validator(
        {"$ref": f"#/$defs/{kind}", "$defs": SCHEMAS["$defs"]}, format_checker=jsonschema.FormatChecker()
    )
    error = jsonschema.exceptions.best_match(validator.iter_errors(value))
    where = "" if error is None else f"{error.json_path}: {error.message[:200]}"
    check(error is None, Property.MESSAGE_SCHEMA, f"a message of kind {kind} does not fit its schema at {where}")


def read(kind: str, text: str | bytes) -> Any:
    """The JSON of a message that fits its schema."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    check(value is not None, Property.MESSAGE_SCHEMA, f"a message of kind {kind} is no JSON")
    check_schema(kind, value)
    return value
