"""The served models, and how the API and the page query them."""

import asyncio
import json
import time
from typing import Any

import aiohttp

from stages.serving.capture import Captures
from stages.serving.container.batching import BatchReply, Limits
from stages.serving.container.errors import Refusal
from stages.serving.exports import Export
from stages.serving.measurements import Measurements
from stages.serving.model import RunningModel

ROWS = {"known": "known", "familiarity": "familiarity", "boxes": "box", "evidence": "evidence"}
"""Names of a model's lists, and of their parts in a row."""

VERBOSE = "application/json; verbose=true"
"""Accept header for a model: classifiers add the names of their classes, forecasts their warnings."""


class Models:
    """All served models, for the API and the page."""

    def __init__(
        self, exports: dict[str, Export], missing: dict[str, str], limits: Limits, captures: Captures | None = None
    ) -> None:
        """``captures`` keeps the requests of the API, but not those of the page."""
        self.exports, self.missing, self._captures = exports, missing, captures
        self.measurements = Measurements()
        self._limits = limits
        self._models: dict[str, RunningModel] = {}

    async def start(self) -> None:
        """Start to load the models. They are kept running until ``stop``."""
        # uvicorn closes an idle connection after 5 s. With less here, no request goes to one that is just being closed.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=3)
        timeout = aiohttp.ClientTimeout(total=self._limits.answer + 5)  # the model's own limit is reached first
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        for name, export in self.exports.items():
            self._models[name] = RunningModel(export, self._session, self._limits)
        self._tasks = [asyncio.create_task(model.keep()) for model in self._models.values()]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(asyncio.to_thread(model.stop) for model in self._models.values()))
        await self._session.close()

    def status(self, project: str) -> tuple[str, str | None]:
        """Return `loading`, `ready` or `failed`, and a message with the reason or None."""
        model = self._models.get(project)
        return (model.status, model.message) if model else ("loading", None)

    async def predict(
        self, project: str, body: bytes, content_type: str, top: int | None = 5, capture: bool = False
    ) -> dict[str, Any]:
        """Return the response of POST /models/<project>/invocations, with the ``top`` most probable classes.

        ``capture``: keep the request, if the server does. Raise Refusal if there is no response.
        """
        model = self._of(project)
        answer, seconds = await self._ask(model, body, content_type, VERBOSE, capture)
        content = json.loads(answer.body)
        return {
            "project": project,
            "version": model.export.version,
            "milliseconds": round(seconds * 1000, 3),
            "predictions": predictions(content, top),
        } | ({"warnings": content["warnings"]} if "warnings" in content else {})

    async def table(self, project: str, body: bytes, content_type: str) -> tuple[bytes, str]:
        """Return the model's predictions as CSV, and its version. Raise Refusal if there are none."""
        model = self._of(project)
        answer, _ = await self._ask(model, body, content_type, "text/csv", True)
        return answer.body, model.export.version

    async def _ask(
        self, model: RunningModel, body: bytes, content_type: str, accept: str, capture: bool
    ) -> tuple[BatchReply, float]:
        """Return the model's answer, and the seconds that it took."""
        begin = time.perf_counter()
        answer = await model.ask(body, content_type, accept)
        seconds = time.perf_counter() - begin
        project = model.export.project
        self.measurements.seconds.labels(project).observe(seconds)
        self.measurements.batch.labels(project).observe(answer.batch)
        if capture and self._captures:
            self._captures.keep(project, content_type, body, accept, answer.body)
        return answer, seconds

    def _of(self, project: str) -> RunningModel:
        if project in self.missing:
            raise Refusal(404, "not_exported", self.missing[project])
        if project not in self._models:
            raise Refusal(404, "not_found", f"there is no model {project!r}: expected {', '.join(self._models)}")
        return self._models[project]


def predictions(answer: Any, top: int | None) -> list[dict[str, Any]]:
    """Return the ``top`` classes of each row, the most probable first, or the unchanged rows of a forecast.

    If the model tells, a row also has `known`, whether its picture resembles those of the classes, and `familiarity`; and, if
    they were asked for, `box` and `evidence`.
    """
    if isinstance(answer, list):
        return answer
    if "predictions" in answer:
        return list(answer["predictions"])
    described = [{"class": name} for name in answer["classes"]]
    for about, (latitude, longitude) in zip(described, answer.get("places", []), strict=False):
        about |= {"latitude": latitude, "longitude": longitude}
    rows: list[dict[str, Any]] = []
    for number, probabilities in enumerate(answer["probabilities"]):
        order = sorted(range(len(described)), key=probabilities.__getitem__, reverse=True)[:top]
        best = [described[label] | {"probability": probabilities[label]} for label in order]
        more = {one: answer[name][number] for name, one in ROWS.items() if name in answer}
        rows.append(more | {"top": best})
    return rows
