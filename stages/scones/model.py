"""The classifier: one or several networks that include their preprocessing and calibration.

train, evaluate, plot and export share it, so the served model treats pictures exactly as the measured one.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from stages.common import files, program
from stages.common.vision import classifiers
from stages.common.vision.classifiers import Member, Members

BATCH = 100
"""Pictures per batch in prediction."""

TRAINED = Path("models/scones/trained")
SETTINGS = "settings.json"
"""The parameters of the training, in TRAINED."""
KNOWN = "known.npz"
"""What tells pictures of the classes from others, in TRAINED and in the export."""


class Classifier(Members):
    """Maps pictures, uint8 (N, side, side, 3), red, green, blue, to probabilities, float32 (N, classes)."""

    def __init__(self, members: list[Member], temperature: float = 1.0) -> None:
        super().__init__(members, temperature)
        self.side = members[0].side

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(squares(images))

    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `Members.inspect` returns, for pictures."""
        return super().inspect(squares(images))


def squares(images: Tensor) -> Tensor:
    """Return pictures, uint8 (N, side, side, 3), as their `Member` takes them."""
    return images.permute(0, 3, 1, 2)


def load(folder: Path = TRAINED, measured: bool = False) -> Classifier:
    """Load the classifier that train stored in ``folder``, on the CPU, for prediction.

    ``measured``: compute as in training.
    """
    program.keep_memory()
    about = files.read_json(folder / "network.json")
    classifier = Classifier(classifiers.members(folder, measured), about["temperature"])
    return classifier.eval().to(memory_format=torch.channels_last)


def predict(classifier: Callable[[Tensor], Tensor], images: Tensor, batch_size: int = BATCH) -> Tensor:
    """Return what ``classifier`` returns for ``images``, (N, ...), in batches: float32 (N, size)."""
    with torch.no_grad():
        return torch.cat([classifier(batch) for batch in images.split(batch_size)])
