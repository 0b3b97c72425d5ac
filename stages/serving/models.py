"""The models that are served, and the one question that the API and the page ask them."""

import asyncio
import json
import time
from typing import Any

import aiohttp

from stages.serving.container.batching import Limits
from stages.serving.container.errors import Refusal
from stages.serving.exports import Export
from stages.serving.measurements import Measurements
from stages.serving.model import Model

VERBOSE = "application/json; verbose=true"
"""What is accepted of a model: its classes' names, too, where it would answer with bare probabilities."""


class Models:
    """What the API and the page ask."""

    def __init__(self, exports: dict[str, Export], missing: dict[str, str], limits: Limits) -> None:
        self.exports, self.missing = exports, missing
        self.measurements = Measurements()
        self._limits = limits
        self._models: dict[str, Model] = {}

    async def start(self) -> None:
        """Begin to load the models; they are kept running until ``stop``."""
        # Shorter than the 5 s for which uvicorn keeps an idle connection, so that none is used that is just being closed.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=3)
        timeout = aiohttp.ClientTimeout(total=self._limits.answer + 5)  # the model's own limit comes first
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        self._models = {name: Model(export, self._session, self._limits) for name, export in self.exports.items()}
        self._tasks = [asyncio.create_task(model.keep()) for model in self._models.values()]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(asyncio.to_thread(model.stop) for model in self._models.values()))
        await self._session.close()

    def status(self, project: str) -> tuple[str, str | None]:
        """loading, ready or failed; and a sentence on why, where there is something to say."""
        model = self._models.get(project)
        return (model.status, model.message) if model else ("loading", None)

    async def predict(self, project: str, body: bytes, content_type: str, top: int | None = 5) -> dict[str, Any]:
        """The answer of POST /models/<project>/invocations, with the ``top`` most probable classes. Raises Refusal."""
        model = self._of(project)
        begin = time.perf_counter()
        answer = await model.ask(body, content_type, VERBOSE)
        seconds = time.perf_counter() - begin
        self.measurements.answered(project, seconds, answer.batch)
        return {
            "project": project,
            "version": model.export.version,
            "milliseconds": round(seconds * 1000, 3),
            "predictions": predictions(json.loads(answer.body), top),
        }

    async def table(self, project: str, body: bytes, content_type: str) -> tuple[bytes, str]:
        """The model's answer as CSV, and its version. Raises Refusal."""
        model = self._of(project)
        begin = time.perf_counter()
        answer = await model.ask(body, content_type, "text/csv")
        self.measurements.answered(project, time.perf_counter() - begin, answer.batch)
        return answer.body, model.export.version

    def _of(self, project: str) -> Model:
        if project in self.missing:
            raise Refusal(404, "not_exported", self.missing[project])
        if project not in self._models:
            raise Refusal(404, "not_found", f"there is no model {project!r}: {', '.join(self._models)} are served")
        return self._models[project]


def predictions(answer: Any, top: int | None) -> list[dict[str, Any]]:
    """A classifier's probabilities as the ``top`` classes of each row, the most probable first; a forecaster's rows as they are."""
    if isinstance(answer, list):
        return answer
    described = [{"class": name} for name in answer["classes"]]
    for about, (latitude, longitude) in zip(described, answer.get("places", []), strict=False):
        about |= {"latitude": latitude, "longitude": longitude}
    rows = []
    for probabilities in answer["probabilities"]:
        order = sorted(range(len(described)), key=probabilities.__getitem__, reverse=True)[:top]
        rows.append({"top": [described[label] | {"probability": probabilities[label]} for label in order]})
    return rows
