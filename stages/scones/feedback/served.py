"""Read the served pictures for drift, and collect those to label."""

from collections.abc import Sequence

import numpy as np
import torch

from stages.common import config, files
from stages.common.drift import Inputs
from stages.common.vision import known
from stages.engine.aws.captures import Record, bodies
from stages.scones import model
from stages.scones.config import Data, Evaluate
from stages.scones.endpoint import picture
from stages.scones.feedback import captures, labelled, monitor
from stages.scones.feedback import collect as collection
from stages.scones.feedback.properties import Pixels, properties

LEAST = 30
"""Smallest number of pictures for a comparison."""

UNIT = "pictures"

LABELLED = labelled.FOLDER


def classes() -> list[str]:
    """Return the names of the labels."""
    return config.load("data.scones", Data).classes


def collect(texts: Sequence[tuple[str, str]], threshold: float | None) -> int:
    """Collect pictures of captured files (name and text) that are below the threshold or unknown. Return how many are new."""
    if threshold is None:
        threshold = config.load("evaluate.scones", Evaluate).threshold
    pictures, _ = monitor.decoded(captures.read(texts, monitor.class_names()).records)
    return collection.collect(pictures, threshold, monitor.class_names(), LABELLED)


def training() -> Inputs:
    """Return a sample of the training pictures."""
    with np.load(files.require(monitor.FEATURES, "featurize@scones") / "train.npz") as train:
        images = train["images"]
    return measured(_classifier(), images[known.sampled(len(images))])._replace(examples=[])


def inputs(records: Sequence[Record]) -> tuple[Inputs, list[str]]:
    """Return the pictures of the requests, and a line for each that can't be read."""
    classifier = _classifier()
    side = classifier.side
    found, problems = bodies(records, lambda body, kind: picture.squared(picture.read(body, kind), side))
    return measured(classifier, np.stack(found) if found else np.empty((0, side, side, 3), np.uint8)), problems


def _classifier() -> model.Classifier:
    return model.load(files.require(model.TRAINED, "train@scones"))


def measured(classifier: model.Classifier, images: Pixels) -> Inputs:
    """Return the measurements of pictures, uint8 (N, side, side, 3)."""
    with torch.inference_mode():
        parts = [classifier.inspect(part)[1] for part in torch.from_numpy(images).split(model.BATCH)]
    return Inputs(properties(images), torch.cat(parts).numpy(), len(images), list(images))
