"""Read a model with its test set, and check that a deployment's answers match evaluate's."""

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.common import files
from stages.common.errors import InputError
from stages.common.models import registry
from stages.scones import layout
from stages.scones.aws import deployment, trial
from stages.scones.config import WorkflowSettings
from stages.scones.feedback.captures import Captured

FEATURES = Path("data/scones/features")
EVALUATION = Path("reports/scones/evaluation")
ARCHIVE = Path("models/scones/export/model.tar.gz")

TOLERANCE = 1e-4
"""Largest allowed difference between a served probability and evaluate's."""


class Test(NamedTuple):
    """A model's archive with the test set: by name the PNG file, the label, evaluate's probabilities (classes) and familiarity.

    A release from before familiarity was measured has none.
    """

    archive: Path
    source: str
    pictures: dict[str, bytes]
    labels: dict[str, int]
    probabilities: dict[str, NDArray[np.float32]]
    familiarity: dict[str, float]
    training: bytes
    """The reference with which captured pictures are compared."""


@contextmanager
def opened(settings: WorkflowSettings) -> Iterator[Test]:
    """Provide the model of `settings.version` and its test set during the block."""
    with registry.opened("scones", settings.version, [ARCHIVE, EVALUATION, FEATURES]) as root:
        yield read_test(root)


def read_test(root: Path = Path()) -> Test:
    """Return the model below ``root`` and its test set."""
    archive = files.require(root / ARCHIVE, "export@scones")
    expected = np.load(files.require(root / EVALUATION, "evaluate@scones") / "probabilities.npy")
    with np.load(files.require(root / FEATURES, "featurize@scones") / "test.npz") as test:
        names = [str(name) for name in test["names"]]
        pictures = {name: layout.png(image) for name, image in zip(names, test["images"], strict=True)}
        labels = dict(zip(names, map(int, test["labels"]), strict=True))
    source = files.read_json(root / FEATURES / "about.json")["source"]
    stored = root / EVALUATION / "familiarity.npy"
    familiarity = dict(zip(names, np.load(stored).tolist(), strict=True)) if stored.exists() else {}
    with np.load(root / FEATURES / "train.npz") as train:
        training = deployment.compared_with(train["images"], pictures.values())
    return Test(archive, source, pictures, labels, dict(zip(names, expected, strict=True)), familiarity, training)


def compare(answers: Mapping[str, Captured], asked: Set[str], test: Test) -> None:
    """Raise InputError unless each picture in ``asked`` has an answer and all answers match evaluate's."""
    without = sorted(asked - answers.keys())
    if without or not answers:
        raise InputError(
            f"{ARCHIVE}: the deployed model answered {len(answers)} pictures but not {len(without)} others {without[:3]}: "
            "expected one answer for each test case"
        )
    for name, answer in answers.items():
        expected, familiarity = test.probabilities[name], test.familiarity.get(name, 0.0)
        probabilities = answer.probabilities
        if len(expected) != len(probabilities) or not np.abs(expected - probabilities).max() <= TOLERANCE:
            wanted = f"expected evaluate's {expected.tolist()} within {TOLERANCE:g}"
            raise InputError(f"{ARCHIVE}: {name}: found the probabilities {probabilities}, {wanted}")
        if abs(familiarity) > TOLERANCE and answer.known is not (familiarity > 0):
            wanted = f"expected {familiarity > 0}, as evaluate's familiarity is {familiarity:g}"
            raise InputError(f"{ARCHIVE}: {name}: found known = {answer.known}, {wanted}")


def as_evaluated(done: trial.Trial, test: Test) -> dict[str, int]:
    """Return how many pictures the endpoint answered, whatever a user's own workflow did with it. Each must be evaluate's answer."""
    answered = trial.answers(done, test.pictures, deployment.MODEL)
    compare(answered, answered.keys(), test)
    return {"pictures_answered": len(answered)}


def measure(done: trial.Trial, test: Test, its_own: bool = False) -> dict[str, Any]:
    """Return counts of executions, and the fraction of correct classes among the successful ones (None if there are none).

    For a user's own workflow (``its_own``), whose errors and output may be any, return the failures by their error.
    """
    if its_own:
        failures = Counter(one.error or one.status for one in done.outcomes if one.status != "SUCCEEDED")
        succeeded = len(done.outcomes) - failures.total()
        return {"executions": len(done.outcomes), "succeeded": succeeded, "failures": dict(sorted(failures.items()))}
    passed = [outcome for outcome in done.outcomes if outcome.status == "SUCCEEDED"]
    unknown = sum(outcome.error == trial.UNKNOWN for outcome in done.outcomes)
    right = [int(np.argmax(one.probabilities)) == test.labels[one.key.removeprefix(deployment.TEST)] for one in passed]
    return {
        "executions": len(done.outcomes),
        "succeeded": len(passed),
        "below_threshold": len(done.outcomes) - len(passed) - unknown,
        "unknown": unknown,
        "accuracy_succeeded": round(float(np.mean(right)), 6) if right else None,
    }
