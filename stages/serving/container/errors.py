"""Error responses: an HTTP status, and a code and a message as JSON, never a stack trace."""

import json

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

CODES = {404: "not_found", 405: "method_not_allowed"}
"""Codes for errors of the framework itself, by HTTP status."""


class Refusal(HTTPException):
    """Why a request failed: an HTTP status, a stable code for programs, and a message for people.

    ``retry_after``: seconds after which a retry may help, None if it won't.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(status, message, {} if retry_after is None else {"Retry-After": str(retry_after)})
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after


def response(error: HTTPException) -> Response:
    """Return ``{"code": "too_large", "message": "..."}`` with the error's status."""
    code = error.code if isinstance(error, Refusal) else CODES.get(error.status_code, "refused")
    body = json.dumps({"code": code, "message": error.detail})
    return Response(body, error.status_code, error.headers, media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if not isinstance(error, Refusal) and error.status_code in CODES:  # the framework's, whose message is only its name
        error = HTTPException(error.status_code, _words(request, error), error.headers)
    return response(error)


def _words(request: Request, error: HTTPException) -> str:
    """Return what is wrong with the path or the method of a request, with the valid ones."""
    path = request.scope["path"][:100]
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method").removesuffix(", HEAD")
        return f"{path} does not take {request.method}: send {allowed}"
    described = [route.path for route in request.app.routes if getattr(route, "include_in_schema", False)]
    return f"there is nothing at {path}: expected one of {', '.join(dict.fromkeys(described))}"


async def _incomplete(request: Request, error: Exception) -> Response:
    return response(Refusal(400, "incomplete", "the connection was closed before the whole body had arrived"))


async def _failed(request: Request, error: Exception) -> Response:
    answer = response(Refusal(500, "internal", "the server failed on this request; its log has the cause"))
    answer.headers["Connection"] = "close"  # uvicorn closes it after an exception: no other request may follow
    return answer


HANDLERS = {HTTPException: _refused, ClientDisconnect: _incomplete, Exception: _failed}
"""Exception handlers for a Starlette or FastAPI application."""
