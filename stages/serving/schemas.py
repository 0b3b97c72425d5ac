"""The forms of the answers, as the OpenAPI description has them."""

from typing import Any

from pydantic import BaseModel, Field


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
    metrics: dict[str, Any] = Field(
        description="metrics.json and details.json of reports/<project>; `data` is what they were measured on"
    )
    accepts: list[str] = Field(description="content types of a request")
    invocations: str


class Catalogue(BaseModel):
    """All models."""

    models: list[Served]
    missing: dict[str, str] = Field(description="by project: why it is not served, and the command that mends it")


class Ping(BaseModel):
    """How far the models are."""

    models: dict[str, str]
