"""The HTTP interface: models by name, JSON errors with stable codes, and an OpenAPI description that tests check."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import ClientDisconnect

from stages import projects
from stages.serving.access import HEADERS, AccessGuard, Rules
from stages.serving.container import errors
from stages.serving.container.body import BodyLimits, LimitedBody
from stages.serving.container.errors import HANDLERS, Refusal
from stages.serving.forwarded import Forwarded
from stages.serving.models import Models
from stages.serving.page import UPLOAD, UPLOADS
from stages.serving.schemas import Catalogue, Error, Ping, Predictions

MAX_TOP = 1000
PARAMETERS = {"top": f"a whole number from 1 to {MAX_TOP}", "several": "true or false", "evidence": "true or false"}
"""The allowed values of each query parameter, in words."""


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error responses for a route's OpenAPI description: ``statuses``, and those that the guard may send."""
    return {status: {"model": Error} for status in sorted({400, 401, 403, 429, *statuses})}


def application(models: Models, rules: Rules, body_limits: BodyLimits) -> FastAPI:
    """Return the application. It loads ``models`` when it starts and stops them when it ends."""

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        await models.start()
        yield
        await models.stop()

    app = FastAPIOffline(
        title="Trained models",
        description="Errors are JSON with a stable `code` and a `message`.",
        version="1",
        redoc_url=None,
        lifespan=running,
        exception_handlers={**HANDLERS, RequestValidationError: _invalid, Exception: _failed},
    )
    size = UPLOADS * body_limits.size
    uploads = BodyLimits(size, UPLOADS * body_limits.seconds, size)
    app.add_middleware(LimitedBody, limits=body_limits, elsewhere={UPLOAD: uploads})
    app.add_middleware(AccessGuard, rules=rules)
    app.add_middleware(Forwarded, proxies=rules.proxies, root_path=rules.root_path)

    @app.get("/page", include_in_schema=False)  # Starlette's own redirect would name a host
    @app.get("/", include_in_schema=False)
    async def root(request: Request) -> Response:
        return RedirectResponse(f"{request.scope['root_path']}/page/")

    @app.get(
        "/ping", response_model=Ping, responses={503: {"model": Ping}, 400: {"model": Error}, 403: {"model": Error}}
    )
    async def ping() -> Response:
        """Return 200 if no model is loading and at least one is ready, otherwise 503."""
        status = {project: models.status(project)[0] for project in models.exports}
        ready = "loading" not in status.values() and "ready" in status.values()
        return JSONResponse({"models": status}, 200 if ready else 503)

    @app.get("/models", response_model=Catalogue, responses=refusals())
    async def catalogue() -> Response:
        """List the served models with their metrics, and the missing ones."""
        served = []
        for project, export in models.exports.items():
            about, (status, message) = projects.about(project), models.status(project)
            served.append(
                {
                    "project": project,
                    "title": about.title,
                    "status": status,
                    "message": message,
                    "version": export.version,
                    "metrics": export.metrics,
                    "accepts": list(about.accepts),
                    "invocations": f"/models/{project}/invocations",
                }
            )
        return JSONResponse({"models": served, "missing": models.missing})

    @app.post(
        "/models/{project}/invocations",
        response_model=Predictions,
        responses=refusals(400, 404, 408, 413, 415, 422, 500, 503)
        | {200: {"content": {"text/csv": {"schema": {"type": "string", "description": "bikes, by Accept: text/csv"}}}}},
        openapi_extra={"requestBody": _request_body()},
    )
    async def invocations(
        request: Request,
        project: Annotated[str, Path(json_schema_extra={"enum": list(projects.names())})],
        top: Annotated[
            int, Query(ge=1, le=MAX_TOP, description="number of classes; forecasts always have all hours")
        ] = 5,
        several: Annotated[
            bool,
            Query(
                description="landmarks, mnist: find all landmarks or digits of a picture, from left to right, one prediction each"
            ),
        ] = False,
        evidence: Annotated[bool, Query(description="landmarks: show which regions support the answer")] = False,
    ) -> Response:
        """Return the model's predictions for a picture file (bikes: for hours, as CSV or JSON)."""
        status = 500
        # FastAPI's Header would slow down every request.
        content_type = request.headers.get("content-type", "")
        options = {"several": several, "evidence": evidence}
        content_type += "".join(f"; {name}=true" for name, wanted in options.items() if wanted)
        accept = request.headers.get("accept", "*/*")
        try:
            if project not in projects.names():
                words = f"there is no model {project[:100]!r}: expected {', '.join(projects.names())}"
                raise Refusal(404, "not_found", words)
            _check_query(request, project, options)
            body = await request.body()
            if not body:
                expected = ", ".join(projects.about(project).accepts)
                raise Refusal(400, "unreadable", f"the body is empty: send a file of type {expected}")
            if accept.split(";")[0].strip().lower() == "text/csv" in projects.about(project).accepts:
                table, version = await models.table(project, body, content_type)
                answer = Response(table, media_type="text/csv", headers={"X-Model-Version": version})
            else:
                answer = JSONResponse(await models.predict(project, body, content_type, top, capture=True))
            status = answer.status_code
            return answer
        except (Refusal, ClientDisconnect) as error:
            status = error.status if isinstance(error, Refusal) else 400
            raise
        finally:
            if project in projects.names():
                models.measurements.requests.labels(project, status).inc()

    @app.get("/metrics", response_class=PlainTextResponse, responses=refusals())
    async def metrics() -> Response:
        """Return the server's measurements for Prometheus."""
        for project in models.exports:
            models.measurements.ready.labels(project).set(models.status(project)[0] == "ready")
        return Response(models.measurements.text(), media_type=CONTENT_TYPE_LATEST)

    return app


def _request_body() -> dict[str, Any]:
    kinds = dict.fromkeys(kind for project in projects.names() for kind in projects.about(project).accepts)
    schemas = {
        "application/json": {
            "schema": {"anyOf": [{"type": "array", "items": {"type": "object"}}, {"type": "object"}]},
            "examples": {"mnist": {"value": {"images": [[[0] * 28] * 28]}}},
        }
    }
    content = {kind: schemas.get(kind, {"schema": {"type": "string", "format": "binary"}}) for kind in kinds}
    return {"required": True, "content": content}


async def _failed(request: Request, error: Exception) -> Response:
    answer = await HANDLERS[Exception](request, error)
    answer.headers.update(HEADERS)  # the guard does not see this response, so it can't add them
    return answer


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return errors.response(_parameter(f"{name} = {str(first['input'])[:100]!r}", PARAMETERS[name]))


def _parameter(found: str, expected: str) -> Refusal:
    return Refusal(422, "invalid_parameter", f"query parameter: found {found}, expected {expected}")


def _check_query(request: Request, project: str, options: dict[str, bool]) -> None:
    """Raise Refusal for a parameter that would be ignored."""
    for name in request.query_params:
        if name not in PARAMETERS:
            raise _parameter(repr(name[:100]), " or ".join(PARAMETERS))
    for name, wanted in options.items():
        if wanted and not getattr(projects.about(project), name):
            readers = ", ".join(one for one in projects.names() if getattr(projects.about(one), name))
            raise _parameter(f"{name} for {project}", f"it only for {readers}")
