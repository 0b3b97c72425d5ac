"""Measure settings whose cost depends on the processor: threads, memory layout, averaged weights, batch size.

    python -m benchmarks.settings [--networks "mnist mlp" ...] [--runs 3] [--json FILE]

Trains each network on random images in memory, in turn with the settings of params.yaml and with one of them changed. A
result is the ratio of images per second, changed to unchanged. `engine.portable` is always as in params.yaml. `of the limit` is the
speed with the settings of params.yaml, in operations of products and convolutions, over a matrix product's (`benchmarks.limits`).
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from benchmarks import limits, measuring
from stages.common import config
from stages.common.training import loop, torch_setup
from stages.common.training_settings import TrainingSettings
from stages.common.vision import classifiers
from stages.landmarks.config import Train as Landmarks
from stages.mnist import model
from stages.mnist.config import Train as Mnist
from stages.scones.config import Train as Scones

CLASSES = 10


class Case(NamedTuple):
    """A network to train: its project's settings, the channels of its images, and the number of images per epoch."""

    project: str
    network: str
    settings: TrainingSettings
    channels: int
    images: int

    def build(self) -> tuple[nn.Module, int]:
        """Return the network, and the side of its training images in pixels."""
        table = getattr(self.settings, self.network).model_dump()
        if self.project == "mnist":
            return model.build(self.network, table), model.SIDE
        chosen = self.settings.model_copy(update={"network": self.network})
        side = getattr(chosen, "train_side", table["image_size"])
        return classifiers.build(self.network, table | {"fine_tune": "all"}, CLASSES).network, side


def cases() -> dict[str, Case]:
    """Return the cases by name: each project's networks, with its parameters. All layers of a backbone are trained."""
    mnist, landmarks = config.load("mnist", Mnist), config.load("landmarks", Landmarks)
    scones = config.load("scones", Scones)
    found = [
        Case("mnist", "mlp", mnist, 1, 60_000),
        Case("mnist", "cnn", mnist, 1, 2_000),
        Case("scones", "residual", scones, 3, 2_000),
        Case("landmarks", "residual", landmarks, 3, 400),
        Case("landmarks", "transfer", landmarks, 3, 200),
    ]
    return {f"{case.project} {case.network}": case for case in found}


CHANGES: dict[str, dict[str, Any]] = {
    "all cores": {"threads": None},
    "channels first": {},
    "averaged weights": {"ema_decay": 0.99},
    "half the batch": {},
    "twice the batch": {},
}


BASE, LIMIT = "images_per_second", "of the limit"
"""The settings of params.yaml, unchanged; and the limit."""


def images_per_second(case: Case, change: str) -> float:
    """Train one epoch. Returns the images per second of its steps."""
    settings = case.settings.model_copy(update={"epochs": 1, "device": "cpu", **CHANGES.get(change, {})})
    factor = {"half the batch": 0.5, "twice the batch": 2}.get(change, 1)
    settings = settings.model_copy(update={"batch_size": round(settings.batch_size * factor)})
    device = torch.device("cpu")
    computing = torch_setup.choose(settings, device, case.project)
    torch_setup.deterministic(settings.seed, settings.threads or torch.get_num_threads())
    network, side = case.build()
    layout = torch.contiguous_format if change == "channels first" else torch.channels_last
    network.to(memory_format=layout)
    computing.repeat(network)
    generator = torch.Generator().manual_seed(0)
    count = min(case.images, 4096)  # an epoch uses each several times
    pictures = torch.randn(count, case.channels, side, side, generator=generator).to(memory_format=layout)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    seen = torch.arange(case.images) % count

    def batches(generator: torch.Generator) -> loop.Epoch:
        return loop.shuffled(seen, labels[seen], settings.batch_size, lambda chosen, _: pictures[chosen], generator, 1)

    steps = loop.steps_per_epoch(case.images, settings.batch_size, case.project)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, title = Path(folder) / "checkpoint.pt", f"{case.project} {case.network}"
        done = loop.fit(network, batches, steps, lambda _: loop.Scores(0.0, 0.0), settings, checkpoint, title)
    return steps * settings.batch_size / done.seconds


def main(networks: list[str], runs: int) -> dict[str, Any]:
    about, rows, cores = limits.processor(), {}, torch.get_num_threads()

    def measure(case: Case, change: str) -> float:
        torch.set_num_threads(cores)
        return images_per_second(case, change)

    def limit() -> float:
        torch.set_num_threads(1)
        return limits.gflops()

    for name in networks:
        case = cases()[name]
        contestants = {LIMIT: limit} | {change: partial(measure, case, change) for change in (BASE, *CHANGES)}
        medians = measuring.medians(contestants, runs)
        base, most = medians.pop(BASE), medians.pop(LIMIT)
        network, side = case.build()
        gflops = base * limits.of_training(network.train(), torch.randn(2, case.channels, side, side)) / 1e9
        rows[name] = {BASE: round(base, 1), LIMIT: round(gflops / most, 2)}
        rows[name] |= {change: round(speed / base, 2) for change, speed in medians.items()}
        print(name, rows[name], flush=True)
    return about | {"networks": rows}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", nargs="+", choices=cases(), default=list(cases()))
    parser.add_argument("--runs", type=int, default=3, help="runs of each setting, in turn; the medians are compared")


if __name__ == "__main__":
    measuring.run(main, arguments)
