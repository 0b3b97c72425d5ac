"""A second network, which recognises images of no digit: it decides whether the classifier's answer can be trusted.

Its eleventh class is none of the digits (the background class of https://arxiv.org/abs/1811.04110). It learns that from
images made in code, see `strangers`. It sees other features than the classifier: histograms of oriented gradients (Dalal
and Triggs 2005, https://doi.org/10.1109/CVPR.2005.177). So it rarely makes the classifier's mistakes.
"""

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from stages.common.portable import Computing
from stages.common.vision import known
from stages.mnist.config import Augmentation, Known
from stages.mnist.learning import judging, strangers
from stages.mnist.learning.augmentation import moved
from stages.mnist.model import CLASSES, SIDE, TRAINED, normalise

WEIGHTS, LIMITS = "second.pt", "limits.json"
"""Files of the trained network and of its limits."""

DIRECTIONS, CELL, HIDDEN = 8, 4, 256
"""Directions of a histogram, the side in pixels of the square that it counts, and units of the hidden layer."""

DIGITS, COPIES, MOST = 12_000, 2, 6
"""Largest number of training digits, the number of changed copies of each image then, and the largest number of copies."""

BATCH, RATE, DECAY = 256, 0.004, 0.05

AGREED = 2 * math.log(0.5)
"""Smallest certainty of a digit that is read, whatever the validation images have: each network gives the digit a half."""

ALL = 0.9999
"""Fraction of the digits in MNIST's own form that are answered. Those below `Known.accepted` are only marked as unknown."""

CHANGES = Augmentation(rotation=12, scale=0.12, shear=8, shift=1)
"""Limits of the changes. Digits of pictures are centred, so they are shifted little."""


class Second(nn.Module):
    """Maps images, uint8 (N, 28, 28), to float32 (N, 11): the digits' log-probabilities, and the log-odds of a digit."""

    def __init__(self) -> None:
        super().__init__()
        edges = nn.Conv2d(1, DIRECTIONS, 3, padding=1, bias=False)
        across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
        angles = [2 * math.pi * number / DIRECTIONS for number in range(DIRECTIONS)]
        kernels = [across * math.cos(angle) + across.T * math.sin(angle) for angle in angles]
        edges.weight = nn.Parameter(torch.stack(kernels).unsqueeze(1), requires_grad=False)
        self.histograms = nn.Sequential(edges, nn.ReLU(), nn.AvgPool2d(CELL), nn.Flatten())
        size = DIRECTIONS * (SIDE // CELL) ** 2
        self.layers = nn.Sequential(nn.Linear(size, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, len(CLASSES) + 1))

    def forward(self, images: Tensor) -> Tensor:
        logits = self.layers(self.histograms(normalise(images)))
        digits = logits[:, :1] - logits[:, :-1].log_softmax(1)[:, :1]  # their logsumexp: torch's own uses MKL, too
        odds = digits - logits[:, -1:]
        return torch.cat([logits.log_softmax(1)[:, :-1], odds], 1)


def train(
    images: NDArray[np.uint8], labels: NDArray[np.integer], settings: Known, seed: int, computing: Computing
) -> Second:
    """Return the network, trained on the CPU on training digits, uint8 (N, 28, 28), with ``labels`` (N), and on strangers."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    chosen = np.random.default_rng(seed).permutation(len(images))[:DIGITS]
    none = strangers.made(settings.strangers, images, labels, seed)
    copies = min(COPIES * DIGITS // len(chosen), MOST)
    seen = torch.from_numpy(np.concatenate([images[chosen], none]))
    truths = torch.from_numpy(np.concatenate([labels[chosen], np.full(len(none), len(CLASSES))])).long().repeat(copies)
    network = Second()
    computing.repeat(network)
    with torch.no_grad():
        parts = [
            network.histograms(moved(part, CHANGES, generator, shared=False))
            for _ in range(copies)
            for part in seen.split(512)
        ]
    inputs = torch.cat(parts)
    # Fused: otherwise MKL computes the square roots, which differ by processor.
    optimizer = torch.optim.AdamW(network.layers.parameters(), weight_decay=DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=settings.steps)
    for _ in range(settings.steps):
        batch = torch.randint(len(inputs), (BATCH,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(network.layers(inputs[batch]), truths[batch]).backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def limits(probabilities: known.Floats, opinions: known.Floats, settings: Known) -> dict[str, float]:
    """Return the limits of `judging.odds` and of `judging.certainty` that nearly all validation images reach.

    The certainty's is at least `AGREED`. `least` is the limit of the odds that all reach. ``probabilities`` (N, 10) are the
    classifier's, ``opinions`` (N, 11) the second network's.
    """
    odds = judging.odds(opinions)
    certainty = known.threshold(judging.certainty(probabilities, opinions), settings.certain)
    return {
        "odds": round(known.threshold(odds, settings.accepted), 6),
        "least": round(known.threshold(odds, ALL), 6),
        "certainty": round(max(certainty, AGREED), 6),
    }


def load(computing: Computing | None = None, folder: Path = TRAINED) -> Second:
    """Load the network that train stored in ``folder``, on the CPU. It computes as in the training with ``computing``."""
    network = Second()
    if computing:
        computing.repeat(network)
    network.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True))
    return network.eval()
