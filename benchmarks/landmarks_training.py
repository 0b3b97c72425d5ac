"""Compare landmarks' training with plain PyTorch and plain Lightning: the same networks, batches, optimizer and photographs.

    make env GROUPS=benchmarks
    python -m benchmarks.landmarks_training --source ../data [--photographs 400] [--rounds 3] [--json FILE]

`residual` is trained from scratch, `transfer` with a frozen backbone, both as in params.yaml. Ours is all of
`stages.landmarks.train.learn`: the frozen backbone's features, training, and scoring after each epoch. The others read
the photographs' files by torchvision's `ImageFolder` and a `DataLoader`, with `RandomResizedCrop`,
`RandomHorizontalFlip` and `Normalize`, and also score after each epoch. They leave out our changes of colour. Without
`--epochs`, ours trains for the epochs of params.yaml and they for `PLAIN_EPOCHS`: their epochs all take the same time. One
thread each, in turns. Times are the processor's, so other programs affect them little. `preparing_seconds` is what our
stages prepare and featurize take once, for all trainings.
"""

import argparse
import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from benchmarks import limits, measuring, workspace
from stages.common import config, files, program
from stages.common.training import torch_setup
from stages.common.vision import backbones, classifiers
from stages.landmarks import train
from stages.landmarks.config import Train
from stages.landmarks.store import Store

NETWORKS = ("residual", "transfer")
CONTESTANTS = ("ours", "plain loop", "Lightning")
PLAIN_EPOCHS = 2
RATIO = 3 / 4, 4 / 3
"""Of a crop's width to its height: torchvision's default."""

Batches = DataLoader[tuple[Tensor, Tensor]]


class Data(NamedTuple):
    """The training photographs' files, one folder for each class, and what our stages made of them."""

    files: Path
    about: dict[str, Any]
    train: int
    valid: int


def copied(source: Path, folder: Path, photographs: int) -> None:
    """Copy training photographs, evenly spread over the classes, and one test photograph of each class to ``folder``."""
    found = sorted(path for path in (source / "landmarks/train").glob("*/*") if not path.name.startswith("."))
    first = {path.parent.name: path for path in sorted((source / "landmarks/test").glob("*/*"), reverse=True)}
    chosen = [found[index] for index in measuring.spread(len(found), photographs)]
    for part, paths in (("train", chosen), ("test", list(first.values()))):
        for path in paths:
            target = folder / "landmarks" / part / path.parent.name
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / path.name)


def prepared(source: Path, photographs: int) -> tuple[Data, float]:
    """Run prepare and featurize in this folder. Returns their results and their processor time."""
    copied(source, Path("source"), photographs)
    workspace.create(Path(), {"data": {"source": workspace.absolute("source")}})
    began = spent()
    workspace.run(Path(), "landmarks", "prepare", "featurize")
    seconds = spent() - began
    sizes = [len(Store(train.FEATURES, part)) for part in ("train", "valid")]
    return Data(Path("source/landmarks/train"), files.read_json(train.FEATURES / "about.json"), *sizes), seconds


def spent() -> float:
    """Return the processor time of this process and of those that it waited for."""
    return sum(os.times()[:4])


def ours(settings: Train, data: Data) -> None:
    train.learn(settings, data.about, Path("checkpoint.pt"), "landmarks")
    Path("checkpoint.pt").unlink()
    shutil.rmtree("models", ignore_errors=True)  # a frozen backbone's features


def built(settings: Train, data: Data) -> classifiers.Built:
    table = getattr(settings, settings.network).model_dump()
    return classifiers.build(settings.network, table, len(data.about["classes"]), table.pop("weights"))


def loaders(settings: Train, data: Data, found: classifiers.Built) -> tuple[Batches, Batches]:
    """Return the batches of training and of validation photographs, read from their files."""
    mean, std = found.mean or data.about["mean"], found.std or data.about["std"]
    side, least = settings.chosen.image_size, settings.augmentation.least
    end = [transforms.ToTensor(), transforms.Normalize(mean, std)]
    changed = (
        transforms.RandomResizedCrop(settings.train_side, (least**2, 1.0), RATIO),
        transforms.RandomHorizontalFlip(),
    )
    middle = transforms.Resize(side), transforms.CenterCrop(side)
    learnt, scored = (ImageFolder(data.files, transforms.Compose([*first, *end])) for first in (changed, middle))
    order = torch.randperm(len(learnt), generator=torch.Generator().manual_seed(settings.seed)).tolist()
    held_out, rest = order[: data.valid], order[data.valid :]
    size = settings.batch_size
    return (
        DataLoader(Subset(learnt, rest), size, shuffle=True, drop_last=True),
        DataLoader(Subset(scored, held_out), size),
    )


def loss(network: nn.Module, batch: tuple[Tensor, Tensor], settings: Train) -> Tensor:
    images, labels = batch
    return F.cross_entropy(network(images), labels, label_smoothing=settings.label_smoothing)


def plain_loop(settings: Train, data: Data) -> None:
    found = built(settings, data)
    batches, valid = loaders(settings, data, found)
    network = found.network
    optimizer = torch_setup.build_optimizer(network, settings)
    schedule = torch_setup.build_schedule(optimizer, settings, settings.epochs * len(batches))
    for _ in range(settings.epochs):
        network.train()
        for batch in batches:
            optimizer.zero_grad()
            loss(network, batch, settings).backward()
            optimizer.step()
            if settings.schedule == "one_cycle" and schedule:
                schedule.step()  # type: ignore[call-arg]
        network.eval()
        with torch.no_grad():
            for batch in valid:
                loss(network, batch, settings)


def lightning(settings: Train, data: Data) -> None:
    with program.requires("benchmarks", "plain Lightning"):
        import lightning as pytorch_lightning

    found = built(settings, data)
    batches, valid = loaders(settings, data, found)

    class Classifier(pytorch_lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = found.network

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            return loss(self.network, batch, settings)

        def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
            self.log("valid_loss", loss(self.network, batch, settings))

        def configure_optimizers(self) -> Any:
            optimizer = torch_setup.build_optimizer(self.network, settings)
            schedule = torch_setup.build_schedule(optimizer, settings, settings.epochs * len(batches))
            cycle = settings.schedule == "one_cycle"
            return ([optimizer], [{"scheduler": schedule, "interval": "step"}]) if cycle else optimizer

    trainer = pytorch_lightning.Trainer(
        accelerator="cpu",
        max_epochs=settings.epochs,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Classifier(), batches, valid)


def operations(name: str, settings: Train, data: Data) -> int:
    """Return the operations of a contestant's training. Ours computes a frozen backbone's features once for each view."""
    network: nn.Module = built(settings, data).network
    images = torch.randn(2, 3, settings.chosen.image_size, settings.chosen.image_size)
    size = settings.batch_size
    learnt, scored = settings.epochs * (data.train // size * size), settings.epochs * data.valid
    once = 0
    if name == "ours" and isinstance(network, backbones.Transfer) and settings.transfer.fine_tune == "none":
        backbone, network = network.backbone.eval(), network.head
        once = (settings.transfer.views * data.train + data.valid) * forward(backbone, images)
        with torch.no_grad():
            images = backbone(images)
    return once + learnt * limits.of_training(network.train(), images) + scored * forward(network, images)


def forward(network: nn.Module, images: Tensor) -> int:
    """Return the operations for one of the images."""
    with torch.no_grad():
        return limits.operations(lambda: network.eval()(images)) // len(images)


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in ``folder`` with torch's defaults, which our training changes."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    with contextlib.chdir(folder):
        yield
    torch.use_deterministic_algorithms(deterministic)


def measure(settings: Train, data: Data, names: list[str], epochs: int | None, rounds: int) -> dict[str, Any]:
    """Return each contestant's speed, and the ratios to ours."""
    ways: dict[str, Callable[[Train, Data], None]] = {"ours": ours, "plain loop": plain_loop, "Lightning": lightning}
    chosen = {
        name: settings.model_copy(update={"epochs": epochs or (settings.epochs if name == "ours" else PLAIN_EPOCHS)})
        for name in names
    }

    def timed(name: str) -> float:
        with inside(Path()):
            return limits.seconds(lambda: ways[name](chosen[name], data))

    contestants = {"limit": limits.gflops} | {name: partial(timed, name) for name in names}
    medians = measuring.medians(contestants, rounds)
    limit = medians.pop("limit")
    rows = {}
    for name, took in medians.items():
        one, size = chosen[name], settings.batch_size
        work = operations(name, one, data) / 1e9
        rows[name] = {
            "epochs": one.epochs,
            "seconds": round(took, 2),
            "images_per_second": round(one.epochs * (data.train // size * size) / took, 1),
            "gigaoperations": round(work, 1),
            "seconds_at_the_limit": round(work / limit, 2),
            "fraction_of_limit": round(work / took / limit, 3),
        }
        print(settings.network, name, rows[name], flush=True)
    speeds = {name: row["images_per_second"] for name, row in rows.items()}
    ratios = {name: round(speeds["ours"] / speed, 2) for name, speed in speeds.items()}
    print(settings.network, "times as fast as", ratios, flush=True)
    return {"limit_gflops": round(limit, 1), "contestants": rows, "ratios": ratios}


def main(
    source: Path, photographs: int, networks: list[str], contestants: list[str], epochs: int | None, rounds: int
) -> dict[str, Any]:
    source, parameters = source.resolve(), config.read()
    about, results = limits.processor(), {}
    with tempfile.TemporaryDirectory() as folder, inside(Path(folder)):
        data, preparing = prepared(source, photographs)
        for name in networks:
            settings = config.load("landmarks", Train, parameters)
            settings = settings.model_copy(update={"network": name, "device": "cpu", "threads": 1})
            results[name] = measure(settings, data, ["ours", *contestants], epochs, rounds)
    return about | {
        "photographs": {"training": data.train, "validation": data.valid},
        "preparing_seconds": round(preparing, 1),
        "networks": results,
    }


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", type=Path, required=True, help="a folder with landmarks/train/<class>/* and test")
    parser.add_argument("--photographs", type=int, default=400, help="for training and validation (%(default)s)")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS[1:], default=CONTESTANTS[1:])
    parser.add_argument("--epochs", type=int, help="of all contestants")
    parser.add_argument("--rounds", type=int, default=3)


if __name__ == "__main__":
    measuring.run(main, arguments)
