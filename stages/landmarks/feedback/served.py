"""Served photographs as what drift is measured in, and those to label."""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from stages.common import files
from stages.common.drift import Inputs
from stages.common.sources import label_table
from stages.common.vision import images, known
from stages.engine.aws import captures
from stages.engine.aws.captures import Record, bodies
from stages.landmarks import inference, model, photographs, prepare
from stages.landmarks.store import Store

LEAST = 30
"""Fewest photographs."""

UNIT = "photographs"

LABELLED = prepare.LABELLED

SURE = 0.8
"""Confidence below which photographs are collected."""

BATCH = 64


def classes() -> list[str]:
    """Return the names of the labels."""
    raw = files.require(prepare.RAW, "prepare@landmarks")
    return [landmark.name for landmark in photographs.read_classes(raw)]


def collect(texts: Sequence[tuple[str, str]], threshold: float | None) -> int:
    """Collect photographs of captured files (name and text) that are below the threshold or unknown. Return how many are new."""
    records = captures.read(texts, lambda one: one).records
    return label_table.add(LABELLED, _doubtful(records, SURE if threshold is None else threshold))


def _doubtful(records: Sequence[Record], threshold: float) -> Iterator[tuple[dict[str, str], bytes]]:
    """Yield the row and the file of each photograph. Answers to several photographs, or to parts of one, are left out."""
    for record in records:
        answer = json.loads(record.answer)
        rows = answer["probabilities"]
        if len(rows) != 1 or "boxes" in answer or not images.is_picture(record.content_type):
            continue
        best, recognised = int(np.argmax(rows[0])), answer["known"][0]
        if rows[0][best] < threshold or not recognised:
            kind = (Image.open(io.BytesIO(record.body)).format or "img").lower()
            name = f"captured-{hashlib.sha256(record.body).hexdigest()[:12]}.{kind}"
            time = record.time.isoformat()
            yield label_table.row(name, answer["classes"][best], rows[0][best], recognised, time), record.body


def training() -> Inputs:
    """Return a sample of the photographs that the model is trained with."""
    store = Store(files.require(prepare.RAW.with_name("features"), "featurize@landmarks"), "train")
    predictor = _predictor()
    parts = torch.from_numpy(known.sampled(len(store))).split(BATCH)
    return _measured(predictor, (store.crops(part.numpy(), predictor.size) for part in parts))._replace(examples=[])


def inputs(records: Sequence[Record]) -> tuple[Inputs, list[str]]:
    """Return the middle of the requests' photographs, as the model gets it, and a line for each that can't be read."""
    predictor = _predictor()
    items, problems = bodies(records, inference.input_fn)
    found = [predictor.squares(item.images if isinstance(item, inference.Asked) else item) for item in items]
    squares = torch.cat([torch.empty((0, 3, predictor.size, predictor.size), dtype=torch.uint8), *found])
    return _measured(predictor, squares.split(BATCH)), problems


def _predictor() -> model.Predictor:
    return model.load(files.require(model.TRAINED, "train@landmarks"))


def _measured(predictor: model.Predictor, batches: Iterable[torch.Tensor]) -> Inputs:
    """Return what is measured of squares in ``batches``, uint8 (n, 3, size, size)."""
    found, embedding, examples = [], [], list[NDArray[np.uint8]]()
    for squares in batches:
        with torch.inference_mode():
            embedding.append(predictor.inspect(squares)[1].numpy())
        pixels = squares.permute(0, 2, 3, 1).numpy()
        found.append(np.column_stack([pixels.mean((1, 2)), pixels.mean(3).std((1, 2))]))
        examples += list(pixels)
    names = ("red", "green", "blue", "contrast")
    features = dict(zip(names, np.concatenate(found).T, strict=True))
    return Inputs(features, np.concatenate(embedding), len(examples), examples)
