"""The functions of an archive's `inference` module, called by one thread."""

import asyncio
import importlib
import sys
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .batching import BatchReply, Job


class Model:
    """A loaded model.tar.gz, from its unpacked folder.

    Besides SageMaker's four functions, its `inference` may have ``batch_fn(items, model)``, which is predict_fn for several
    requests at once. Without it requests are processed one by one. ``ready_fn(data, model)`` makes an item from the result
    of input_fn. ``CONTENT_TYPES`` lists what input_fn reads.
    """

    def __init__(self, folder: Path) -> None:
        sys.path.insert(0, str(folder / "code"))
        self._inference = importlib.import_module("inference")
        self._model = self._inference.model_fn(str(folder))
        self._batch_fn = getattr(self._inference, "batch_fn", None)
        self._thread = ThreadPoolExecutor(1, "model")
        self.content_types: Sequence[str] = getattr(self._inference, "CONTENT_TYPES", ("*/*",))

    @property
    def batches(self) -> bool:
        """Whether requests are processed together."""
        return self._batch_fn is not None

    async def work(self, jobs: Sequence[Job]) -> list[BatchReply | Exception]:
        """Return one outcome for each of the ``jobs``."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._outcomes, jobs)

    def _outcomes(self, jobs: Sequence[Job]) -> list[BatchReply | Exception]:
        outcomes = [self._attempt(self._read, job) for job in jobs]
        readable = [place for place, outcome in enumerate(outcomes) if not isinstance(outcome, Exception)]
        for place, prediction in zip(readable, self._predict([outcomes[place] for place in readable]), strict=True):
            outcomes[place] = self._attempt(self._write, prediction, jobs[place].accept)
        return [one if isinstance(one, Exception) else BatchReply(one, len(jobs)) for one in outcomes]

    def _read(self, job: Job) -> Any:
        data = self._inference.input_fn(job.body, job.content_type)
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
