"""Errors as problem+json (RFC 9457), each with a stable code, because clients branch on codes and not on prose."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

LOG = logging.getLogger(__name__)

PROBLEMS = {
    "malformed-request": HTTPStatus.BAD_REQUEST,
    "unauthenticated": HTTPStatus.UNAUTHORIZED,
    "not-found": HTTPStatus.NOT_FOUND,
    "cassette-miss": HTTPStatus.NOT_FOUND,
    "method-not-allowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "already-recording": HTTPStatus.CONFLICT,
    "too-large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "invalid-request": HTTPStatus.UNPROCESSABLE_ENTITY,
    "invalid-cassette": HTTPStatus.UNPROCESSABLE_ENTITY,
    "ceiling-reached": HTTPStatus.TOO_MANY_REQUESTS,
    "internal": HTTPStatus.INTERNAL_SERVER_ERROR,
    "upstream-failed": HTTPStatus.BAD_GATEWAY,
    "no-live-upstream": HTTPStatus.SERVICE_UNAVAILABLE,
    "not-writable": HTTPStatus.SERVICE_UNAVAILABLE,
}


class Problem(Exception):
    """An error that the caller is told of. `code` is a key of PROBLEMS; `more` goes into the body."""

    def __init__(self, code: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.code, self.detail, self.more = code, detail, more


def install(app: FastAPI) -> None:
    """Make every error of an application a problem."""
    for kind in (Problem, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _on_error)


async def _on_error(request: Request, error: Exception) -> Response:
    if isinstance(error, Problem):
        return _answer(error.code, error.detail, error.more)
    if isinstance(error, RequestValidationError):
        # The rejected input is not repeated: it may hold what must not reach a log.
        return _answer("invalid-request", "; ".join(f"{e['loc'][-1]}: {e['msg']}" for e in error.errors()), {})
    if isinstance(error, HTTPException):
        codes = {404: "not-found", 405: "method-not-allowed"}
        return _answer(codes.get(error.status_code, "malformed-request"), str(error.detail), {})
    LOG.error("unexpected error on %s", request.scope.get("path"), exc_info=error)
    return _answer("internal", "unexpected error; it is in the log", {})


def _answer(code: str, detail: str, more: dict[str, Any]) -> Response:
    status = PROBLEMS[code]
    body = {"type": f"urn:cassette:problem:{code}", "title": status.phrase, "status": status, "code": code}
    # No client asks again by itself: the same request would meet the same answer.
    headers = {"x-should-retry": "false"} if code in ("cassette-miss", "ceiling-reached") else None
    return JSONResponse({**body, "detail": detail, **more}, status, headers, media_type="application/problem+json")
