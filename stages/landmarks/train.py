"""Train the chosen network, or each member of an ensemble, and score it on the validation photographs.

Batches are read from the shards of photographs on demand. If a backbone is frozen, its features are computed once for
each view of a photograph, and only the head is trained on them. Then the temperature of the confidences is fitted on the
validation photographs. How a photograph of none of the classes is recognised is chosen on them, too, and on textures and
shapes made in code.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stages.common import config, files
from stages.common.portable import Computing
from stages.common.program import run
from stages.common.training import checkpoints, distributed, ensemble, loop, saving, torch_setup
from stages.common.training.checkpoints import Location
from stages.common.vision import backbones, calibration, checked, classifiers, initial, known, outliers
from stages.engine import training
from stages.landmarks.config import Pretrained, Train
from stages.landmarks.learning.frozen import FrozenViews, answer
from stages.landmarks.learning.views import Views
from stages.landmarks.model import BATCH, KNOWN, SETTINGS, TRAINED, batches, load, squares
from stages.landmarks.store import Store

FEATURES = Path("data/landmarks/features")


@dataclass(frozen=True)
class Learnt(saving.Learnt):
    """A trained network, and what `fill` needs besides it."""

    features: list[Path]
    """The files of a frozen backbone's features; empty if there is none."""
    bank: NDArray[np.float32]
    """Features, for `known`, of some training photographs: (N, size)."""
    features_seconds: float
    """Seconds for computing the features before training. Near 0 if existing files were reused."""


def inputs_of(settings: Train) -> list[Path]:
    """Return the files that training one network depends on besides its settings and code."""
    # An index has its shards' digests.
    features = [FEATURES / name for name in ("train.npz", "valid.npz", "about.json")]
    return [*features, *initial.files_of(settings.chosen.weights)]


def features_of(settings: Train, computing: Computing) -> list[Path]:
    """Return the feature files of the training and the validation photographs; empty if no backbone is frozen."""
    chosen = settings.chosen
    if not isinstance(chosen, Pretrained) or chosen.fine_tune != "none":
        return []
    # Only what the features depend on, so that other heads and seeds share them.
    backbone = {"image_size", "backbone", "weights", "layers", "views"}
    used: dict[str, Any] = {settings.network: backbone, "crop": True}
    if chosen.views > 2 or chosen.weights == "none":  # the first two views are not random
        used |= {"seed": True, "augmentation": True}
    known = settings.model_dump_json(include=used)
    process = f"-{distributed.rank()}" if distributed.rank() else ""  # processes may not share a disk
    folder = files.kept() / "landmarks"
    keys = [checkpoints.key(f"{part} {computing} {known}", inputs_of(settings)) for part in ("train", "valid")]
    return [folder / f"{key}{process}.npy" for key in keys]


def learn(settings: Train, about: dict[str, Any], checkpoint: Location, title: str) -> Learnt:
    """Train one network. ``about`` is featurize's about.json."""
    device = torch_setup.pick_device(settings.device)
    computing = torch_setup.choose(settings, device, "landmarks", settings.compile)
    settings = settings.model_copy(update={"precision": computing.precision})
    torch_setup.deterministic(settings.seed, settings.threads)
    train, valid = Store(FEATURES, "train"), Store(FEATURES, "valid")
    steps = loop.steps_per_epoch(len(train), settings.batch_size, "landmarks")
    table = settings.chosen.model_dump()
    built = classifiers.build(settings.network, table, len(about["classes"]), table.pop("weights"))
    checked.complete("landmarks", settings.epochs, built.complete)
    if built.initial and distributed.rank() == 0:
        print(f"{title}: {built.initial.words()}", flush=True)
    seen = {
        "mean": built.mean or about["mean"],
        "std": built.std or about["std"],
        "side": round(settings.crop * about["size"]),
        "image_size": table["image_size"],
        "flip": settings.views == "flip",
    }
    kept: list[Path] = []
    whole = built.network.to(device).to(memory_format=torch.channels_last)  # a faster layout
    computing.repeat(whole)
    member = classifiers.Member(whole, **seen).to(device)
    views: dict[str, Any] = {
        "crop": settings.crop,
        "limits": settings.augmentation.model_dump(),
        "side": settings.train_side,
    }
    photographs = Views(member, about["size"], **views, train=train, valid=valid)
    eyes: Views | FrozenViews = photographs
    network, began = whole, time.perf_counter()
    if isinstance(whole, backbones.Transfer) and (kept := features_of(settings, computing)):
        eyes = FrozenViews(photographs, whole.backbone, table["views"], settings.seed, settings.precision, kept)
        network = whole.head
    features_seconds = time.perf_counter() - began

    def epoch(generator: torch.Generator) -> loop.Epoch:
        everyone = torch.arange(len(train))
        return loop.shuffled(everyone, train.labels, settings.batch_size, eyes.training, generator, 1, train.order)

    def score(network: nn.Module) -> loop.Scores:
        logits = distributed.in_turns(
            torch.arange(len(valid)).split(BATCH),
            lambda chosen: answer(network, eyes.middles("valid", chosen), settings.precision),
        )
        return loop.scores(logits, valid.labels)

    if settings.compile:
        torch_setup.compile_in_place(network)
    rates = {"backbone.": table.get("rate", 1.0)}
    history = loop.fit(network, epoch, steps, score, settings, checkpoint, title, rates)
    network.load_state_dict(history.weights)
    chosen = torch.from_numpy(known.sampled(len(train))).split(BATCH)
    with torch.no_grad():
        bank = [classifiers.inspect(network.eval(), eyes.middles("train", some))[0].cpu() for some in chosen]
    found = {
        "network": settings.network,
        "settings": table,
        "computing": computing._asdict(),
        "initial": built.initial and built.initial.about(settings.epochs),
        "input": seen,
        "views": views,
        **saving.summary(whole, settings, history),
    }
    weights = {name: value.cpu() for name, value in whole.state_dict().items()}
    return Learnt(history, weights, device, computing, found, kept, torch.cat(bank).numpy(), features_seconds)


def checkpoints_of(settings: Train, root: Location) -> list[Location]:
    """Return the paths below ``root`` of the checkpoints of this training alone."""
    return checkpoints.paths("landmarks", settings, root, inputs_of)


def fill(settings: Train, kept: list[Location], folder: Path) -> None:
    """Train the networks of ``settings``. Write to ``folder`` the files that `model.load` and plot read, and the training times.

    ``kept`` has the paths of their checkpoints.
    """
    about = files.read_json(FEATURES / "about.json")
    trainings = ensemble.trainings("landmarks", settings, kept)
    learnt = [learn(one, about, checkpoint, title) for one, checkpoint, title in trainings]
    saving.save(folder, learnt)
    network = {"classes": about["classes"], "size": about["size"], "members": [one.about for one in learnt]}
    files.write_json(folder / "network.json", network | {"temperature": 1.0})
    files.write_json(folder / SETTINGS, settings.model_dump() | {"precision": learnt[0].computing.precision})
    if distributed.rank() == 0:
        arrays, probabilities = recognition(folder, np.concatenate([one.bank for one in learnt], 1), settings)
        files.write_arrays(folder / KNOWN, **arrays)
        found = calibration.validated(probabilities, Store(FEATURES, "valid").labels.numpy())
        files.write_json(folder / "network.json", network | found)
    features_seconds = sum(one.features_seconds for one in learnt)
    clock = saving.clock(learnt, len(Store(FEATURES, "train")), features_seconds)
    files.write_json(folder / training.CLOCK, clock | {"features_seconds": round(features_seconds, 3)})
    # Keep this backbone's features for the next head, and delete those of other backbones and views.
    for old in set((files.kept() / "landmarks").glob("*.npy")) - {path for one in learnt for path in one.features}:
        old.unlink()


def recognition(
    folder: Path, bank: NDArray[np.float32], settings: Train
) -> tuple[dict[str, NDArray], NDArray[np.float32]]:
    """Return the arrays by which `known` judges photographs, and the validation photographs' probabilities (N, classes).

    ``bank`` has the features of training photographs by the predictor that is stored in ``folder``.
    """
    device = torch_setup.pick_device(settings.device)
    predictor = load(folder, measured=True).to(device)
    valid = batches(predictor, Store(FEATURES, "valid"))
    made = squares(outliers.made(outliers.CHOOSING, predictor.size))
    return classifiers.recognition(bank, lambda batch: predictor.inspect(batch.to(device)), valid, made, settings.known)


def main() -> None:
    training.train("landmarks", config.load("landmarks", Train), fill, checkpoints_of, FEATURES, TRAINED)


if __name__ == "__main__":
    run(main)
