"""Compare the training speed of mnist's networks with a plain PyTorch loop, and with the processor's limit.

    python -m benchmarks.mnist_training [--networks mlp cnn] [--rounds 5] [--threads 1] [--json FILE]

All train the network of params.yaml with its batch size and Adam, on the same images. They take turns, and the medians
over the rounds are compared. Ours is `train.learn`, with a few validation images. The other is the published way:
torchvision's own `MNIST` with `ToTensor` and `Normalize` in a `DataLoader` without workers, and the plain loop of
torch's tutorials. The limit is the speed of a large matrix product (`limits.py`): a step can't be faster than the
products and convolutions of its forward and backward passes.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import MNIST

from benchmarks import limits, measuring
from stages.common import config, files
from stages.common.training import torch_setup
from stages.mnist import train
from stages.mnist.config import Train
from stages.mnist.model import MEAN, STD, build, normalise
from stages.mnist.sources import sample

FEATURES = Path("data/mnist/features/train.npz")

IMAGES = {"mlp": 54_000, "cnn": 2_000}
"""Images of an epoch; those of the training part are repeated."""

OURS, PLAIN = "this project", "plain loop"


def ours(part: train.Part, settings: Train, folder: Path) -> None:
    """Train an epoch as the stage train does, including its checkpoint."""
    checkpoint = folder / "checkpoint.pt"
    checkpoint.unlink(missing_ok=True)
    few = train.Part(part.images[:64], part.labels[:64])
    train.learn(part, few, settings, checkpoint, OURS)


def plain(folder: Path, settings: Train) -> None:
    """Train an epoch through torchvision's dataset and a DataLoader."""
    network = build(settings.network, settings.chosen).train()
    optimizer = torch.optim.Adam(network.parameters(), settings.adam.learning_rate)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])
    loader = DataLoader(MNIST(str(folder), transform=transform), settings.batch_size, shuffle=True, drop_last=True)
    total = 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        total += step(network, images, labels)
        optimizer.step()


def step(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    loss = F.cross_entropy(network(images), labels)
    loss.backward()
    return loss.item()


def measure(part: train.Part, settings: Train, rounds: int) -> dict[str, Any]:
    """Return the speed of both ways for one network, and the limit."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw = folder / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for kind in ("train", "t10k"):  # torchvision requires both
            sample.write_idx(raw / f"{kind}-images-idx3-ubyte", part.images.numpy())
            sample.write_idx(raw / f"{kind}-labels-idx1-ubyte", part.labels.numpy().astype(np.uint8))
        contestants: dict[str, Callable[[], float]] = {
            "limit": limits.gflops,
            OURS: partial(limits.seconds, partial(ours, part, settings, folder)),
            PLAIN: partial(limits.seconds, partial(plain, folder, settings)),
        }
        medians = measuring.medians(contestants, rounds)
    batch = settings.batch_size
    images, labels = normalise(part.images[:batch]), part.labels[:batch]
    work = limits.operations(partial(step, build(settings.network, settings.chosen), images, labels)) / 2 / batch
    limit = medians.pop("limit")
    count = len(part.images) // batch * batch
    speeds = {name: count / taken for name, taken in medians.items()}
    return {
        "images": count,
        "multiplications_per_image": round(work),
        "limit_gflops": round(limit, 1),
        "limit_images_per_second": round(limit * 1e9 / (2 * work)),
        "images_per_second": {name: round(speed) for name, speed in speeds.items()},
        "fraction_of_limit": {name: round(speed * 2 * work / limit / 1e9, 3) for name, speed in speeds.items()},
        "times_as_fast": round(speeds[OURS] / speeds[PLAIN], 2),
    }


def main(networks: list[str], rounds: int, threads: int) -> dict[str, Any]:
    changes = {"epochs": 1, "device": "cpu", "optimizer": "adam", "augment": False, "threads": threads}
    base = config.load("mnist", Train).model_copy(update=changes)
    torch_setup.deterministic(base.seed, threads)
    whole = train.read(files.require(FEATURES, "featurize@mnist"))
    rows = {}
    for network in networks:
        settings = base.model_copy(update={"network": network})
        chosen = torch.arange(IMAGES[network]) % len(whole.labels)
        part = train.Part(*(values[chosen] for values in whole))
        rows[network] = measure(part, settings, rounds)
        print(network, rows[network], flush=True)
    return {"threads": threads, "networks": rows}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", nargs="+", choices=list(IMAGES), default=list(IMAGES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="torch's threads, for all contestants")


if __name__ == "__main__":
    measuring.run(main, arguments)
