"""The HTTP interface: models by name, JSON errors with stable codes, an OpenAPI description that is true."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from stages.serving import exports
from stages.serving.container import errors
from stages.serving.container.body import BodyLimits, LimitedBody
from stages.serving.container.errors import HANDLERS, Refusal
from stages.serving.guard import Guard, Rules
from stages.serving.models import Models

MAX_TOP = 1000
PICTURES = ("image/*", "application/octet-stream", "application/x-npy")
BODIES = {
    "bikes": ("text/csv", "application/json"),
    "mnist": (*PICTURES, "application/json"),
    "landmarks": PICTURES,
    "scones": PICTURES[:2],
}
"""What each project's model reads."""


class Error(BaseModel):
    """Why there is no answer."""

    code: str = Field(description="for programs: it stays as it is", examples=["too_large"])
    message: str = Field(description="for people")


class Likely(BaseModel):
    """One class that the model thinks of."""

    name: str = Field(alias="class")
    probability: float = Field(ge=0, le=1)
    latitude: float | None = Field(None, description="landmarks: degrees north, where it is known")
    longitude: float | None = Field(None, description="landmarks: degrees east")


class Classified(BaseModel):
    """A picture's most probable classes, the most probable first."""

    top: list[Likely]


class Forecast(BaseModel):
    """An hour's riders."""

    datetime: str
    count: float = Field(description="riders to expect in this hour")


class Answer(BaseModel):
    """What a model says."""

    project: str
    version: str = Field(description="MD5 of the export, as in dvc.lock")
    milliseconds: float = Field(description="from the arrival of the request to the model's answer")
    predictions: list[Classified] | list[Forecast]


class Served(BaseModel):
    """A model that is there, or is being loaded."""

    project: str
    title: str
    status: str = Field(description="loading, ready or failed")
    message: str | None = None
    version: str
    metrics: dict[str, Any] = Field(description="reports/<project>/metrics.json; `data` is what they were measured on")
    accepts: list[str] = Field(description="content types of a request")
    invocations: str


class Catalogue(BaseModel):
    """All models."""

    models: list[Served]
    missing: dict[str, str] = Field(description="by project: why it is not served, and the command that mends it")


class Ping(BaseModel):
    """How far the models are."""

    models: dict[str, str]


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Of these a route says in its description that they may come. Those of the guard may come anywhere."""
    return {status: {"model": Error} for status in sorted({401, 403, 429, *statuses})}


def application(models: Models, rules: Rules, body_limits: BodyLimits) -> FastAPI:
    """The interface; `models` are loaded from its start on, and stopped at its end."""

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        await models.start()
        yield
        await models.stop()

    app = FastAPIOffline(
        title="Four models, one server",
        description="Errors are JSON with a stable `code` and a sentence.",
        version="1",
        redoc_url=None,
        lifespan=running,
        exception_handlers={**HANDLERS, RequestValidationError: _invalid},
    )
    app.add_middleware(LimitedBody, limits=body_limits)
    app.add_middleware(Guard, rules=rules)

    @app.get("/", include_in_schema=False)
    async def root() -> Response:
        return RedirectResponse("/page")

    @app.get("/ping", response_model=Ping, responses={503: {"model": Ping}, 403: {"model": Error}})
    async def ping() -> Response:
        """200 when no model is being loaded and one at least can answer, else 503."""
        status = {project: models.status(project)[0] for project in models.exports}
        ready = "loading" not in status.values() and "ready" in status.values()
        return JSONResponse({"models": status}, 200 if ready else 503)

    @app.get("/models", response_model=Catalogue, responses=refusals())
    async def catalogue() -> Response:
        """What is served, how good it was measured to be, and what is missing."""
        served = []
        for project, export in models.exports.items():
            status, message = models.status(project)
            served.append(
                {
                    "project": project,
                    "title": export.title,
                    "status": status,
                    "message": message,
                    "version": export.version,
                    "metrics": export.metrics,
                    "accepts": list(BODIES[project]),
                    "invocations": f"/models/{project}/invocations",
                }
            )
        return JSONResponse({"models": served, "missing": models.missing})

    @app.post(
        "/models/{project}/invocations",
        response_model=Answer,
        responses=refusals(400, 404, 408, 413, 415, 422, 500, 503)
        | {200: {"content": {"text/csv": {"schema": {"type": "string", "description": "bikes, by Accept: text/csv"}}}}},
        openapi_extra={"requestBody": _request_body()},
    )
    async def invocations(
        request: Request,
        project: Annotated[str, Path(json_schema_extra={"enum": list(exports.TITLES)})],
        top: Annotated[
            int, Query(ge=1, le=MAX_TOP, description="how many classes; of forecasts all hours are told")
        ] = 5,
    ) -> Response:
        """The model's answer for a picture as it is (bikes: for hours, as CSV or JSON)."""
        status = 200
        # Not by FastAPI's Header: of a small model's request that would be a tenth.
        content_type = request.headers.get("content-type", "application/octet-stream")
        accept = request.headers.get("accept", "*/*")
        try:
            if project not in exports.TITLES:
                raise Refusal(
                    404, "not_found", f"there is no model {project[:100]!r}: expected {', '.join(exports.TITLES)}"
                )
            body = await request.body()
            if project == "bikes" and accept.split(";")[0].strip().lower() == "text/csv":
                table, version = await models.table(project, body, content_type)
                return Response(table, media_type="text/csv", headers={"X-Model-Version": version})
            return JSONResponse(await models.predict(project, body, content_type, top))
        except Refusal as refusal:
            status = refusal.status
            raise
        finally:
            if project in exports.TITLES:
                models.measurements.request(project, status)

    @app.get("/metrics", response_class=PlainTextResponse, responses=refusals())
    async def metrics() -> Response:
        """For Prometheus."""
        for project in models.exports:
            models.measurements.ready(project, models.status(project)[0] == "ready")
        return Response(models.measurements.text(), media_type=CONTENT_TYPE_LATEST)

    return app


def _request_body() -> dict[str, Any]:
    kinds = dict.fromkeys(kind for kinds in BODIES.values() for kind in kinds)
    schemas = {
        "application/json": {
            "schema": {"anyOf": [{"type": "array", "items": {"type": "object"}}, {"type": "object"}]},
            "examples": {"mnist": {"value": {"images": [[[0] * 28] * 28]}}},
        }
    }
    content = {kind: schemas.get(kind, {"schema": {"type": "string", "format": "binary"}}) for kind in kinds}
    return {"required": True, "content": content}


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return errors.response(
        Refusal(422, "invalid_parameter", f"{where}: found {first['input']!r}: {first['msg']}"[:500])
    )
