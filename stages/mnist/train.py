"""Train a network on the training images and score it on the validation images after each epoch.

The images are stored on the device as bytes. Batches are selected, augmented (if set) and normalised there.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.common import config, files
from stages.common.portable import Computing
from stages.common.program import run
from stages.common.training import checkpoints, distributed, loop, saving, torch_setup
from stages.common.training.checkpoints import Location
from stages.engine import training
from stages.mnist.config import Augmentation, Train
from stages.mnist.model import SETTINGS, TRAINED, build, normalise

FEATURES = Path("data/mnist/features")
PARTS = ("train", "valid")


class Learnt(NamedTuple):
    """A trained network, and what `model.load` needs to know about it."""

    trained: loop.Trained
    about: dict[str, Any]
    computing: Computing


def read(path: Path, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return images, uint8 (N, 28, 28), and labels, int64 (N), on ``device``."""
    with np.load(path) as features:
        return torch.from_numpy(features["images"]).to(device), torch.from_numpy(features["labels"]).long().to(device)


def moved(images: Tensor, limits: Augmentation, generator: torch.Generator) -> Tensor:
    """Return network inputs (N, 1, 28, 28), each rotated, scaled, sheared and shifted by its own random amounts.

    Pixels from outside the image are background.
    """
    count = len(images)
    # Sampled on the CPU, so that the amounts are the same on any device.
    drawn = distributed.share(torch.rand(6, distributed.whole(count), generator=generator), 1)
    # numpy, because torch's sine and exponential round differently on different processors.
    turn, height, width, shear, right, down = (drawn * 2 - 1).numpy()
    turn, shear = turn * math.radians(limits.rotation), shear * math.tan(math.radians(limits.shear))
    height, width = np.exp(height * limits.scale), np.exp(width * limits.scale)
    right, down = (move * (2 * limits.shift / images.shape[-1]) for move in (right, down))  # the image is 2 wide
    cosine, sine = np.cos(turn), np.sin(turn)
    upper = [cosine * width, (cosine * shear - sine) * height, right]
    lower = [sine * width, (sine * shear + cosine) * height, down]
    matrices = torch.from_numpy(np.stack([*upper, *lower], 1).reshape(count, 2, 3)).to(images.device)
    inputs = normalise(images)
    background = normalise(images.new_zeros(1, *images.shape[1:]))
    grid = F.affine_grid(matrices, list(inputs.shape), align_corners=False)
    return F.grid_sample(inputs - background, grid, align_corners=False) + background


def scorer(images: Tensor, labels: Tensor) -> Callable[[nn.Module], loop.Scores]:
    """Return a function that scores a network on these images, in float32."""

    def score(network: nn.Module) -> loop.Scores:
        logits = distributed.in_turns(images.split(1000), lambda batch: network(normalise(batch))).to(labels.device)
        return loop.scores(logits, labels)

    return score


def learn(train: tuple[Tensor, Tensor], valid: tuple[Tensor, Tensor], settings: Train, checkpoint: Location) -> Learnt:
    """Train a network on ``train``.

    ``train`` and ``valid`` are images, uint8 (N, 28, 28), and labels, int64 (N), on one device.
    """
    images, labels = train
    computing = torch_setup.choose(settings, images.device, "mnist")
    settings = settings.model_copy(update={"precision": computing.precision})
    steps = loop.steps_per_epoch(len(images), settings.batch_size, "mnist")
    torch_setup.deterministic(settings.seed, settings.threads)
    network = build(settings.network, getattr(settings, settings.network).model_dump())
    network.to(images.device).to(memory_format=torch.channels_last)  # a faster layout for convolutions
    computing.repeat(network)

    def prepared(chosen: Tensor, generator: torch.Generator) -> Tensor:
        return moved(chosen, settings.augmentation, generator) if settings.augment else normalise(chosen)

    def batches(generator: torch.Generator) -> loop.Epoch:
        return loop.shuffled(images, labels, settings.batch_size, prepared, generator)

    trained = loop.fit(network, batches, steps, scorer(*valid), settings, checkpoint, f"mnist {settings.network}")
    about = {
        "network": settings.network,
        "settings": getattr(settings, settings.network).model_dump(),
        "computing": computing._asdict(),
        **saving.summary(network, settings, trained),
    }
    return Learnt(trained, about, computing)


def checkpoints_of(settings: Train, root: Location) -> list[Location]:
    """Return the paths below ``root`` of the checkpoints of this training alone."""
    inputs = [FEATURES / f"{part}.npz" for part in PARTS]
    return [root / "mnist" / f"{checkpoints.key(settings.model_dump_json(), inputs)}.pt"]


def fill(settings: Train, kept: list[Location], folder: Path) -> None:
    """Train, and write to ``folder`` the files that `model.load` and plot read, and the training times.

    ``kept`` has the path of the checkpoint.
    """
    device = torch_setup.pick_device(settings.device)
    train, valid = (read(FEATURES / f"{part}.npz", device) for part in PARTS)
    trained, about, computing = learn(train, valid, settings, kept[0])
    saving.save(folder, trained)
    files.write_json(folder / "network.json", about)
    files.write_json(folder / SETTINGS, settings.model_dump() | {"precision": computing.precision})
    clock = torch_setup.clock(trained.seconds, len(train[0]) * len(trained.epochs), device, computing)
    files.write_json(folder / training.CLOCK, clock)


def main() -> None:
    training.train("mnist", config.load("mnist", Train), fill, checkpoints_of, FEATURES, TRAINED)


if __name__ == "__main__":
    run(main)
