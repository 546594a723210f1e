"""What every HTTP role has in common: problem+json errors, bounds, probes, metrics, and a server that stops cleanly.

Errors carry a stable `code` from one closed catalog, because clients branch on codes and not on prose. They never
repeat what was sent: it may hold what must not reach a log.
"""

import hmac
import logging
import math
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Annotated, Any

import httpx
import nats.errors
import redis.exceptions
import sqlalchemy.exc
import uvicorn
from fastapi import FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError, ValidationException, WebSocketRequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.telemetry import TelemetryConfig
from opentelemetry.trace import SpanKind
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest, start_http_server
from pydantic import BaseModel, ConfigDict, SecretStr
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bazaar import faults, logs, tracing
from bazaar.faults import fault
from bazaar.settings import Settings

LOG = logging.getLogger(__name__)
MAX_BODY_BYTES = 2**20
MAX_HEAD_BYTES = 2**16
SEND_BUFFER_BYTES = 2**18
"""What the kernel holds of an answer. By default it grows to megabytes, and a peer that does not read is seen late."""
PEER_SILENCE_MS = 30_000
"""A peer that takes nothing of what is sent for this long is gone, whether it says so or not."""

PROBLEMS = {
    "malformed-request": HTTPStatus.BAD_REQUEST,
    "unauthenticated": HTTPStatus.UNAUTHORIZED,
    "forbidden": HTTPStatus.FORBIDDEN,
    "not-found": HTTPStatus.NOT_FOUND,
    "method-not-allowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "refused": HTTPStatus.CONFLICT,
    "out-of-stock": HTTPStatus.CONFLICT,
    "payment-declined": HTTPStatus.CONFLICT,
    "idempotency-conflict": HTTPStatus.CONFLICT,
    "conversation-busy": HTTPStatus.CONFLICT,
    "repeated-name": HTTPStatus.CONFLICT,
    "payload-too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "unsupported-media-type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "invalid-request": HTTPStatus.UNPROCESSABLE_ENTITY,
    "rate-limited": HTTPStatus.TOO_MANY_REQUESTS,
    "quota-exceeded": HTTPStatus.TOO_MANY_REQUESTS,
    "internal": HTTPStatus.INTERNAL_SERVER_ERROR,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
}
_TOO_LARGE = f"a body may have {MAX_BODY_BYTES} bytes"
_CODES = {status: code for code, status in reversed(PROBLEMS.items())}
_BACKEND_DOWN: tuple[type[Exception], ...] = (
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.TimeoutError,
    redis.exceptions.RedisError,
    nats.errors.Error,
    httpx.HTTPError,
)

PROBES = ("/healthz", "/readyz", "/metrics")
"""Asked every few seconds by machines: counted, but neither traced nor logged."""
REQUESTS = Counter("http_requests_total", "HTTP requests answered.", ["method", "route", "status"])
DURATION = Histogram("http_request_duration_seconds", "Time to answer an HTTP request.", ["method", "route"])


class Problem(HTTPException):
    """An error that the caller is told of. `code` is a key of PROBLEMS."""

    def __init__(self, code: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(PROBLEMS[code], detail, headers)
        self.code = code


class FieldError(BaseModel):
    """One field that does not fit."""

    model_config = ConfigDict(extra="forbid")
    where: str
    message: str


class ProblemBody(BaseModel):
    """The body of every 4xx and 5xx answer (RFC 9457)."""

    model_config = ConfigDict(extra="forbid")
    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldError] = []


def _answer(code: str, detail: str, headers: Mapping[str, str] | None = None, errors: Any = ()) -> JSONResponse:
    status = PROBLEMS[code]
    body = ProblemBody(
        type=f"urn:bazaar:problem:{code}", title=status.phrase, status=status, code=code, detail=detail, errors=errors
    )
    return JSONResponse(body.model_dump(), status, headers, media_type="application/problem+json")


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationException)
    if any(e["type"] == "json_invalid" for e in error.errors()):
        return _answer("malformed-request", "the body is not JSON")
    errors = [_field_error(e) for e in error.errors()[:20]]
    if fault("error_path_not_redacted") is not None:
        errors = [FieldError(where=str(e["loc"]), message=f"{e['msg']}: {e['input']}") for e in error.errors()]
    return _answer("invalid-request", "the request does not fit the schema; see errors", errors=errors)


def _field_error(error: dict[str, Any]) -> FieldError:
    where, message = list(map(str, error["loc"])), str(error["msg"])
    if error["type"] == "extra_forbidden":
        where.pop()  # its name is the client's
    reason = error.get("ctx", {}).get("error")
    if isinstance(reason, str):
        message = message.removesuffix(f", {reason}")  # a parser's reason cites what it found
    return FieldError(where=".".join(where), message=message)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = error.code if isinstance(error, Problem) else _CODES.get(HTTPStatus(error.status_code), "malformed-request")
    return _answer(code, error.detail, error.headers)


async def _on_backend_down(request: Request, error: Exception) -> Response:
    LOG.warning("a server that this role needs does not answer: %s", type(error).__name__, exc_info=error)
    return _answer("unavailable", "a server behind this one does not answer; try again", {"Retry-After": "1"})


async def _on_unexpected(request: Request, error: Exception) -> Response:
    LOG.error("unexpected error on %s", request.scope.get("path"), exc_info=error)
    return _answer("internal", "unexpected error; it is in the log")


class _Bound:
    """Ends a request whose body is too large without reading it: at its declared length, or where it exceeds it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        seen = 0

        async def bounded() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > MAX_BODY_BYTES:
                raise Problem("payload-too-large", _TOO_LARGE, {"Connection": "close"})
            return message

        declared = HTTPConnection(scope).headers.get("Content-Length", "0")
        if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
            return await _answer("payload-too-large", _TOO_LARGE, {"Connection": "close"})(scope, receive, send)
        await self._app(scope, bounded, send)


class _Measure:
    """Counts, times, traces and logs requests by route template, never by path: paths have no bound."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        status = 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.perf_counter()
        try:
            if scope["path"] in PROBES:
                await self._app(scope, receive, watch)
            else:
                await self._traced(scope, receive, watch, lambda: status)
        finally:
            method, route = scope["method"], _route(scope)
            if status < 400 or fault("errors_not_counted") is None:
                REQUESTS.labels(method, route, status).inc()
            unit = 1 if fault("milliseconds_histogram") is None else 1000
            DURATION.labels(method, route).observe((time.perf_counter() - started) * unit)

    async def _traced(self, scope: Scope, receive: Receive, send: Send, status: Callable[[], int]) -> None:
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method = scope["method"]
        with tracing.continued(carrier), tracing.span(method, SpanKind.SERVER) as current:
            try:
                await self._app(scope, receive, send)
            finally:
                route = _route(scope)
                current.update_name(f"{method} {route}")
                attributes = {"http.request.method": method, "http.route": route, "http.response.status_code": status()}
                current.set_attributes(attributes)
                if status() >= 500:
                    tracing.failed(current, str(status()))
                LOG.info("%s %s %d", method, route, status())


def _route(scope: Scope) -> str:
    route: str = getattr(scope.get("route"), "path", "unmatched")
    return route


def create_app(
    title: str,
    ready: Callable[[], Awaitable[None]],
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None,
) -> FastAPI:
    """A FastAPI application with probes, metrics and problem+json. `ready` raises while the role cannot serve."""
    # FastAPI's own telemetry would make a second SERVER span, with paths, queries and texts of exceptions in it.
    own: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
    app = FastAPI(
        title=title,
        version="0.1.0",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        telemetry=own,
        generate_unique_id_function=lambda route: route.name,
    )
    app.add_middleware(_Bound)
    app.add_middleware(_Measure)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(WebSocketRequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    for kind in _BACKEND_DOWN:
        app.add_exception_handler(kind, _on_backend_down)
    app.add_exception_handler(Exception, _on_unexpected)

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> PlainTextResponse:
        return PlainTextResponse("ok")

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> PlainTextResponse:
        await ready()
        return PlainTextResponse("ready")

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app


def internal_only(key: SecretStr) -> Callable[[str], None]:
    """A dependency that lets in only who has the key that the platform's own roles share."""
    expected = key.get_secret_value().encode()

    def check(x_internal_key: Annotated[str, Header()] = "") -> None:
        if not hmac.compare_digest(x_internal_key.encode(), expected):
            raise Problem("unauthenticated", "this role serves other roles of the platform only")

    return check


class _Http(HttpToolsProtocol):
    """HTTP/1.1 with a bound for the head of a request, which the parser has not, and problems as answers."""

    _head: float = 0

    @override
    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        super().data_received(data)
        if self._head > MAX_HEAD_BYTES:
            self.send_400_response("")

    @override
    def on_headers_complete(self) -> None:
        self._head = -math.inf
        super().on_headers_complete()

    @override
    def on_message_complete(self) -> None:
        self._head = 0
        super().on_message_complete()

    @override
    def send_400_response(self, msg: str) -> None:
        answer = _answer("malformed-request", "this is not HTTP/1.1 as this server takes it", {"Connection": "close"})
        head = b"".join(b"%s: %s\r\n" % header for header in answer.raw_headers)
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + head + b"\r\n" + answer.body)
        self.transport.close()


def serve(role: str, app: FastAPI, settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight get 10 seconds to end."""
    tracing.configure(role, settings.otlp_url)
    logs.export(role, settings.logs_url)
    if settings.activations_port:
        start_http_server(settings.activations_port, settings.host, registry=faults.REGISTRY)
    # After its shutdown uvicorn raises the signal again: an orderly stop is exit code 0.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=_Http,
        ws="websockets-sansio",
        ws_max_size=4096,
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=65,  # longer than any client keeps one, else a request may meet the end of its connection
        timeout_graceful_shutdown=10,
    )
    with config.bind_socket() as listener:  # connections inherit what is set here
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PEER_SILENCE_MS)
        server = uvicorn.Server(config)
        server.run([listener])
    if not server.started:
        sys.exit(3)
