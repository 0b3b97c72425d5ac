"""The functions of an archive's `inference` module, called by one thread."""

import asyncio
import importlib
import sys
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .batching import Answer, Job


class Model:
    """An unpacked model.tar.gz, loaded.

    Beside SageMaker's four functions its `inference` may have ``batch_fn(items, model)``, which is predict_fn of several
    requests at once, and ``ready_fn(data, model)``, which makes such an item of what input_fn has read; without batch_fn
    requests are worked on one by one. ``CONTENT_TYPES`` says what input_fn reads.
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
        """Whether requests are worked on together."""
        return self._batch_fn is not None

    async def work(self, jobs: Sequence[Job]) -> list[Answer | Exception]:
        """One outcome for each of the ``jobs``."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._outcomes, jobs)

    def _outcomes(self, jobs: Sequence[Job]) -> list[Answer | Exception]:
        outcomes = [self._attempt(self._read, job) for job in jobs]
        readable = [place for place, outcome in enumerate(outcomes) if not isinstance(outcome, Exception)]
        for place, prediction in zip(readable, self._predict([outcomes[place] for place in readable]), strict=True):
            outcomes[place] = self._attempt(self._write, prediction, jobs[place].accept)
        return [one if isinstance(one, Exception) else Answer(one, len(jobs)) for one in outcomes]

    def _read(self, job: Job) -> Any:
        data = self._inference.input_fn(job.body, job.content_type)
        ready_fn = getattr(self._inference, "ready_fn", None)
        return ready_fn(data, self._model) if ready_fn else data

    def _predict(self, items: Sequence[Any]) -> Sequence[Any]:
        if self._batch_fn is None:
            return [self._attempt(self._inference.predict_fn, item, self._model) for item in items]
        together = self._attempt(self._batch_fn, items, self._model) if items else []
        if isinstance(together, Exception):  # because of one of them: the others shall not suffer
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
        """What ``function`` returns, or the exception that it raised."""
        try:
            return function(*arguments)
        except Exception as error:
            if status(error) >= 500:
                traceback.print_exc()  # for the log, not for the client
            return error


def status(error: Exception) -> int:
    """By HTTP: ValueError says that the request is at fault; errors of SageMaker's toolkit bring a status of their own."""
    return int(getattr(error, "status_code", 400 if isinstance(error, ValueError) else 500))
