"""Read the bodies of requests in threads, so that one that takes long to read does not hold up the others."""

import asyncio
import time
import traceback
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from .errors import Refusal

READERS = 2
"""Threads that read. More would need more memory."""

RETRY_AFTER = 5
"""Seconds after which a client that was refused may try again."""


@dataclass(eq=False)
class _Reading:
    """A body that waits, is being read or was read."""

    body: bytes
    content_type: str
    begin: float | None = None
    outcome: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Readers:
    """Threads that take waiting bodies one after the other.

    To hand each body to a thread, and each result back, would take longer than to read a small picture. So a thread takes all
    that it can get, and the event loop takes all results that there are.
    """

    def __init__(self, read: Callable[[bytes, str], Any], seconds: float) -> None:
        """``read`` returns the data or the exception. ``seconds``: time limit of one body."""
        self._read, self._seconds = read, seconds
        self._threads = ThreadPoolExecutor(READERS, "reader")
        self._running = 0
        self._waiting: deque[_Reading] = deque()
        self._done: deque[tuple[_Reading, Any]] = deque()
        self._late: set[_Reading] = set()  # each keeps a thread
        self._told = False  # the event loop is going to take what is done

    @property
    def stuck(self) -> bool:
        """Whether all threads have read beyond the time limit, so that no other body is read."""
        return len(self._late) == READERS

    async def read(self, body: bytes, content_type: str) -> Any:
        """Return what ``read`` returns for this body. Raise its exception, or Refusal after the time limit.

        A thread can't be stopped. It continues, and is free for other bodies when it is done.
        """
        one = _Reading(body, content_type)
        self._waiting.append(one)
        if self._running < READERS:
            self._start(asyncio.get_running_loop())
        left = self._seconds
        while left > 0:
            await asyncio.wait([one.outcome], timeout=left)
            if one.outcome.done():
                if isinstance(data := one.outcome.result(), Exception):
                    raise data
                return data
            if one.begin is not None:
                left = one.begin + self._seconds - time.monotonic()
            elif self.stuck:
                with suppress(ValueError):  # a thread has just taken it
                    self._waiting.remove(one)
                    break
        if one.begin is not None:
            self._late.add(one)
        # `timeout` tells the server to start the model again.
        code = "timeout" if self.stuck else "too_costly"
        what = "the body took" if one.begin is not None else "bodies before this one took"
        raise Refusal(503, code, f"{what} longer than {self._seconds:g} s to read", RETRY_AFTER)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._running += 1
        self._threads.submit(self._work, loop)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read in a thread until no body waits."""
        while True:
            try:
                one = self._waiting.popleft()
            except IndexError:  # the other thread may have taken the last one
                break
            one.begin = time.monotonic()
            try:
                data = self._read(one.body, one.content_type)
            except BaseException as error:  # such as SystemExit of an archive's code: the request still needs an answer
                traceback.print_exc()
                data = RuntimeError(repr(error))
            self._done.append((one, data))
            if not self._told:
                self._told = True
                loop.call_soon_threadsafe(self._take)
        loop.call_soon_threadsafe(self._end, loop)

    def _take(self) -> None:
        self._told = False  # before the last look: nothing is left behind
        while self._done:
            one, data = self._done.popleft()
            self._late.discard(one)
            one.outcome.set_result(data)

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        self._running -= 1
        if self._waiting:  # it came after the thread's last look
            self._start(loop)
