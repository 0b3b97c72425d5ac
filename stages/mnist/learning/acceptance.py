"""Write the second network and its limits. The network depends only on the data and `mnist.known`, so trainings share it."""

import os
import shutil
from pathlib import Path

from torch import Tensor

from stages.common import files
from stages.common.portable import Computing
from stages.common.training import checkpoints, saving
from stages.mnist.config import Train
from stages.mnist.learning import second
from stages.mnist.model import load, predict

NEWEST = 10
"""Number of second networks that are kept, for example those of a few seeds."""


def write(
    folder: Path, data: Path, train: tuple[Tensor, Tensor], digits: Tensor, settings: Train, computing: Computing
) -> None:
    """Write the second network and its limits to ``folder``, which has the networks of the digits.

    ``train`` is the content of the file ``data``: images, uint8 (N, 28, 28), and labels, int64 (N). The limits are
    chosen on the validation images ``digits``, uint8 (M, 28, 28).
    """
    known = f"second {settings.known} {settings.seed} {settings.threads} {computing}"
    kept, own = files.kept() / "mnist" / f"{checkpoints.key(known, [data])}.second", folder / second.WEIGHTS
    try:
        shutil.copyfile(kept, own)
    except FileNotFoundError:
        images, labels = (part.numpy() for part in train)
        saving.save_weights(own, second.train(images, labels, settings.known, settings.seed, computing).state_dict())
        keep(own, kept)
    answers = predict(load(folder, measured=True), digits)
    opinions = predict(second.load(computing, folder), digits)
    files.write_json(folder / second.LIMITS, second.limits(answers.numpy(), opinions.numpy(), settings.known))


def keep(own: Path, kept: Path) -> None:
    """Copy ``own`` to ``kept``, and delete all but the newest beside it. Other trainings may do the same meanwhile."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_name(f"{kept.name}.{os.getpid()}")
    shutil.copyfile(own, partial)
    partial.replace(kept)
    for old in sorted(kept.parent.glob("*.second*"), key=lambda path: path.stat().st_mtime)[:-NEWEST]:
        old.unlink(missing_ok=True)
