"""Print when a model has been trained, and collect the reasons why models were skipped."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from autogluon.core.callbacks import AbstractCallback


class Progress(AbstractCallback):
    """Progress of models trained on this machine. It is pickled with them, so it must not be defined in a main module."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self.part, self.begin = part, time.monotonic()

    def say(self, name: str) -> None:
        print(f"{self.part}: {name} ({time.monotonic() - self.begin:.0f} s)", flush=True)

    def _after_model_fit(self, trainer: Any, model_names: list[str], **kwargs: Any) -> bool:
        for name in model_names:
            self.say(name)
        return False


@contextmanager
def elsewhere(progress: Progress) -> Iterator[list[str]]:
    """Print progress of models that a cluster trains, which AutoGluon only logs. Yields the reasons for skipped models."""
    logger = logging.getLogger("autogluon.tabular.trainer.abstract_trainer")
    listener = _Listener(progress)
    level, logger.propagate = logger.level, False
    logger.setLevel(logging.INFO)
    logger.addHandler(listener)
    try:
        yield listener.reasons
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
        logger.propagate = True


class _Listener(logging.Handler):
    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress, self.reasons = progress, list[str]()

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage().strip()
        if said.startswith("Fitted "):
            self.progress.say(said.removeprefix("Fitted ").rstrip(":"))
        elif said.startswith("Skipping "):
            self.reasons.append(said.splitlines()[0])
