"""Train a network on the training images and score it on the validation images after each epoch.

Then write a second network, which recognises images of no digit, and its limits (`learning/acceptance.py`).

The images are stored on the device as bytes. Batches are selected, augmented (if set) and normalised there.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stages.common import config, files
from stages.common.portable import Computing
from stages.common.program import run
from stages.common.training import checkpoints, distributed, loop, saving, torch_setup
from stages.common.vision import initial
from stages.engine import training
from stages.mnist.config import Train
from stages.mnist.learning import acceptance
from stages.mnist.learning.augmentation import moved
from stages.mnist.model import SETTINGS, TRAINED, build, normalise

FEATURES = Path("data/mnist/features")
PARTS = ("train", "valid")


def read(path: Path, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return images, uint8 (N, 28, 28), and labels, int64 (N), on ``device``."""
    with np.load(path) as features:
        return torch.from_numpy(features["images"]).to(device), torch.from_numpy(features["labels"]).long().to(device)


def learn(
    train: tuple[Tensor, Tensor], valid: tuple[Tensor, Tensor], settings: Train, checkpoint: checkpoints.Location
) -> tuple[loop.Trained, dict[str, Any], Computing]:
    """Train a network on ``train``. Also return the facts about it that `model.load` needs.

    ``train`` and ``valid`` are images, uint8 (N, 28, 28), and labels, int64 (N), on one device.
    """
    images, labels = train
    computing = torch_setup.choose(settings, images.device, "mnist")
    settings = settings.model_copy(update={"precision": computing.precision})
    steps = loop.steps_per_epoch(len(images), settings.batch_size, "mnist")
    torch_setup.deterministic(settings.seed, settings.threads)
    network = build(settings.network, settings.chosen)
    given, _ = initial.loaded(network, settings.weights)
    if given and distributed.rank() == 0:
        print(f"mnist: {given.words()}", flush=True)
    network.to(images.device).to(memory_format=torch.channels_last)  # a faster layout for convolutions
    computing.repeat(network)

    def prepared(chosen: Tensor, generator: torch.Generator) -> Tensor:
        return moved(chosen, settings.augmentation, generator) if settings.augment else normalise(chosen)

    def batches(generator: torch.Generator) -> loop.Epoch:
        return loop.shuffled(images, labels, settings.batch_size, prepared, generator)

    def score(network: nn.Module) -> loop.Scores:  # in float32
        logits = distributed.in_turns(valid[0].split(1000), lambda batch: network(normalise(batch))).to(images.device)
        return loop.scores(logits, valid[1])

    trained = loop.fit(network, batches, steps, score, settings, checkpoint, f"mnist {settings.network}")
    about = {
        "network": settings.network,
        "settings": settings.chosen,
        "computing": computing._asdict(),
        "initial": given and given.about(settings.epochs),
        **saving.summary(network, settings, trained),
    }
    return trained, about, computing


def checkpoints_of(settings: Train, root: checkpoints.Location) -> list[checkpoints.Location]:
    """Return the paths below ``root`` of the checkpoints of this training alone."""
    inputs = [*(FEATURES / f"{part}.npz" for part in PARTS), *initial.files_of(settings.weights)]
    return [root / "mnist" / f"{checkpoints.key(settings.model_dump_json(), inputs)}.pt"]


def fill(settings: Train, kept: list[checkpoints.Location], folder: Path) -> None:
    """Train, with the checkpoint ``kept``, and write to ``folder`` what `model.load` and plot read, and the times."""
    device = torch_setup.pick_device(settings.device)
    train, valid = (read(FEATURES / f"{part}.npz", device) for part in PARTS)
    trained, about, computing = learn(train, valid, settings, kept[0])
    saving.save(folder, trained)
    files.write_json(folder / "network.json", about)
    files.write_json(folder / SETTINGS, settings.model_dump() | {"precision": computing.precision})
    if distributed.rank() == 0:
        acceptance.write(folder, FEATURES / "train.npz", train, valid[0], settings, computing)
    clock = torch_setup.clock(trained.seconds, len(train[0]) * len(trained.epochs), device, computing)
    files.write_json(folder / training.CLOCK, clock)


def main() -> None:
    training.train("mnist", config.load("mnist", Train), fill, checkpoints_of, FEATURES, TRAINED)


if __name__ == "__main__":
    run(main)
