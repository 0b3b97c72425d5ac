"""Compare mnist's training from memory with the same network's training through a DataLoader with dataset transforms.

    python -m benchmarks.mnist_training [--images 54000] [--rounds 5] [--threads 1] [--json FILE]

Both train the network of params.yaml with its batch size and Adam, on the same images. They take turns, and the medians
over the rounds are compared. Ours is all of `training.fit` except the scoring. The other is torchvision's own `MNIST`
with `ToTensor` and `Normalize`, and the plain loop of its tutorials. Times are for one epoch over the images.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import MNIST

from benchmarks import measuring
from stages.common import config, files
from stages.common.training import loop, torch_setup
from stages.mnist.config import Train
from stages.mnist.model import MEAN, STD, build, normalise
from stages.mnist.sources import sample

FEATURES = Path("data/mnist/features/train.npz")


def new_network(settings: Train) -> nn.Module:
    torch.manual_seed(settings.seed)
    return build(settings.network, getattr(settings, settings.network).model_dump())


def from_memory(images: torch.Tensor, labels: torch.Tensor, settings: Train, folder: Path) -> float:
    """Return the seconds of an epoch in this project's loop, including its checkpoint."""
    network = new_network(settings)
    steps = loop.steps_per_epoch(len(images), settings.batch_size, "mnist")
    checkpoint = folder / "checkpoint.pt"
    checkpoint.unlink(missing_ok=True)

    def batches(generator: torch.Generator) -> loop.Epoch:
        return loop.shuffled(images, labels, settings.batch_size, lambda chosen, _: normalise(chosen), generator)

    begin = time.perf_counter()
    loop.fit(network, batches, steps, lambda _: loop.Scores(0.0, 0.0), settings, checkpoint, "from memory")
    return time.perf_counter() - begin


def through_loader(folder: Path, settings: Train, workers: int) -> float:
    """Return the seconds of an epoch through torchvision's dataset and a DataLoader with ``workers`` processes."""
    network = new_network(settings).train()
    rate = settings.adam.learning_rate
    optimizer = torch.optim.Adam(network.parameters(), rate)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))])
    loader = DataLoader(
        MNIST(str(folder), transform=transform), settings.batch_size, shuffle=True, num_workers=workers, drop_last=True
    )
    begin = time.perf_counter()
    total = 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return time.perf_counter() - begin


def main(images: int, rounds: int, threads: int) -> dict[str, Any]:
    settings = config.load("mnist", Train).model_copy(
        update={"epochs": 1, "device": "cpu", "optimizer": "adam", "augment": False}
    )
    torch_setup.deterministic(settings.seed, threads)
    with np.load(files.require(FEATURES, "featurize@mnist")) as features:
        chosen, labels = features["images"][:images], features["labels"][:images]
    count = len(chosen) // settings.batch_size * settings.batch_size
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw = folder / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for part in ("train", "t10k"):  # torchvision requires both
            sample.write_idx(raw / f"{part}-images-idx3-ubyte", chosen)
            sample.write_idx(raw / f"{part}-labels-idx1-ubyte", labels)
        memory = torch.from_numpy(chosen), torch.from_numpy(labels).long()
        contestants: dict[str, Callable[[], float]] = {
            "from memory": lambda: from_memory(*memory, settings, folder),
            "DataLoader": lambda: through_loader(folder, settings, workers=0),
            "DataLoader, 2 workers": lambda: through_loader(folder, settings, workers=2),
        }
        seconds = measuring.in_turns(contestants, rounds)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ratios = {name: median / medians["from memory"] for name, median in medians.items()}
    print(f"\n{'':24}{'images/s':>10}{'us/step':>11}{'time':>8}")
    for name, median in medians.items():
        step = 1e6 * median / (count / settings.batch_size)
        print(f"{name:24}{count / median:>10.0f}{step:>11.0f}{ratios[name]:>7.1f}x")
    return {"images": count, "threads": threads, "seconds": seconds, "ratios": ratios}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, default=54_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="torch's threads, for all contestants")


if __name__ == "__main__":
    measuring.run(main, arguments)
