"""Serve one model: keep its process running and send requests to it in batches."""

import asyncio
import json
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import aiohttp

from stages.common.errors import InputError
from stages.serving.container import framing
from stages.serving.container.application import BATCHES
from stages.serving.container.batching import Batcher, BatchReply, Job, Limits
from stages.serving.container.errors import Refusal
from stages.serving.exports import Export
from stages.serving.process import ModelProcess

PROBE_SECONDS = 2.0
"""Seconds between health checks."""

AT_A_TIME = 2
"""Batches in flight per model: with two it need not wait for the next one."""

LATE = 32
"""Requests that take long and may be in flight per model. With more, no further batch is sent."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two attempts to start a model. The pause doubles each time."""

RETRY_AFTER = 2  # s


class RunningModel:
    """One export and its process, which is restarted when it dies. Requests go to it in batches."""

    def __init__(self, export: Export, session: aiohttp.ClientSession, limits: Limits) -> None:
        self.export = export
        self._session, self._limits = session, limits
        # Requests wait here, where a full queue is reported at once. The process works on all that it gets.
        options = [
            f"--max-batch={limits.batch}",
            "--wait-ms=0",
            f"--timeout={limits.answer}",
            f"--model-seconds={limits.model}",
            f"--max-bytes={2 * limits.batch_bytes}",
        ]
        self._process = ModelProcess(export.archive, export.md5, options)
        self._address: str | None = None
        self._lost = asyncio.Event()
        self._batcher = Batcher(self._work, limits)
        self._late: set[asyncio.Task[None]] = set()
        self.status = "loading"
        self.message: str | None = None

    async def keep(self) -> None:
        """Keep the process running until this task is cancelled."""
        pause = SHORTEST_PAUSE
        while True:
            begin = time.monotonic()
            try:
                address = await asyncio.to_thread(self._process.start)
                try:
                    await self._serve(address, begin)
                finally:
                    await asyncio.to_thread(self._process.died, address)
                pause = SHORTEST_PAUSE
            except (InputError, aiohttp.ClientError, OSError) as error:
                self.status, self.message = "failed", str(error)
            except Exception as error:  # a defect: the model is tried again all the same
                traceback.print_exc()
                self.status, self.message = "failed", f"{type(error).__name__}: {error}"
            print(f"{self.export.project}: {self.message}; restart in {pause:g} s", flush=True)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _serve(self, address: str, begin: float) -> None:
        """Send requests to the process at ``address`` until it has died."""
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

    async def _probe(self, address: str) -> None:
        try:
            async with self._session.get(f"{address}/ping"):
                pass
        except aiohttp.ClientConnectionError:
            self._lost.set()
        except TimeoutError:
            pass  # the process is busy

    async def ask(self, body: bytes, content_type: str, accept: str) -> BatchReply:
        """Return the model's answer. Raise Refusal if there is none."""
        if self._address is None:
            words = self.message or "it is being loaded"
            raise Refusal(503, self.status, f"{self.export.project} can't answer: {words}", RETRY_AFTER)
        return await self._batcher.ask(body, content_type, accept)

    async def _work(self, jobs: Sequence[Job]) -> list[BatchReply | Exception | None]:
        while len(self._late) >= LATE:
            await asyncio.wait(self._late, return_when=asyncio.FIRST_COMPLETED)
        message = framing.join([({"content_type": job.content_type, "accept": job.accept}, job.body) for job in jobs])
        try:
            async with self._session.post(f"{self._address}/batch", data=message) as response:
                content = await response.read()
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
            self._lost.set()
            return [self._ended() for _ in jobs]
        except TimeoutError:  # the process did not report that the model was too slow
            self._lost.set()
            words = f"{self.export.project} did not answer in time"
            return [Refusal(503, "timeout", words, RETRY_AFTER) for _ in jobs]
        if response.status != 200:  # a bug in this server
            raise RuntimeError(f"HTTP {response.status}: {content[:500]!r}")
        parts = zip(framing.split(content), jobs, strict=True)
        return [self._outcome(about, body, job) for (about, body), job in parts]

    def _outcome(self, about: dict[str, Any], body: bytes, job: Job) -> BatchReply | Refusal | None:
        if about["status"] == 202:
            task = asyncio.create_task(self._later(about["later"], job))
            self._late.add(task)  # the event loop itself holds only weak references
            task.add_done_callback(self._late.discard)
            return None
        if about["status"] == 200:
            return BatchReply(body, about["batch"])
        refused = json.loads(body)
        if refused["code"] == "timeout":
            self._lost.set()  # restart: the request may run forever, and no thread is left for others
        return Refusal(about["status"], refused["code"], refused["message"], about["retry_after"])

    async def _later(self, path: str, job: Job) -> None:
        """Answer a request that takes long, outside of a batch, so that no other request waits for it."""
        try:
            async with self._session.get(f"{self._address}{path}") as response:
                [(about, body)] = framing.split(await response.read())
            job.finish(self._outcome(about, body, job) or self._ended())
        except (aiohttp.ClientError, TimeoutError, ValueError):
            job.finish(self._ended())

    def _ended(self) -> Refusal:
        return Refusal(503, "stopped", f"the process of {self.export.project} ended during this request", RETRY_AFTER)

    def stop(self) -> None:
        self._process.stop()
