"""Requests that come at the same time are worked on together.

While the model works requests wait, and what waits when it is done is its next batch; so a request that comes alone never
waits for others. Where several clients ask at a time, those that were just answered will ask again in a moment: they are
given that moment, `wait` seconds at most, which makes larger batches.
"""

import asyncio
import time
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from .errors import Refusal

RETRY_AFTER = 1  # s


@dataclass(frozen=True)
class Limits:
    """``batch``: requests that are worked on at once, and ``batch_bytes``, of all their bodies, unless one alone is larger.
    ``queue``: requests that may wait, and ``queue_bytes``. ``wait``: seconds for which a request waits for company at most.
    ``answer``: seconds after which nobody waits for an answer any more."""

    batch: int = 32
    wait: float = 0.002
    queue: int = 256
    answer: float = 60.0
    batch_bytes: int = 32 * 2**20
    queue_bytes: int = 256 * 2**20


@dataclass(frozen=True)
class Answer:
    """An answer's body, and how many requests were worked on together."""

    body: bytes
    batch: int


@dataclass(frozen=True, eq=False)
class Job:
    """A request that waits."""

    body: bytes
    content_type: str
    accept: str
    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


Work = Callable[[Sequence[Job]], Awaitable[Sequence[Answer | Exception]]]
"""Gives one outcome for each job, in their order."""


class Batcher:
    """A bounded queue before some ``work``."""

    def __init__(self, work: Work, limits: Limits) -> None:
        self._work, self._limits = work, limits
        self._waiting: deque[Job] = deque()
        self._working: set[Job] = set()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._open = 0  # requests that wait or are worked on
        self._at_a_time = 0  # how many of them there were lately

    async def ask(self, body: bytes, content_type: str, accept: str) -> Answer:
        """Raises Refusal, or what the work found wrong with this request."""
        waiting, limits = len(self._waiting), self._limits
        if waiting >= limits.queue or (waiting and self._bytes + len(body) > limits.queue_bytes):
            words = f"{waiting} requests with {self._bytes:,} bytes are waiting already"
            raise Refusal(429, "busy", words, RETRY_AFTER)
        job = Job(body, content_type, accept)
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
        """Answer requests, for ever. Of two tasks that do so, one prepares a batch while the other one's is worked on."""
        while True:
            await self._gather()
            jobs = self._take()  # none, if another task was faster
            wanted = [job for job in jobs if not job.answer.done()]  # not those that timed out
            self._working.update(wanted)
            outcomes = await self._outcomes(wanted) if wanted else []
            self._working.difference_update(wanted)
            self._open -= len(jobs)
            for job, outcome in zip(wanted, outcomes, strict=True):
                if job.answer.done():
                    continue
                if isinstance(outcome, Answer):
                    job.answer.set_result(outcome)
                else:
                    job.answer.set_exception(outcome)

    async def _outcomes(self, jobs: Sequence[Job]) -> Sequence[Answer | Exception]:
        """Of the work; where it has a defect, that is every job's."""
        try:
            outcomes = await self._work(jobs)
            if len(outcomes) != len(jobs):
                raise RuntimeError(f"{len(outcomes)} outcomes for {len(jobs)} requests")
        except Exception as error:
            traceback.print_exc()  # for the log, not for the client
            return [error for _ in jobs]
        return outcomes

    def refuse(self, refusal: Refusal) -> None:
        """All that waits or is worked on, for nobody will answer it: to be called when no task runs any more."""
        for job in (*self._waiting, *self._working):
            if not job.answer.done():
                job.answer.set_exception(refusal)
        self._waiting.clear()
        self._working.clear()
        self._bytes = self._open = 0

    async def _gather(self) -> None:
        """Until there is a request, and as many as there were lately, or the first one has waited long enough."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        # Half of them: while these are worked on the others gather.
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
