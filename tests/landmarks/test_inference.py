"""What the exported predictor's server takes and refuses."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from pictures import saved, turned_by

from stages.landmarks import inference
from stages.serving.comparison import npy

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
CLASSES: list[dict[str, Any]] = [
    {"name": "eiffel_tower", "latitude": 48.8584, "longitude": 2.2945},
    {"name": "own_garden", "latitude": None, "longitude": None},
]
ANSWER = inference.Prediction(CLASSES, torch.tensor([[0.25, 0.75]]), torch.tensor([-0.5]))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (saved(PIXELS, "PNG"), "image/png"),
        (saved(PIXELS, "WEBP", lossless=True), "image/webp"),
        (saved(PIXELS, "BMP"), "image/jpeg"),  # what it is tells the file, not its sender
        (saved(PIXELS, "PNG"), "application/octet-stream"),
        (saved(PIXELS, "PNG"), "application/x-image"),
        (npy(PIXELS[None]), "application/x-npy; charset=binary"),
    ],
)
def test_a_photograph_arrives_pixel_by_pixel(body: bytes, kind: str) -> None:
    images = inference.input_fn(body, kind)
    assert isinstance(images, torch.Tensor)
    assert images.dtype == torch.uint8
    assert torch.equal(images, torch.from_numpy(PIXELS).permute(2, 0, 1)[None])


def test_a_photograph_is_turned_as_its_exif_says() -> None:
    images = inference.input_fn(saved(PIXELS, "PNG", exif=turned_by(6)), "image/png")
    assert isinstance(images, torch.Tensor)
    assert images.shape == (1, 3, 30, 20)


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"", "image/jpeg", "empty|bytes|not"),
        (b"<html>no picture</html>", "image/jpeg", "not"),
        (saved(PIXELS, "JPEG")[:200], "image/jpeg", "."),
        (saved(PIXELS, "PNG"), "text/csv", "'text/csv' is not known"),
        (b"no array", "application/x-npy", "not a .npy file"),
        (npy(np.array([{}], object)), "application/x-npy", "not a .npy file"),  # unpickling it could run code
        (npy(PIXELS), "application/x-npy", r"shape \(20, 30, 3\)"),
        (npy(PIXELS[None, :0]), "application/x-npy", "each at least 1"),
        (npy(PIXELS[None].astype(np.float32)), "application/x-npy", "float32"),
    ],
)
def test_what_is_no_photograph_is_refused_in_words(body: bytes, kind: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        inference.input_fn(body, kind)


def test_the_answer_has_the_best_classes_with_their_places() -> None:
    answer = json.loads(inference.output_fn(ANSWER, "application/json"))
    assert answer["classes"] == ["eiffel_tower", "own_garden"]
    assert answer["probabilities"] == [[0.25, 0.75]]
    assert (answer["known"], answer["familiarity"]) == ([False], [-0.5])
    assert answer["top5"] == [
        [
            {"class": "own_garden", "probability": 0.75, "latitude": None, "longitude": None},
            {"class": "eiffel_tower", "probability": 0.25, "latitude": 48.8584, "longitude": 2.2945},
        ]
    ]
    with pytest.raises(ValueError, match="text/html"):
        inference.output_fn(ANSWER, "text/html")
