"""Implement SageMaker's container contract for one model: `GET /ping` and `POST /invocations`. `POST /batch` takes several invocations."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from . import errors, framing
from .batching import Batcher, Limits
from .body import BodyLimits, LimitedBody
from .errors import HANDLERS, Refusal
from .model import LoadedModel, status

PATIENCE = 1.0
"""Seconds after which /batch answers without the unfinished requests. The client gets their answers at /later."""

BATCHES = "X-Batches"
"""Response header of /ping: whether the model processes several requests together."""


def application(model: LoadedModel, limits: Limits, body_limits: BodyLimits) -> Starlette:
    """Return the application that serves one model."""
    batcher = Batcher(model.work, limits if model.batches else replace(limits, batch=1))

    late: dict[int, asyncio.Task[framing.Part]] = {}
    numbers = itertools.count()

    async def ask(body: bytes, content_type: str, accept: str) -> tuple[bytes, int]:
        """Return the answer and the number of requests in its batch. Raise Refusal if there is no answer."""
        check_type(content_type, model.content_types)
        content_type = content_type or UNKNOWN
        try:
            data = await model.read(body, content_type)
            answer = await batcher.ask(body, content_type, accept, data)
        except Refusal:
            raise
        except Exception as error:
            raise _refusal(error) from None
        return answer.body, answer.batch

    async def ping(request: Request) -> Response:
        return Response(status_code=503 if model.stuck else 200, headers={BATCHES: str(model.batches).lower()})

    async def invocations(request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        accept = preferred(request.headers.get("accept", ""))
        answer, _ = await ask(await request.body(), content_type, accept)
        return Response(answer, media_type=accept)

    async def batch(request: Request) -> Response:
        async def part(content_type: str, accept: str, body: bytes) -> framing.Part:
            try:
                answer, shared = await ask(body, content_type, accept)
            except Refusal as refusal:
                response = errors.response(refusal)
                return {"status": refusal.status, "retry_after": refusal.retry_after}, bytes(response.body)
            return {"status": 200, "batch": shared}, answer

        try:
            parts = framing.split(await request.body())
            asked = [(str(about["content_type"]), str(about["accept"]), body) for about, body in parts]
        except (ValueError, KeyError) as error:
            raise Refusal(400, "unreadable", f"this is not a batch of requests: {error}") from None
        answering = [asyncio.create_task(part(*one)) for one in asked]
        if answering:
            await asyncio.wait(answering, timeout=PATIENCE)
        return parts_response([task.result() if task.done() else put_off(task) for task in answering])

    def put_off(task: asyncio.Task[framing.Part]) -> framing.Part:
        number = next(numbers)
        late[number] = task
        return {"status": 202, "later": f"/later/{number}"}, b""

    async def later(request: Request) -> Response:
        task = late.pop(request.path_params["number"], None)
        if task is None:
            raise Refusal(404, "not_found", "unknown request, or its answer was already fetched")
        return parts_response([await task])

    def parts_response(parts: Sequence[framing.Part]) -> Response:
        return Response(framing.join(parts), media_type=framing.CONTENT_TYPE)

    @asynccontextmanager
    async def running(app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(batcher.run())
        yield
        task.cancel()

    routes = [
        Route("/ping", ping),
        Route("/invocations", invocations, methods=["POST"]),
        Route("/batch", batch, methods=["POST"]),
        Route("/later/{number:int}", later),
    ]
    middleware = [Middleware(LimitedBody, body_limits)]
    return Starlette(routes=routes, middleware=middleware, exception_handlers=HANDLERS, lifespan=running)


UNKNOWN = "application/octet-stream"
"""The content type of a request without one."""

JSON = "application/json"

HINTS = {
    "": "the request has no Content-Type",
    "application/x-www-form-urlencoded": "found a form, which `curl -d` sends",
    "multipart/form-data": "found a form with files, which `curl -F` sends",
}


def check_type(content_type: str, expected: Sequence[str]) -> None:
    """Raise Refusal unless ``content_type`` is one of the ``expected`` ones. Empty is bytes of an unknown type."""
    if any(matches(content_type or UNKNOWN, one) for one in expected):
        return
    kind = content_type.split(";")[0].strip().lower()
    found = HINTS.get(kind, f"found content type {content_type[:100]!r}")
    how = (
        ": send the file itself, `curl --data-binary @FILE -H 'Content-Type: ...'`, with"
        if kind in HINTS
        else ", expected"
    )
    raise Refusal(415, "unsupported_type", f"{found}{how} {', '.join(expected)}")


def preferred(accept: str) -> str:
    """Return the content type of the answer: the first of a list of types that is JSON or CSV, JSON if any type will do.

    Browsers and libraries send lists. Weights, such as `q=0.9`, are ignored: the lists begin with the best type.
    """
    kinds = [kind.strip() for kind in accept.split(",") if kind.strip()] or ["*/*"]
    names = [kind.split(";")[0].strip().lower() for kind in kinds]
    told = [kind for kind, name in zip(kinds, names, strict=True) if name in (JSON, "text/csv")]
    return told[0] if told else JSON if {"*/*", "application/*"} & {*names} else kinds[0]


def matches(content_type: str, pattern: str) -> bool:
    """Return whether ``content_type`` without its parameters matches ``pattern``: a type, `image/*` or `*/*`."""
    kind = content_type.split(";")[0].strip().lower()
    return pattern in ("*/*", kind) or (pattern.endswith("/*") and kind.startswith(pattern[:-1]))


def _refusal(error: Exception) -> Refusal:
    if status(error) >= 500:
        return Refusal(status(error), "internal", "the model failed on this request; the server's log has the cause")
    code = str(getattr(error, "code", "unreadable"))
    return Refusal(status(error), code, str(getattr(error, "message", error)))
