"""Call the functions of an archive's `inference` module: one thread predicts, others read bodies."""

import asyncio
import gc
import importlib
import sys
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from .batching import BatchReply, Job
from .errors import Refusal
from .reading import RETRY_AFTER, Readers


class LoadedModel:
    """A loaded model.tar.gz, from its unpacked folder.

    Besides SageMaker's four functions, its `inference` may have ``batch_fn(items, model)``, which is predict_fn for several
    requests at once. Without it requests are processed one by one. ``ready_fn(data, model)`` makes an item from the result
    of input_fn. Several threads call these two at the same time. ``CONTENT_TYPES`` lists what input_fn reads.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        """``seconds``: time limit of the work on one body, and of a prediction."""
        sys.path.insert(0, str(folder / "code"))
        gc.disable()  # torch makes half a million objects: collections among them take a tenth of the time, and find nothing
        try:
            self._inference = importlib.import_module("inference")
            self._model = self._inference.model_fn(str(folder))
        finally:
            gc.freeze()  # they stay, so later collections pass over them
            gc.enable()
        self._batch_fn = getattr(self._inference, "batch_fn", None)
        self.batches = self._batch_fn is not None  # whether requests are processed together
        self._seconds = seconds
        self._thread = ThreadPoolExecutor(1, "model")
        self._readers = Readers(partial(self._attempt, self._read), seconds)
        self.content_types: Sequence[str] = getattr(self._inference, "CONTENT_TYPES", ("*/*",))

    @property
    def stuck(self) -> bool:
        """Whether no body can be read any more: the process has to be started again."""
        return self._readers.stuck

    async def read(self, body: bytes, content_type: str) -> Any:
        """Read a body by input_fn and ready_fn. Their exceptions are passed on. Raise Refusal after the time limit."""
        return await self._readers.read(body, content_type)

    async def work(self, jobs: Sequence[Job]) -> list[BatchReply | Exception]:
        """Return one outcome for each of the ``jobs``, whose ``data`` was read."""
        working = asyncio.get_running_loop().run_in_executor(self._thread, self._outcomes, jobs)
        done, _ = await asyncio.wait([working], timeout=self._seconds)
        if not done:
            late = Refusal(503, "timeout", f"the model took longer than {self._seconds:g} s", RETRY_AFTER)
            return [late for _ in jobs]
        return working.result()

    def _outcomes(self, jobs: Sequence[Job]) -> list[BatchReply | Exception]:
        predictions = self._predict([job.data for job in jobs])
        pairs = zip(predictions, jobs, strict=True)
        written = [self._attempt(self._write, prediction, job.accept) for prediction, job in pairs]
        return [one if isinstance(one, Exception) else BatchReply(one, len(jobs)) for one in written]

    def _read(self, body: bytes, content_type: str) -> Any:
        data = self._inference.input_fn(body, content_type)
        ready_fn = getattr(self._inference, "ready_fn", None)
        return ready_fn(data, self._model) if ready_fn else data

    def _predict(self, items: Sequence[Any]) -> Sequence[Any]:
        if self._batch_fn is None:
            return [self._attempt(self._inference.predict_fn, item, self._model) for item in items]
        together = self._attempt(self._batch_fn, items, self._model) if items else []
        if isinstance(together, Exception):  # one item may have caused it: the others still get a prediction
            alone = [self._attempt(self._batch_fn, [item], self._model) for item in items]
            return [one if isinstance(one, Exception) else one[0] for one in alone]
        if len(together) != len(items):
            raise RuntimeError(f"batch_fn gave {len(together)} predictions for {len(items)} requests")
        return together

    def _write(self, prediction: Any, accept: str) -> Any:
        if isinstance(prediction, Exception):
            raise prediction
        text = self._inference.output_fn(prediction, accept)
        return text.encode() if isinstance(text, str) else text

    def _attempt(self, function: Any, *arguments: Any) -> Any:
        """Return the result of ``function``, or the exception that it raised."""
        try:
            return function(*arguments)
        except Exception as error:
            if status(error) >= 500:
                traceback.print_exc()  # for the log, not for the client
            return error


def status(error: Exception) -> int:
    """Return the HTTP status of an error: its own, as SageMaker's toolkit sets it, or 400 for ValueError, otherwise 500."""
    return int(getattr(error, "status_code", 400 if isinstance(error, ValueError) else 500))
