"""Lambda's Invoke: run the deployed zip in processes that are started on demand."""

import io
import os
import queue
import tempfile
import threading
import zipfile
from pathlib import Path

from stages.scones.aws.stand_in.runtime import Code, FunctionResult, Instance, has_own_tmp

MOST = 2
"""Largest number of processes for one function, 1 if they would share /tmp. Further requests wait until one is free."""


class Function:
    """One version of a function: its unpacked code and its processes, which are started on demand."""

    def __init__(self, code: Code, environment: dict[str, str]) -> None:
        self.code = code
        self._environment = environment
        self._folder = tempfile.TemporaryDirectory(prefix="function-")
        with zipfile.ZipFile(io.BytesIO(code.zipped)) as archive:
            archive.extractall(Path(self._folder.name, "code"))
        self._slots: queue.LifoQueue[Instance | None] = queue.LifoQueue()
        for _ in range(MOST if has_own_tmp() else 1):
            self._slots.put(None)
        self._running: set[Instance] = set()
        self._log, self._read = Path(self._folder.name, "log"), 0
        self._log.touch()
        self._lock = threading.Lock()

    def invoke(self, event: bytes) -> FunctionResult:
        instance = self._slots.get()  # the one that was used last, None if it has not been started
        try:
            if instance is None or not instance.alive:
                self._stop(instance)
                instance = Instance(self.code, Path(self._folder.name), self._environment)
                self._running.add(instance)
            return instance.invoke(event)
        finally:
            self._slots.put(instance)

    def _stop(self, instance: Instance | None) -> None:
        if instance in self._running:
            self._running.remove(instance)
            instance.stop()

    def new_lines(self) -> list[str]:
        """Return the complete lines that were logged since the last call."""
        with self._lock, self._log.open("rb") as file:
            file.seek(self._read)
            text = file.read()
            complete = text[: text.rfind(b"\n") + 1]
            self._read += len(complete)
        return complete.decode(errors="replace").splitlines()

    def stop(self) -> None:
        for instance in list(self._running):
            self._stop(instance)
        self._folder.cleanup()


class Functions:
    """All deployed functions. ``environment`` has the address and the credentials of their AWS."""

    def __init__(self, environment: dict[str, str]) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        self._environment = {**kept, **environment}
        self._running: dict[str, Function] = {}
        self._lock = threading.Lock()

    def invoke(self, code: Code, event: bytes) -> FunctionResult:
        region = code.arn.split(":")[3]
        with self._lock:
            function = self._running.get(code.arn)
            if function is None or function.code != code:
                if function:
                    function.stop()
                function = Function(code, {**self._environment, "AWS_REGION": region, "AWS_DEFAULT_REGION": region})
                self._running[code.arn] = function
        return function.invoke(event)

    def new_lines(self) -> list[tuple[str, list[str]]]:
        """Return each function's region and the lines that it has logged since the last call."""
        with self._lock:
            running = list(self._running.values())
        return [(one.code.arn.split(":")[3], one.new_lines()) for one in running]

    def keep_only(self, arns: set[str]) -> None:
        """Stop the functions that are no longer deployed."""
        with self._lock:
            for arn in set(self._running) - arns:
                self._running.pop(arn).stop()
