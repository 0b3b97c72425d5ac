"""Schemas of the responses, for the OpenAPI description."""

from typing import Any

from pydantic import BaseModel, Field


class Error(BaseModel):
    """Why a request failed."""

    code: str = Field(description="for programs: stable", examples=["too_large"])
    message: str = Field(description="for people")


class Likely(BaseModel):
    """One class and its probability."""

    name: str = Field(alias="class")
    probability: float = Field(ge=0, le=1)
    latitude: float | None = Field(None, description="landmarks: degrees north, null if unknown")
    longitude: float | None = Field(None, description="landmarks: degrees east, null if unknown")


class Classified(BaseModel):
    """A picture's most probable classes, the most probable first."""

    top: list[Likely]
    known: bool | None = Field(
        None,
        description="landmarks, mnist, scones: false if the picture resembles none of the classes; then ignore the probabilities",
    )
    familiarity: float | None = Field(
        None,
        description="landmarks, mnist, scones: how far the picture's score is above the threshold for known ones; negative: unknown",
    )

    box: tuple[float, float, float, float] | None = Field(
        None,
        description="landmarks, with several or evidence: left, top, right and bottom of the examined square, as fractions of the upright photograph's sides",
    )
    evidence: list[list[float]] | None = Field(
        None,
        description="landmarks, with evidence: how much each cell of the box speaks for the best class, 0 to 1, rows from the top",
    )


class Forecast(BaseModel):
    """The forecast for one hour."""

    datetime: str
    count: float = Field(description="expected riders in this hour")
    warnings: list[str] | None = Field(
        None, description="properties of this hour that the training data does not cover"
    )


class Predictions(BaseModel):
    """A model's predictions."""

    project: str
    version: str = Field(description="MD5 of the export, as in dvc.lock")
    milliseconds: float = Field(description="from the arrival of the request to the model's answer")
    predictions: list[Classified] | list[Forecast]
    warnings: list[str] | None = Field(None, description="bikes: each warning once, with the number of hours")


class Served(BaseModel):
    """A served model."""

    project: str
    title: str
    status: str = Field(description="loading, ready or failed")
    message: str | None = None
    version: str
    metrics: dict[str, Any] = Field(
        description="metrics.json and details.json of reports/<project>; `data` names the data they were measured on"
    )
    accepts: list[str] = Field(description="content types of a request")
    invocations: str


class Catalogue(BaseModel):
    """All models."""

    models: list[Served]
    missing: dict[str, str] = Field(description="by project: why it is not served, and the command that fixes it")


class Ping(BaseModel):
    """The status of each model."""

    models: dict[str, str]
