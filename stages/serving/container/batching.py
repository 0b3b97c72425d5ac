"""Process requests that arrive at the same time in batches.

Requests wait while the model works. All that wait when it is done are its next batch, so a single request never waits for
others. With several clients, those that were just answered will soon send another request. The model waits for them, at most
`wait` seconds, which makes larger batches.
"""

import asyncio
import time
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import Refusal

RETRY_AFTER = 1  # s


@dataclass(frozen=True)
class Limits:
    """``batch``: limit of requests in a batch. ``batch_bytes``: limit of their bodies together, unless one alone is larger.
    ``queue``, ``queue_bytes``: the same for waiting requests. ``wait``: longest wait for other requests, in seconds.
    ``answer``: time limit of a request, in seconds. ``model``: time limit of the model's work on it, in seconds."""

    batch: int = 32
    wait: float = 0.002
    queue: int = 256
    answer: float = 60.0
    batch_bytes: int = 32 * 2**20
    queue_bytes: int = 256 * 2**20
    model: float = 60.0


@dataclass(frozen=True)
class BatchReply:
    """The body of an answer, and the number of requests in its batch."""

    body: bytes
    batch: int


@dataclass(frozen=True, eq=False)
class Job:
    """A waiting request. ``data`` is the body as the model has read it, if it was read before."""

    body: bytes
    content_type: str
    accept: str
    data: Any = None
    answer: asyncio.Future[BatchReply] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def finish(self, outcome: BatchReply | Exception) -> None:
        """Answer the request, unless its client has given up."""
        if self.answer.done():
            return
        if isinstance(outcome, BatchReply):
            self.answer.set_result(outcome)
        else:
            self.answer.set_exception(outcome)


Work = Callable[[Sequence[Job]], Awaitable[Sequence[BatchReply | Exception | None]]]
"""Returns one outcome for each job, in their order. None: the job is answered later."""


class Batcher:
    """A bounded queue of requests for ``work``."""

    def __init__(self, work: Work, limits: Limits) -> None:
        self._work, self._limits = work, limits
        self._waiting: deque[Job] = deque()
        self._working: set[Job] = set()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._open = 0  # requests that wait or are being processed
        self._at_a_time = 0  # their number when the last batch was collected

    async def ask(self, body: bytes, content_type: str, accept: str, data: Any = None) -> BatchReply:
        """Return the answer to a request. Raise Refusal, or the exception that ``work`` returned for this request."""
        waiting, limits = len(self._waiting), self._limits
        if waiting >= limits.queue or (waiting and self._bytes + len(body) > limits.queue_bytes):
            words = f"the queue is full: {waiting} requests with {self._bytes:,} bytes are waiting"
            raise Refusal(429, "busy", words, RETRY_AFTER)
        job = Job(body, content_type, accept, data)
        self._waiting.append(job)
        self._bytes += len(body)
        self._open += 1
        self._arrived.set()
        try:
            async with asyncio.timeout(limits.answer):
                return await job.answer
        except TimeoutError:
            raise Refusal(503, "timeout", f"there was no answer within {limits.answer:g} s", RETRY_AFTER) from None

    async def run(self) -> None:
        """Answer requests until cancelled. With two such tasks, one collects a batch while the other's is processed."""
        while True:
            await self._gather()
            jobs = self._take()  # empty if another task was faster
            wanted = [job for job in jobs if not job.answer.done()]  # without those that timed out
            self._working.update(wanted)
            outcomes = await self._outcomes(wanted) if wanted else []
            self._working.difference_update(wanted)
            self._open -= len(jobs)
            for job, outcome in zip(wanted, outcomes, strict=True):
                if outcome is not None:
                    job.finish(outcome)

    async def _outcomes(self, jobs: Sequence[Job]) -> Sequence[BatchReply | Exception | None]:
        """Return the outcomes of ``work``. If it raises, its exception is the outcome of every job."""
        try:
            outcomes = await self._work(jobs)
            if len(outcomes) != len(jobs):
                raise RuntimeError(f"{len(outcomes)} outcomes for {len(jobs)} requests")
        except Exception as error:
            traceback.print_exc()  # for the log, not for the client
            return [error for _ in jobs]
        return outcomes

    def refuse(self, refusal: Refusal) -> None:
        """Refuse all requests that wait or are being processed. Call this when no task runs any more."""
        for job in (*self._waiting, *self._working):
            job.finish(refusal)
        self._waiting.clear()
        self._working.clear()
        self._bytes = self._open = 0

    async def _gather(self) -> None:
        """Wait for a request, then until there are enough of them or ``wait`` seconds are over."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        # Half of the clients: while their requests are processed, those of the others gather.
        enough = min(max(self._at_a_time, self._open) // 2, self._limits.batch)
        self._at_a_time = self._open
        deadline = time.monotonic() + self._limits.wait
        while len(self._waiting) < enough and time.monotonic() < deadline:
            self._arrived.clear()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self._arrived.wait()
            except TimeoutError:
                return

    def _take(self) -> list[Job]:
        jobs: list[Job] = []
        size = 0
        while self._waiting and len(jobs) < self._limits.batch:
            size += len(self._waiting[0].body)
            if jobs and size > self._limits.batch_bytes:
                break
            jobs.append(self._waiting.popleft())
            self._bytes -= len(jobs[-1].body)
        return jobs
