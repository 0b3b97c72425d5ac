"""Train the chosen network, or each member of an ensemble, and score it on the validation pictures after each epoch.

Then fit the temperature of the confidences on the validation pictures. How a picture of none of the classes is
recognised is chosen on them, too, and on textures and shapes made in code.

The pictures are stored on the device as bytes. Batches are selected, augmented and normalised there.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.common import config, files
from stages.common.program import run
from stages.common.training import checkpoints, distributed, ensemble, loop, saving, torch_setup
from stages.common.training.checkpoints import Location
from stages.common.vision import calibration, classifiers, initial, known, outliers
from stages.engine import training
from stages.scones.config import Train
from stages.scones.learning.augmentation import augmented
from stages.scones.model import BATCH, KNOWN, SETTINGS, TRAINED, load, predict, squares

FEATURES = Path("data/scones/features")
PARTS = ("train", "valid")


class Part(NamedTuple):
    """Pictures, uint8 (N, side, side, 3), and their labels, int64 (N), on one device."""

    images: Tensor
    labels: Tensor


def read(path: Path) -> Part:
    with np.load(path) as features:
        return Part(*(torch.from_numpy(features[name]) for name in Part._fields))


def learn(
    train: Part, valid: Part, classes: list[str], settings: Train, checkpoint: Location, title: str
) -> saving.Learnt:
    """Train one network on ``train``."""
    device = torch_setup.pick_device(settings.device)
    train, valid = (Part(*(values.to(device) for values in part)) for part in (train, valid))
    computing = torch_setup.choose(settings, device, "scones")
    settings = settings.model_copy(update={"precision": computing.precision})
    torch_setup.deterministic(settings.seed, settings.threads)
    steps = loop.steps_per_epoch(len(train.images), settings.batch_size, "scones")
    table = settings.chosen.model_dump()
    built = classifiers.build(settings.network, table, len(classes), table.pop("weights"))
    if built.initial and distributed.rank() == 0:
        print(f"{title}: {built.initial.words()}", flush=True)
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
    member = classifiers.Member(network, **seen).to(device)

    limits = settings.augmentation.model_dump()

    def transform(images: Tensor, generator: torch.Generator) -> Tensor:
        return augmented(images, member, limits, generator)

    def batches(generator: torch.Generator) -> loop.Epoch:
        return loop.shuffled(*train, settings.batch_size, transform, generator, 1)

    def score(network: nn.Module) -> loop.Scores:
        def answer(images: Tensor) -> Tensor:
            logits: Tensor = network(member.inputs(squares(images)))
            return logits

        logits = distributed.in_turns(valid.images.split(BATCH), answer)
        return loop.scores(logits.to(valid.labels.device), valid.labels)

    rates = {"backbone.": settings.transfer.rate}
    history = loop.fit(network, batches, steps, score, settings, checkpoint, title, rates)
    about = {
        "network": settings.network,
        "settings": table,
        "computing": computing._asdict(),
        "initial": built.initial and built.initial.about(settings.epochs),
        "input": seen,
        "augmentation": limits,
        **saving.summary(network, settings, history),
    }
    return saving.Learnt(history, history.weights, device, computing, about)


def recognition(
    folder: Path, train: Part, valid: Part, settings: Train
) -> tuple[dict[str, NDArray], NDArray[np.float32]]:
    """Return the arrays by which `known` judges pictures, and the validation pictures' probabilities (N, classes)."""
    device = torch_setup.pick_device(settings.device)
    classifier = load(folder, measured=True).to(device)

    def look(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return classifier.inspect(images.to(device))

    bank = predict(lambda batch: look(batch)[1], train.images[torch.from_numpy(known.sampled(len(train.images)))])
    made = torch.from_numpy(outliers.made(outliers.CHOOSING, classifier.side)).split(BATCH)
    return classifiers.recognition(bank.cpu().numpy(), look, valid.images.split(BATCH), made, settings.known)


def checkpoints_of(settings: Train, root: Location) -> list[Location]:
    """Return the paths below ``root`` of the checkpoints of this training alone."""
    data = [FEATURES / name for name in ("train.npz", "valid.npz", "about.json")]
    return checkpoints.paths("scones", settings, root, lambda member: [*data, *initial.files_of(member.chosen.weights)])


def fill(settings: Train, kept: list[Location], folder: Path) -> None:
    """Train the networks of ``settings``. Write to ``folder`` what `model.load` and plot read, and the training times.

    ``kept`` has the paths of their checkpoints.
    """
    train, valid = (read(FEATURES / f"{part}.npz") for part in PARTS)
    classes = files.read_json(FEATURES / "about.json")["classes"]
    learnt = [learn(train, valid, classes, *one) for one in ensemble.trainings("scones", settings, kept)]
    saving.save(folder, learnt)
    network = {"classes": classes, "members": [one.about for one in learnt]}
    files.write_json(folder / "network.json", network | {"temperature": 1.0})
    files.write_json(folder / SETTINGS, settings.model_dump() | {"precision": learnt[0].computing.precision})
    if distributed.rank() == 0:
        arrays, probabilities = recognition(folder, train, valid, settings)
        files.write_arrays(folder / KNOWN, **arrays)
        files.write_json(folder / "network.json", network | calibration.validated(probabilities, valid.labels.numpy()))
    files.write_json(folder / training.CLOCK, saving.clock(learnt, len(train.images)))


def main() -> None:
    training.train("scones", config.load("scones", Train), fill, checkpoints_of, FEATURES, TRAINED)


if __name__ == "__main__":
    run(main)
