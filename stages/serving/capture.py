"""Keep requests and the models' answers in the format of SageMaker's data capture, to find drift and to label pictures.

Each request is a file, FOLDER/<project>/<time>-<id>.jsonl, written atomically. Only its owner can read it. It has the
body and its content type, the model's answer and the time, but no address, token or other header. When the folder is
full, the oldest files are deleted first. A request that can't be kept is reported, and still answered.
"""

import fcntl
import os
import queue
import re
import threading
import uuid
from collections import deque
from datetime import UTC, datetime
from pathlib import Path

from stages.common import files
from stages.common.errors import InputError
from stages.engine.aws import captures

OWN = re.compile(r"\d{8}T\d{12}Z-[0-9a-f]{32}\.jsonl")
"""Names of the files that a server writes: no others are deleted."""

WAITING = 64_000_000
"""Largest total of the requests that wait to be written, in bytes. Above it, requests arrive faster than the disk writes, and
further ones are not kept."""

PATIENCE = 10.0
"""Seconds that a stopping server waits for the last files to be written."""


class Captures:
    """The kept requests of one server. A thread writes them, so answers don't wait for the disk."""

    def __init__(self, folder: Path, most: int, most_bytes: int) -> None:
        """Open ``folder``, with at most ``most`` files of ``most_bytes`` together. Raise InputError if it can't be used."""
        self._folder, self._most, self._most_bytes = folder, most, most_bytes
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(folder, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            own = [path for path in folder.glob("*/*.jsonl") if OWN.fullmatch(path.name)]
            kept = sorted(own, key=lambda path: path.name)
            self._files = deque((path, path.stat().st_size) for path in kept)
            for partial in folder.glob("*/.*.jsonl.partial"):  # of a server that was killed
                partial.unlink()
        except BlockingIOError:
            raise InputError(f"another server keeps its requests in {folder}: choose another folder") from None
        except OSError as error:
            raise InputError(f"can't keep requests in {folder}: {error.strerror}: choose another folder") from None
        self._bytes = sum(size for _, size in self._files)
        self._queue: queue.SimpleQueue[tuple[str, str, bytes, str, bytes] | None] = queue.SimpleQueue()
        self._waiting = 0
        self._changing = threading.Lock()
        self._reported = ""
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def keep(self, project: str, content_type: str, body: bytes, answer_type: str, answer: bytes) -> None:
        """Keep a request that has been answered. Returns at once, and raises nothing."""
        size = len(body) + len(answer)
        with self._changing:
            if self._waiting and self._waiting + size > WAITING:
                self._report("requests arrive faster than the disk writes them")
                return
            self._waiting += size
        self._queue.put((project, content_type, body, answer_type, answer))

    def close(self) -> None:
        """Write the waiting requests."""
        self._queue.put(None)
        self._thread.join(PATIENCE)
        os.close(self._lock)

    def _work(self) -> None:
        while request := self._queue.get():
            try:
                self._write(*request)
            except (OSError, ValueError) as error:
                self._report(str(error))
            else:
                self._reported = ""
            _, _, body, _, answer = request
            with self._changing:
                self._waiting -= len(body) + len(answer)

    def _write(self, project: str, content_type: str, body: bytes, answer_type: str, answer: bytes) -> None:
        now = datetime.now(UTC)
        content = captures.line(content_type, body, answer_type, answer, now).encode()
        if len(content) > self._most_bytes:
            raise ValueError(f"a request of {len(content):,} bytes is larger than --capture-megabytes")
        self._make_room(len(content))
        path = self._folder / project / f"{now:%Y%m%dT%H%M%S%fZ}-{uuid.uuid4().hex}.jsonl"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with files.new_file(path) as partial:
            partial.touch(0o600, exist_ok=False)
            partial.write_bytes(content)
        self._files.append((path, len(content)))
        self._bytes += len(content)

    def _make_room(self, size: int) -> None:
        while self._files and (len(self._files) >= self._most or self._bytes + size > self._most_bytes):
            oldest, its_size = self._files.popleft()
            oldest.unlink(missing_ok=True)
            self._bytes -= its_size

    def _report(self, reason: str) -> None:
        """Print why a request is not kept. Print nothing more until a request is kept again."""
        if not self._reported:
            self._reported = reason
            print(f"request not kept: {reason}", flush=True)
