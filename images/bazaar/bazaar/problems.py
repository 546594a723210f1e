"""What clients are told when something is wrong: problem+json (RFC 9457) with a stable `code` from one closed catalog.

Clients branch on codes and not on prose. Answers never repeat what was sent: it may hold what must not reach a log.
"""

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import aiohttp
import nats.errors
import psycopg
import redis.exceptions
import sqlalchemy.exc
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError, ValidationException, WebSocketRequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from bazaar.faults import fault

LOG = logging.getLogger(__name__)

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
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_FIELD = re.compile(r"[A-Za-z_-]+")
_CODES = {status: code for code, status in reversed(PROBLEMS.items())}
_BACKEND_DOWN: tuple[type[Exception], ...] = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    sqlalchemy.exc.TimeoutError,
    redis.exceptions.RedisError,
    nats.errors.Error,
    aiohttp.ClientError,
)


class Problem(HTTPException):
    """An error that the caller is told of. `code` is a key of PROBLEMS."""

    def __init__(self, code: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(PROBLEMS[code], detail, headers)
        self.code = code


class FieldError(BaseModel, extra="forbid"):
    """One field that does not fit."""

    where: str
    message: str


class ProblemBody(BaseModel, extra="forbid"):
    """The body of every 4xx and 5xx answer (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str = Field(json_schema_extra={"enum": [*sorted(PROBLEMS)]})
    detail: str
    errors: list[FieldError] = []


def answer(code: str, detail: str, headers: Mapping[str, str] | None = None, errors: Any = ()) -> JSONResponse:
    """The response that tells a problem."""
    status = PROBLEMS[code]
    body = ProblemBody(
        type=f"urn:bazaar:problem:{code}", title=status.phrase, status=status, code=code, detail=detail, errors=errors
    )
    return JSONResponse(body.model_dump(), status, headers, media_type="application/problem+json")


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationException)
    if any(e["type"] == "json_invalid" for e in error.errors()):
        return answer("malformed-request", "the body is not JSON")
    errors = [_field_error(e) for e in error.errors()[:20]]
    if fault("error_path_not_redacted") is not None:
        errors = [FieldError(where=str(e["loc"]), message=f"{e['msg']}: {e['input']}") for e in error.errors()]
    return answer("invalid-request", "the request does not fit the schema; see errors", errors=errors)


def _field_error(error: dict[str, Any]) -> FieldError:
    # A key of a map is the client's; names of fields and of headers are words.
    where = [str(p) if isinstance(p, int) or _FIELD.fullmatch(p) else "*" for p in error["loc"]]
    message = str(error["msg"])
    if error["type"] == "extra_forbidden":
        where.pop()  # its name is the client's
    reason = error.get("ctx", {}).get("error")
    if isinstance(reason, str):
        message = message.removesuffix(f", {reason}")  # a parser's reason cites what it found
    return FieldError(where=".".join(where), message=message)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        error.headers = {"Allow": ", ".join(_allowed(request))}
    code = error.code if isinstance(error, Problem) else _CODES.get(HTTPStatus(error.status_code), "malformed-request")
    return answer(code, error.detail, error.headers)


def _allowed(request: Request) -> list[str]:
    """The methods of all routes that a path has; the router itself knows those of the first only (RFC 9110, 10.2.1)."""
    scopes = ({**request.scope, "method": method} for method in _METHODS)
    return [s["method"] for s in scopes if any(r.matches(s)[0] is Match.FULL for r in request.app.routes)]


async def _on_backend_down(request: Request, error: Exception) -> Response:
    LOG.warning("a server that this role needs does not answer: %s", type(error).__name__, exc_info=error)
    return answer("unavailable", "a server behind this one does not answer; try again", {"Retry-After": "1"})


async def _on_unexpected(request: Request, error: Exception) -> Response:
    LOG.error("unexpected error on %s", request.scope.get("path"), exc_info=error)
    return answer("internal", "unexpected error; it is in the log")


def install(app: FastAPI) -> None:
    """Have an application answer every error with a problem."""
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(WebSocketRequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    for kind in _BACKEND_DOWN:
        app.add_exception_handler(kind, _on_backend_down)
    app.add_exception_handler(Exception, _on_unexpected)
