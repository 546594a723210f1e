"""The application of every HTTP role: bounded bodies, problems, probes, metrics, traces."""

import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated

from fastapi import FastAPI, Header, Response
from fastapi.responses import PlainTextResponse
from fastapi.telemetry import TelemetryConfig
from opentelemetry.trace import SpanKind
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from pydantic import SecretStr
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bazaar import problems, tracing
from bazaar.faults import fault
from bazaar.problems import Problem, answer

LOG = logging.getLogger(__name__)
MAX_BODY_BYTES = 2**20
_TOO_LARGE = f"a body may have {MAX_BODY_BYTES} bytes"
PROBES = ("/healthz", "/readyz", "/metrics")
"""Asked every few seconds by machines: counted, but neither traced nor logged."""
REQUESTS = Counter("http_requests_total", "HTTP requests answered.", ["method", "route", "status"])
DURATION = Histogram("http_request_duration_seconds", "Time to answer an HTTP request.", ["method", "route"])


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
            return await answer("payload-too-large", _TOO_LARGE, {"Connection": "close"})(scope, receive, send)
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
    route: str = getattr(scope.get("route"), "path_format", "unmatched")
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
    problems.install(app)

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
