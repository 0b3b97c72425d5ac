"""Compare a candidate with the served model: by the guards, on the same test set, and on the stream."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from stages.common import config, files
from stages.common.errors import InputError
from stages.common.results import metrics
from stages.experiments.reviewing import guards
from stages.scones import layout, prepare
from stages.scones.config import Data
from stages.scones.feedback import labelled

PROJECT = "scones"

Right = NDArray[np.bool_]
"""(N), whether each picture's class is predicted correctly."""


@dataclass(frozen=True)
class Difference:
    """Accuracies of two models on the same pictures, and an interval for candidate minus served."""

    served: float
    candidate: float
    low: float
    high: float
    of: int

    def __str__(self) -> str:
        return (
            f"{self.served:.1%} before, {self.candidate:.1%} after, on {self.of} pictures; "
            f"the difference is from {self.low * 100:+.1f} to {self.high * 100:+.1f} points"
        )


@dataclass(frozen=True)
class Verdict:
    """``failures`` has a sentence for each reason to refuse the candidate."""

    test: Difference
    stream: Difference
    failures: tuple[str, ...]


def difference(served: Right, candidate: Right) -> Difference:
    """Return both accuracies and the interval of their difference, by a paired bootstrap (percentiles, always the same samples)."""
    changes = candidate.astype(float) - served.astype(float)
    found = bootstrap(
        (changes,),
        np.mean,
        n_resamples=9999,
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(0),
        batch=100,
    ).confidence_interval
    before, after, low, high = (round(float(one), 6) for one in (served.mean(), candidate.mean(), *found))
    return Difference(before, after, low, high, len(changes))


def on_the_test_set(root: Path) -> tuple[Right, NDArray[np.uint8]]:
    """Return which test pictures the model below ``root`` predicted correctly, by evaluate's table, and the pictures."""
    with np.load(files.require(root / "data/scones/features/test.npz", "featurize@scones")) as test:
        labels, images = test["labels"], test["images"]
    probabilities = np.load(files.require(root / "reports/scones/evaluation/probabilities.npy", "evaluate@scones"))
    return probabilities.argmax(1) == labels, images


def on_the_stream(root: Path, pictures: NDArray[np.uint8], labels: NDArray[np.int64]) -> Right:
    """Return which pictures the exported model below ``root`` predicts correctly, run as it is served."""
    import torch  # takes seconds, which a refused command does not need

    from stages.scones import export

    archive = files.require(root / export.EXPORT / "model.tar.gz", "export@scones")
    probabilities, _ = export.served(archive, torch.from_numpy(pictures))
    right: Right = probabilities.numpy().argmax(1) == labels
    return right


def held_out(classes: list[str], folder: Path = labelled.FOLDER) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the held-out labelled pictures, uint8 (N, side, side, 3), and their labels. No model is trained on them.

    Pictures that prepare and the endpoint refuse are left out, with a warning.
    """
    side = config.load("data.scones", Data).side
    entries = labelled.read_list(folder, classes, 0, held_out=True)
    pictures, refused = prepare.read_pictures(layout.candidates(folder, entries), side)
    for one in refused:
        print(f"warning: {one.path} is not used to judge: {one.reason}")
    labels = np.array([one.entry.label for one in pictures], np.int64)
    return np.array([one.image for one in pictures], np.uint8).reshape(-1, side, side, 3), labels


def judge(served: Path, candidate: Path, classes: list[str]) -> Verdict:
    """Compare the results below two folders. Raise InputError if they were measured on different test pictures."""
    before, pictures = on_the_test_set(served)
    after, others = on_the_test_set(candidate)
    if not np.array_equal(pictures, others):
        raise InputError("the candidate and the served model were tested on different pictures: run `dvc repro` first")
    stream, labels = held_out(classes)
    figures = [files.read_json(root / "reports/scones/metrics.json") for root in (served, candidate)]
    guarded = guards.judge(metrics.read(), PROJECT, *figures)
    return verdict(
        difference(before, after),
        difference(on_the_stream(served, stream, labels), on_the_stream(candidate, stream, labels)),
        [guard.failure for guard in guarded if guard.failure],
    )


def verdict(test: Difference, stream: Difference, failed: list[str]) -> Verdict:
    """Refuse a candidate that a guard has ``failed``, that is worse on the test set, or not better on the stream.

    Intervals decide: a difference whose interval includes 0 is neither a loss on the test set nor a gain on the stream.
    """
    failures = [*failed]
    if test.high < 0:
        failures.append(f"it is worse on the test pictures: {test}")
    if stream.low <= 0:
        failures.append(f"it is not shown to be better on the stream: {stream}")
    return Verdict(test, stream, tuple(failures))
