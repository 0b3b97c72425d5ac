"""The models that are served, each by a process of its own, and the one question that the API and the page ask them."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import aiohttp

from stages.common.program import InputError
from stages.serving.container import framing
from stages.serving.container.application import BATCHES
from stages.serving.container.batching import Answer, Batcher, Job, Limits
from stages.serving.container.errors import Refusal
from stages.serving.exports import Export
from stages.serving.measurements import Measurements
from stages.serving.process import ModelProcess

VERBOSE = "application/json; verbose=true"
"""What is accepted of a model: its classes' names, too, where it would answer with bare probabilities."""

PROBE_SECONDS = 2.0
"""After which a model that nobody asks is looked after."""

AT_A_TIME = 2
"""Batches that a model is sent: it needn't wait for the next one."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two attempts to start a model; twice as long each time."""

RETRY_AFTER = 2  # s


class Model:
    """One export and its process, which is started again when it has died. Requests go to it in batches."""

    def __init__(self, export: Export, session: aiohttp.ClientSession, limits: Limits) -> None:
        self.export = export
        self._session, self._limits = session, limits
        # What waits, waits here, where it can be told at once that there is no room. All that is sent is worked on.
        options = {
            "max-batch": limits.batch,
            "wait-ms": 0,
            "timeout": limits.answer,
            "max-bytes": 2 * limits.batch_bytes,
        }
        self._process = ModelProcess(export.archive, [f"--{name}={value}" for name, value in options.items()])
        self._address: str | None = None
        self._lost = asyncio.Event()
        self._batcher = Batcher(self._work, limits)
        self.status = "loading"
        self.message: str | None = None

    async def keep(self) -> None:
        """Have the process running, for ever."""
        pause = SHORTEST_PAUSE
        while True:
            begin = time.monotonic()
            try:
                address = await asyncio.to_thread(self._process.start)
                await self._serve(address, begin)
                pause = SHORTEST_PAUSE
            except (InputError, OSError) as error:
                self.status, self.message = "failed", str(error)
            print(f"{self.export.project}: {self.message}; it is loaded again in {pause:g} s", flush=True)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _serve(self, address: str, begin: float) -> None:
        """Until the process at ``address`` has died; what is left of it is cleared away."""
        self._lost.clear()
        async with self._session.get(f"{address}/ping") as response:
            batches = response.headers[BATCHES] == "true"
        self._batcher = Batcher(self._work, self._limits if batches else replace(self._limits, batch=1))
        self._address, self.status, self.message = address, "ready", None
        print(f"{self.export.project} is ready, after {time.monotonic() - begin:.1f} s", flush=True)
        running = [asyncio.create_task(self._batcher.run()) for _ in range(AT_A_TIME)]
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._lost.wait()
            except TimeoutError:
                await self._probe(address)
        self._address, self.status, self.message = None, "loading", "its process ended"
        for task in running:
            task.cancel()
        self._batcher.refuse(self._ended())
        await asyncio.to_thread(self._process.died, address)

    async def _probe(self, address: str) -> None:
        try:
            async with self._session.get(f"{address}/ping"):
                pass
        except aiohttp.ClientConnectionError:
            self._lost.set()
        except TimeoutError:
            pass  # it is busy

    async def ask(self, body: bytes, content_type: str, accept: str) -> Answer:
        """The model's answer. Raises Refusal."""
        if self._address is None:
            words = self.message or "it is being loaded"
            raise Refusal(503, self.status, f"{self.export.project} can't answer: {words}", RETRY_AFTER)
        return await self._batcher.ask(body, content_type, accept)

    async def _work(self, jobs: Sequence[Job]) -> list[Answer | Exception]:
        message = framing.join([({"content_type": job.content_type, "accept": job.accept}, job.body) for job in jobs])
        try:
            async with self._session.post(f"{self._address}/batch", data=message) as response:
                content = await response.read()
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
            self._lost.set()
            return [self._ended() for _ in jobs]
        except TimeoutError:
            words = f"{self.export.project} gave no answer in time"
            return [Refusal(503, "timeout", words, RETRY_AFTER) for _ in jobs]
        if response.status != 200:  # which says that this server has a defect
            raise RuntimeError(f"HTTP {response.status}: {content[:500]!r}")
        return [self._outcome(about, body) for about, body in framing.split(content)]

    def _outcome(self, about: dict[str, Any], body: bytes) -> Answer | Refusal:
        if about["status"] == 200:
            return Answer(body, about["batch"])
        refused = json.loads(body)
        return Refusal(about["status"], refused["code"], refused["message"], about["retry_after"])

    def _ended(self) -> Refusal:
        return Refusal(503, "stopped", f"{self.export.project} ended during this request", RETRY_AFTER)

    def stop(self) -> None:
        self._process.stop()


class Models:
    """What the API and the page ask."""

    def __init__(self, exports: dict[str, Export], missing: dict[str, str], limits: Limits) -> None:
        self.exports, self.missing = exports, missing
        self.measurements = Measurements()
        self._limits = limits
        self._models: dict[str, Model] = {}

    async def start(self) -> None:
        """Begin to load the models; they are kept running until ``stop``."""
        # Shorter than the containers keep an idle connection, so that none is used that is just being closed.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=20)
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
