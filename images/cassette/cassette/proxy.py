"""What happens to a call to the model in each mode.

MOCK passes it to the first upstream. GOLDEN answers from the cassettes only, and while a recording is on asks the first
upstream for what they miss. LIVE_SMOKE passes it to the second upstream until a ceiling is reached.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from pydantic import SecretStr
from starlette.types import Send
from typing_extensions import override

from cassette import answers, compare
from cassette.ceiling import Ceiling
from cassette.faults import fault
from cassette.problems import Problem
from cassette.redact import Redactor
from cassette.settings import Mode, Settings
from cassette.store import Answered, Asked, Interaction, Store, key_of

_PASSED_ON = ("content-type", "traceparent", "tracestate", "baggage")
_PASSED_BACK = ("content-type", "retry-after")
_TAIL = 4096


class Proxy:
    """Answers calls from the cassettes and the upstreams."""

    client: aiohttp.ClientSession
    """Lives as long as the application serves."""

    def __init__(self, settings: Settings, store: Store, ceiling: Ceiling) -> None:
        self._settings, self._store, self._ceiling = settings, store, ceiling
        self.recording: str | None = None
        """The cassette that is being recorded."""

    async def answer(self, request: Request, mode: Mode, asked: Asked, body: bytes) -> tuple[Response, str]:
        """The answer to a call, and what became of it in a word. Raises Problem."""
        if mode == "MOCK":
            return _Relay(await self._ask(request, self._settings.mock_url, body)), "passed"
        if mode == "LIVE_SMOKE":
            return await self._live(request, body), "passed"
        redactor, result = Redactor(), "replayed"
        try:
            clean = Asked(method=asked.method, path=asked.path, body=redactor.value(asked.body))
            found = self._store.find(clean)
        except (ValueError, RecursionError) as error:
            raise Problem("malformed-request", f"the body has no canonical form: {type(error).__name__}") from error
        if found is None and self.recording:
            response = await self._ask(request, self._settings.mock_url, body)
            if response.status != 200:
                return _Relay(response), "not-recorded"  # an error may be gone when it is asked again
            found, result = await self._record(self.recording, clean, redactor, response, asked), "recorded"
        if found is None:
            if fault("cassette_miss_goes_live") and self._settings.live_url:
                return _Relay(await self._ask(request, self._settings.live_url, body)), "passed"
            raise Problem(
                "cassette-miss",
                "this request was not recorded",
                key=key_of(clean),
                nearest=compare.nearest(self._store, clean),
            )
        return _replay(found, redactor), result

    async def verify(self, name: str) -> dict[str, Any]:
        """Ask the first upstream for all of a cassette again; gives what is the same, differs or has no answer."""
        same, different, failed = 0, [], []
        for interaction in list(self._store.cassettes[name].values()):
            asked = interaction.request
            try:
                url = f"{self._settings.mock_url}{asked.path}"
                async with self.client.request(asked.method, url, json=asked.body, raise_for_status=True) as response:
                    text = await response.text()
            except aiohttp.ClientError as error:
                failed.append({"id": interaction.id, "error": type(error).__name__})
                continue
            now = answers.clean(Redactor(), answers.split(interaction.response.content_type, text))
            if now == interaction.response.parts:
                same += 1
            else:
                difference = compare.difference(interaction.response.parts, now, "parts")
                different.append({"id": interaction.id, **difference})
        return {"same": same, "different": different, "failed": failed}

    async def _record(
        self, name: str, clean: Asked, redactor: Redactor, response: aiohttp.ClientResponse, asked: Asked
    ) -> Interaction:
        """Store an answer before it is given."""
        try:
            text = (await response.read()).decode()
        except (aiohttp.ClientError, UnicodeDecodeError) as error:
            raise Problem("upstream-failed", f"the answer cannot be recorded: {type(error).__name__}") from error
        kind = response.headers.get("content-type", "application/json")
        parts = answers.clean(redactor, answers.split(kind, text))
        kept = asked if fault("cassette_stores_secret") else clean
        interaction = Interaction(
            id=key_of(clean)[:16], request=kept, response=Answered(content_type=kind, parts=parts)
        )
        self._store.put(name, {**self._store.cassettes.get(name, {}), key_of(clean): interaction})
        return interaction

    async def _live(self, request: Request, body: bytes) -> Response:
        if not self._settings.live_url:
            raise Problem("no-live-upstream", "LIVE_SMOKE needs CASSETTE_LIVE_URL")
        self._ceiling.take()
        response = await self._ask(request, self._settings.live_url, body, self._settings.live_key)
        return _Relay(response, lambda tail, length: self._ceiling.spend(answers.tokens(body, tail, length)))

    async def _ask(
        self, request: Request, url: str, body: bytes, key: SecretStr | None = None
    ) -> aiohttp.ClientResponse:
        """Ask an upstream; gives the answer when its head is there. The caller's own credentials go nowhere."""
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        if key:
            headers["authorization"] = f"Bearer {key.get_secret_value()}"
        call = self.client.request(
            request.method, url + request.url.path, data=body or None, headers=headers, allow_redirects=False
        )
        sent = asyncio.ensure_future(call)
        gone = asyncio.ensure_future(request.receive())
        try:
            await asyncio.wait((sent, gone), return_when=asyncio.FIRST_COMPLETED)
            if not sent.done():
                raise Problem("upstream-failed", "the caller left before the upstream answered")
            return sent.result()
        except aiohttp.ClientError as error:
            raise Problem("upstream-failed", f"the upstream does not answer: {type(error).__name__}") from error
        finally:
            sent.cancel()
            gone.cancel()


class _Relay(StreamingResponse):
    """An upstream's answer as it comes; where it breaks off, so does this one."""

    def __init__(self, upstream: aiohttp.ClientResponse, ended: Callable[[bytes, int], None] | None = None) -> None:
        self._upstream, self._ended = upstream, ended
        headers = {name: upstream.headers[name] for name in _PASSED_BACK if name in upstream.headers}
        super().__init__((), upstream.status, headers)

    @override
    async def stream_response(self, send: Send) -> None:
        tail, length = b"", 0
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async for part in self._upstream.content.iter_any():
                tail, length = (tail + part)[-_TAIL:], length + len(part)
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except aiohttp.ClientError:
            return  # the server closes a connection whose answer has no end
        finally:
            if self._ended:
                self._ended(tail, length)
            self._upstream.close()


def _replay(interaction: Interaction, redactor: Redactor) -> Response:
    """A recorded answer, byte by byte and with the bounds of its parts; the caller's own values are put back."""

    async def parts() -> AsyncIterator[bytes]:
        for part in interaction.response.parts:
            yield redactor.restore(part).encode()

    return StreamingResponse(parts(), headers={"content-type": interaction.response.content_type})
