"""Train the chosen network, or each member of an ensemble, and score it on the validation images after each epoch.

Then write a second network, which recognises images of no digit, and its limits (`learning/acceptance.py`).

The images are stored on the device as bytes. Batches are selected, augmented (if set) and normalised there.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from stages.common import config, files
from stages.common.program import run
from stages.common.training import checkpoints, distributed, ensemble, loop, saving, torch_setup
from stages.common.training.checkpoints import Location
from stages.common.vision import initial
from stages.engine import training
from stages.mnist.config import Train
from stages.mnist.learning import acceptance
from stages.mnist.learning.augmentation import moved
from stages.mnist.model import SETTINGS, TRAINED, build, normalise

FEATURES = Path("data/mnist/features")
PARTS = ("train", "valid")


class Part(NamedTuple):
    """Images, uint8 (N, 28, 28), and their labels, int64 (N), on one device."""

    images: Tensor
    labels: Tensor


def read(path: Path) -> Part:
    with np.load(path) as features:
        return Part(torch.from_numpy(features["images"]), torch.from_numpy(features["labels"]).long())


def learn(train: Part, valid: Part, settings: Train, checkpoint: Location, title: str) -> saving.Learnt:
    """Train one network on ``train``."""
    device = torch_setup.pick_device(settings.device)
    train, valid = (Part(*(values.to(device) for values in part)) for part in (train, valid))
    images, labels = train
    computing = torch_setup.choose(settings, device, "mnist")
    settings = settings.model_copy(update={"precision": computing.precision})
    steps = loop.steps_per_epoch(len(images), settings.batch_size, "mnist")
    torch_setup.deterministic(settings.seed, settings.threads)
    network = build(settings.network, settings.chosen)
    given, _ = initial.loaded(network, settings.weights)
    if given and distributed.rank() == 0:
        print(f"{title}: {given.words()}", flush=True)
    network.to(device).to(memory_format=torch.channels_last)  # a faster layout for convolutions
    computing.repeat(network)

    def prepared(chosen: Tensor, generator: torch.Generator) -> Tensor:
        return moved(chosen, settings.augmentation, generator) if settings.augment else normalise(chosen)

    def batches(generator: torch.Generator) -> loop.Epoch:
        return loop.shuffled(images, labels, settings.batch_size, prepared, generator)

    def score(network: nn.Module) -> loop.Scores:  # in float32
        logits = distributed.in_turns(valid.images.split(1000), lambda batch: network(normalise(batch))).to(device)
        return loop.scores(logits, valid.labels)

    trained = loop.fit(network, batches, steps, score, settings, checkpoint, title)
    about = {
        "network": settings.network,
        "settings": settings.chosen,
        "computing": computing._asdict(),
        "initial": given and given.about(settings.epochs),
        **saving.summary(network, settings, trained),
    }
    return saving.Learnt(trained, trained.weights, device, computing, about)


def checkpoints_of(settings: Train, root: Location) -> list[Location]:
    """Return the paths below ``root`` of the checkpoints of this training alone."""
    data = [FEATURES / f"{part}.npz" for part in PARTS]
    return checkpoints.paths("mnist", settings, root, lambda member: [*data, *initial.files_of(member.weights)])


def fill(settings: Train, kept: list[Location], folder: Path) -> None:
    """Train the networks of ``settings``. Write to ``folder`` what `model.load` and plot read, and the times.

    ``kept`` has the paths of their checkpoints.
    """
    train, valid = (read(FEATURES / f"{part}.npz") for part in PARTS)
    learnt = [learn(train, valid, *one) for one in ensemble.trainings("mnist", settings, kept)]
    saving.save(folder, learnt)
    computing = learnt[0].computing
    files.write_json(folder / "network.json", {"members": [one.about for one in learnt]})
    files.write_json(folder / SETTINGS, settings.model_dump() | {"precision": computing.precision})
    if distributed.rank() == 0:
        acceptance.write(folder, FEATURES / "train.npz", train, valid.images, settings, computing)
    files.write_json(folder / training.CLOCK, saving.clock(learnt, len(train.images)))


def main() -> None:
    training.train("mnist", config.load("mnist", Train), fill, checkpoints_of, FEATURES, TRAINED)


if __name__ == "__main__":
    run(main)
