"""Trains a network on the training pictures, then fits the temperature of its confidences on the validation pictures.

The pictures lie on the device as bytes; a batch is an index into them, moved about and normalised there. Started by torchrun,
several processes share each batch (`distributed`).
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.common import config, files, torch_setup, training
from stages.common.program import run
from stages.common.vision import augmentation as light
from stages.common.vision import backbones, classifiers, networks, pixels
from stages.scones import model
from stages.scones.config import Train
from stages.scones.learning import augmentation, calibration, distributed
from stages.scones.learning.augmentation import augmented
from stages.scones.model import TRAINED, Classifier, predict

FEATURES = Path("data/scones/features")
CLOCK = Path("reports/scones/training.json")

MODULES = (augmentation, backbones, classifiers, distributed, light, model, networks, pixels, torch_setup, training)
CODE = [*(Path(str(module.__file__)) for module in MODULES), Path(__file__)]
"""What training depends on besides data and settings: what a killed run has kept is for the same of these alone."""


class Part(NamedTuple):
    """Pictures, uint8 (N, 32, 32, 3), and their labels, int64 (N), on one device."""

    images: Tensor
    labels: Tensor


class Learnt(NamedTuple):
    """A trained network, and what `model.load` has to know of it."""

    history: training.Trained
    about: dict[str, Any]


def read(path: Path, device: torch.device) -> Part:
    with np.load(path) as features:
        return Part(*(torch.from_numpy(features[name]).to(device) for name in Part._fields))


def learn(train: Part, valid: Part, classes: list[str], settings: Train, checkpoint: Path) -> Learnt:
    """Train the network that ``settings`` name."""
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
    network = built.network.to(train.images.device).to(memory_format=torch.channels_last)  # the faster layout
    classifier = Classifier(network, **seen).to(train.images.device)

    limits = settings.augmentation.model_dump()

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        return augmented(images, classifier, limits, generator)

    def batches(generator: torch.Generator) -> training.Epoch:
        return distributed.shared(training.shuffled(*train, settings.batch_size, transform, generator, 1))

    def score(_: nn.Module) -> training.Scores:
        logits = predict(classifier.logits, valid.images)
        right = (logits.argmax(1) == valid.labels).double().mean().item()
        return training.Scores(F.cross_entropy(logits, valid.labels).item(), right)

    own = settings.model_copy(update={"batch_size": distributed.share_of(settings.batch_size)})
    rates = {f"{prefix}backbone.": settings.transfer.rate for prefix in ("", distributed.PREFIX)}
    title = f"scones {settings.network}"
    history = training.fit(distributed.wrapped(network), batches, steps, score, own, checkpoint, title, rates)
    network.load_state_dict(distributed.unwrapped(history.weights))
    logits = predict(classifier.eval().logits, valid.images).cpu().numpy()
    about = {
        "classes": classes,
        "network": settings.network,
        "settings": table,
        "input": seen,
        "temperature": calibration.fit(logits, valid.labels.cpu().numpy()),
        "augmentation": limits,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "parameters_trained": sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad),
        "kept_epoch": history.best_epoch if settings.keep == "best" else len(history.epochs),
    }
    return Learnt(history, about)


def write(folder: Path, learnt: Learnt) -> None:
    """Fill ``folder`` with what `model.load` and plot read."""
    training.save_weights(folder / "weights.pt", learnt.history.weights)
    training.write_history(folder / "steps.csv", learnt.history.steps)
    training.write_history(folder / "epochs.csv", learnt.history.epochs)
    files.write_json(folder / "network.json", learnt.about)


def on_this_machine(settings: Train, features: Path, trained: Path, clock: Path) -> None:
    """Train on what is in ``features``; the model goes to the folder ``trained``, the time it took to ``clock``."""
    device = torch_setup.pick_device(settings.device)
    classes = files.read_json(features / "about.json")["classes"]
    inputs = [features / "train.npz", features / "valid.npz", *CODE]
    with distributed.group():
        train, valid = (read(path, device) for path in inputs[:2])
        process = f"{distributed.rank()} of {distributed.size()}"
        known = settings.model_dump_json(exclude={"engine", "sagemaker"})
        checkpoint = training.kept_path("scones", f"{known} {classes} {process}", inputs, ".pt")
        learnt = learn(train, valid, classes, settings, checkpoint)
        if distributed.rank() == 0:
            with files.new_folder(trained) as folder:
                write(folder, learnt)
            images = len(train.images) * len(learnt.history.epochs)
            files.write_json(clock, torch_setup.clock(learnt.history.seconds, images, device))
        checkpoint.unlink()


def main() -> None:
    settings = config.load("scones", Train)
    features = files.require(FEATURES, "featurize@scones")
    if settings.engine == "local":
        on_this_machine(settings, features, TRAINED, CLOCK)
    else:
        from stages.scones.jobs import training as job  # what it imports is of no use elsewhere

        job.train_there(settings, features, TRAINED, CLOCK)


if __name__ == "__main__":
    run(main)
