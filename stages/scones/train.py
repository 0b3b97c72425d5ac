"""Train a network on the training pictures, then fit the temperature of its confidences on the validation pictures.

How a picture of none of the classes is recognised is chosen on them, too, and on textures and shapes made in code.

The pictures are stored on the device as bytes. Batches are selected, augmented and normalised there.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.common import config, files
from stages.common.portable import Computing
from stages.common.program import run
from stages.common.training import checkpoints, distributed, loop, saving, torch_setup
from stages.common.training.checkpoints import Location
from stages.common.vision import calibration, classifiers, initial, known, outliers
from stages.engine import training
from stages.scones.config import Train
from stages.scones.learning.augmentation import augmented
from stages.scones.model import BATCH, KNOWN, SETTINGS, TRAINED, Classifier, load, predict

FEATURES = Path("data/scones/features")
PARTS = ("train", "valid")


class Part(NamedTuple):
    """Pictures, uint8 (N, side, side, 3), and their labels, int64 (N), on one device."""

    images: Tensor
    labels: Tensor


def read(path: Path, device: torch.device) -> Part:
    with np.load(path) as features:
        return Part(*(torch.from_numpy(features[name]).to(device) for name in Part._fields))


def learn(
    train: Part, valid: Part, classes: list[str], settings: Train, checkpoint: Location
) -> tuple[loop.Trained, dict[str, Any], Computing]:
    """Train the network chosen by ``settings``. Return it, the data that `model.load` needs, and how it was computed."""
    device = train.images.device
    computing = torch_setup.choose(settings, device, "scones")
    settings = settings.model_copy(update={"precision": computing.precision})
    torch_setup.deterministic(settings.seed, settings.threads)
    steps = loop.steps_per_epoch(len(train.images), settings.batch_size, "scones")
    table = settings.chosen.model_dump()
    built = classifiers.build(settings.network, table, len(classes), table.pop("weights"))
    if built.initial and distributed.rank() == 0:
        print(f"scones: {built.initial.words()}", flush=True)
    shares = train.images.double() / 255
    seen: dict[str, Any] = {
        "mean": built.mean or shares.mean((0, 1, 2)).tolist(),
        "std": built.std or shares.std((0, 1, 2)).tolist(),
        "side": train.images.shape[1],
        "image_size": settings.chosen.image_size,
        "flip": settings.views == "flip",
    }
    network = built.network.to(device).to(memory_format=torch.channels_last)  # a faster layout
    computing.repeat(network)
    classifier = Classifier(network, **seen).to(device)

    limits = settings.augmentation.model_dump()

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        return augmented(images, classifier, limits, generator)

    def batches(generator: torch.Generator) -> loop.Epoch:
        return loop.shuffled(*train, settings.batch_size, transform, generator, 1)

    def score(_: nn.Module) -> loop.Scores:
        logits = distributed.in_turns(valid.images.split(BATCH), classifier.logits).to(valid.labels.device)
        return loop.scores(logits, valid.labels)

    rates, title = {"backbone.": settings.transfer.rate}, f"scones {settings.network}"
    history = loop.fit(network, batches, steps, score, settings, checkpoint, title, rates)
    network.load_state_dict(history.weights)
    logits = predict(classifier.eval().logits, valid.images).cpu().numpy()
    about = {
        "classes": classes,
        "network": settings.network,
        "settings": table,
        "computing": computing._asdict(),
        "initial": built.initial and built.initial.about(settings.epochs),
        "input": seen,
        "temperature": calibration.fit(logits, valid.labels.cpu().numpy()),
        "augmentation": limits,
        **saving.summary(network, settings, history),
    }
    return history, about, computing


def recognition(classifier: Classifier, train: Part, valid: Part, settings: Train) -> dict[str, NDArray]:
    """Return the arrays by which `known` judges pictures."""
    chosen = torch.from_numpy(known.sampled(len(train.images))).to(train.images.device)
    made = torch.from_numpy(outliers.made(outliers.CHOOSING, classifier.side)).to(train.images.device)
    with torch.no_grad():
        bank = torch.cat([classifier.inspect(batch)[1] for batch in train.images[chosen].split(BATCH)])
    seen, strange = valid.images.split(BATCH), made.split(BATCH)
    return classifiers.recognition(bank.cpu().numpy(), classifier.inspect, seen, strange, settings.known)[0]


def checkpoints_of(settings: Train, root: Location) -> list[Location]:
    """Return the paths below ``root`` of the checkpoints of this training alone."""
    classes = files.read_json(FEATURES / "about.json")["classes"]
    inputs = [*(FEATURES / f"{part}.npz" for part in PARTS), *initial.files_of(settings.chosen.weights)]
    return [root / "scones" / f"{checkpoints.key(f'{settings.model_dump_json()} {classes}', inputs)}.pt"]


def fill(settings: Train, kept: list[Location], folder: Path) -> None:
    """Train, and write to ``folder`` the files that `model.load` and plot read, and the training times.

    ``kept`` has the path of the checkpoint.
    """
    device = torch_setup.pick_device(settings.device)
    train, valid = (read(FEATURES / f"{part}.npz", device) for part in PARTS)
    classes = files.read_json(FEATURES / "about.json")["classes"]
    history, about, computing = learn(train, valid, classes, settings, kept[0])
    saving.save(folder, history)
    files.write_json(folder / "network.json", about)
    files.write_json(folder / SETTINGS, settings.model_dump() | {"precision": computing.precision})
    if distributed.rank() == 0:
        classifier = load(folder, measured=True).to(device)
        files.write_arrays(folder / KNOWN, **recognition(classifier, train, valid, settings))
    clock = torch_setup.clock(history.seconds, len(train.images) * len(history.epochs), device, computing)
    files.write_json(folder / training.CLOCK, clock)


def main() -> None:
    training.train("scones", config.load("scones", Train), fill, checkpoints_of, FEATURES, TRAINED)


if __name__ == "__main__":
    run(main)
