"""Read the served digits for drift: their ink, and the network's features of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from stages.common import files
from stages.common.drift import Inputs
from stages.common.vision import known
from stages.engine.aws.captures import Record, bodies
from stages.mnist import inference, model

FEATURES = Path("data/mnist/features")

LEAST = 30
"""Fewest digits."""

UNIT = "digits"


def training() -> Inputs:
    """Return a sample of the training digits."""
    with np.load(files.require(FEATURES, "featurize@mnist") / "train.npz") as train:
        images = train["images"]
    return measured(images[known.sampled(len(images))])._replace(examples=[])


def inputs(records: Sequence[Record]) -> tuple[Inputs, list[str]]:
    """Return the digits of the requests in MNIST's form, as the model gets them, and a line for each that can't be read."""
    items, problems = bodies(records, inference.input_fn)
    found = [(item.images if isinstance(item, inference.Picture) else item).numpy() for item in items]
    return measured(np.concatenate([np.empty((0, inference.SIDE, inference.SIDE), np.uint8), *found])), problems


def measured(images: np.ndarray) -> Inputs:
    """Return the measurements of digits, uint8 (N, 28, 28)."""
    classifier = model.load(files.require(model.TRAINED, "train@mnist"))
    with torch.inference_mode():
        features = classifier.features(torch.from_numpy(images)).numpy()
    pixels = images.astype(np.float64)
    ink = {"ink, mean of the pixels": pixels.mean((1, 2)), "contrast, deviation of the pixels": pixels.std((1, 2))}
    return Inputs(ink, features, len(images), list(images))
