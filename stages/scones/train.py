"""Train a network on the training pictures, then fit the temperature of its confidences on the validation pictures.

The pictures are stored on the device as bytes. Batches are selected, augmented and normalised there.
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.common import checkpoints, clocks, config, distributed, files, torch_setup, training
from stages.common.checkpoints import Place
from stages.common.portable import Computing
from stages.common.program import run
from stages.common.vision import classifiers
from stages.engine import dispatch
from stages.scones.config import Train
from stages.scones.learning import calibration
from stages.scones.learning.augmentation import augmented
from stages.scones.model import BATCH, TRAINED, Classifier, predict

FEATURES = Path("data/scones/features")
CLOCK = "training.json"
PARTS = ("train", "valid")


class Part(NamedTuple):
    """Pictures, uint8 (N, 32, 32, 3), and their labels, int64 (N), on one device."""

    images: Tensor
    labels: Tensor


class Learnt(NamedTuple):
    """A trained network, and the data that `model.load` needs."""

    history: training.Trained
    about: dict[str, Any]
    computing: Computing


def read(path: Path, device: torch.device) -> Part:
    with np.load(path) as features:
        return Part(*(torch.from_numpy(features[name]).to(device) for name in Part._fields))


def learn(train: Part, valid: Part, classes: list[str], settings: Train, checkpoint: Place) -> Learnt:
    """Train the network chosen by ``settings``."""
    device = train.images.device
    computing = torch_setup.choose(settings, device, "scones")
    settings = settings.model_copy(update={"precision": computing.precision})
    torch_setup.deterministic(settings.seed, settings.threads)
    steps = training.steps_per_epoch(len(train.images), settings.batch_size, "scones")
    table = settings.chosen.model_dump()
    built = classifiers.build(settings.network, table, len(classes), table.pop("weights", "none"))
    shares = train.images.double() / 255
    seen: dict[str, Any] = {
        "mean": built.mean or shares.mean((0, 1, 2)).tolist(),
        "std": built.std or shares.std((0, 1, 2)).tolist(),
        "image_size": settings.chosen.image_size,
        "flip": settings.views == "flip",
    }
    network = built.network.to(device).to(memory_format=torch.channels_last)  # a faster layout
    computing.repeat(network)
    classifier = Classifier(network, **seen).to(device)

    limits = settings.augmentation.model_dump()

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        return augmented(images, classifier, limits, generator)

    def batches(generator: torch.Generator) -> training.Epoch:
        return training.shuffled(*train, settings.batch_size, transform, generator, 1)

    def score(_: nn.Module) -> training.Scores:
        logits = distributed.in_turns(valid.images.split(BATCH), classifier.logits).to(valid.labels.device)
        right = (logits.argmax(1) == valid.labels).double().mean().item()
        return training.Scores(F.cross_entropy(logits, valid.labels).item(), right)

    rates, title = {"backbone.": settings.transfer.rate}, f"scones {settings.network}"
    history = training.fit(network, batches, steps, score, settings, checkpoint, title, rates)
    network.load_state_dict(history.weights)
    logits = predict(classifier.eval().logits, valid.images).cpu().numpy()
    about = {
        "classes": classes,
        "network": settings.network,
        "settings": table,
        "computing": computing._asdict(),
        "input": seen,
        "temperature": calibration.fit(logits, valid.labels.cpu().numpy()),
        "augmentation": limits,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "parameters_trained": sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad),
        "kept_epoch": history.best_epoch if settings.keep == "best" else len(history.epochs),
    }
    return Learnt(history, about, computing)


def checkpoint_of(settings: Train, features: Path, root: Place) -> Place:
    """Return the path below ``root`` of this training's own checkpoint."""
    known = settings.model_dump_json(exclude={"engine", "sagemaker"})
    classes = files.read_json(features / "about.json")["classes"]
    inputs = [features / f"{part}.npz" for part in PARTS]
    return root / "scones" / f"{checkpoints.key(f'{known} {classes}', inputs)}.pt"


def fill(folder: Path, settings: Train, features: Path, checkpoint: Place) -> None:
    """Train on ``features``. Write to ``folder`` the files that `model.load` and plot read, and the training times."""
    device = torch_setup.pick_device(settings.device)
    train, valid = (read(features / f"{part}.npz", device) for part in PARTS)
    learnt = learn(train, valid, files.read_json(features / "about.json")["classes"], settings, checkpoint)
    history = learnt.history
    training.save_weights(folder / "weights.pt", history.weights)
    training.write_history(folder / "steps.csv", history.steps)
    training.write_history(folder / "epochs.csv", history.epochs)
    files.write_json(folder / "network.json", learnt.about)
    clock = torch_setup.clock(history.seconds, len(train.images) * len(history.epochs), device, learnt.computing)
    files.write_json(folder / CLOCK, clock)


def main() -> None:
    settings = config.load("scones", Train)
    features = files.require(FEATURES, "featurize@scones")
    with files.new_folder(TRAINED) as folder:
        if settings.engine == "sagemaker":
            from stages.scones.jobs import training as job  # its imports are only needed here

            job.train_there(settings, features, folder)
            clocks.keep("train@scones", folder, folder / CLOCK)
            return
        checkpoint = checkpoint_of(settings, features, dispatch.storage())
        work = partial(fill, settings=settings, features=features, checkpoint=checkpoint)
        dispatch.train(work, folder, features, settings.batch_size)
        clocks.keep("train@scones", folder, folder / CLOCK)
    checkpoints.forget(checkpoint)


if __name__ == "__main__":
    run(main)
