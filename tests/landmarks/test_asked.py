"""What a request can ask more of one photograph: several landmarks, and what the answer rests on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_exports
from pictures import Pixels, saved
from PIL import Image, ImageOps

from stages.landmarks import inference
from stages.landmarks.pictures import regions


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> inference.Model:
    folder = tmp_path_factory.mktemp("model")
    tiny_exports.write_landmarks(folder / "model.pt")
    return inference.model_fn(str(folder))


PICTURE = np.random.default_rng(0).integers(0, 255, (40, 80, 3), np.uint8)


def answer(model: inference.Model, option: str, picture: Image.Image | Pixels = PICTURE) -> dict[str, Any]:
    data = inference.input_fn(saved(picture, "PNG"), f"image/png{option}")
    found: dict[str, Any] = json.loads(inference.output_fn(inference.predict_fn(data, model), "application/json"))
    return found


def test_the_evidence_lies_in_what_the_network_sees_and_changes_no_answer(model: inference.Model) -> None:
    plain, more = answer(model, ""), answer(model, "; evidence=true")
    assert np.allclose(plain["probabilities"], more["probabilities"], atol=1e-6)
    assert np.allclose(more["boxes"], [[0.275, 0.05, 0.725, 0.95]])  # the middle 36 of 40 pixels
    cells = np.array(more["evidence"])
    assert cells.shape == (1, inference.CELLS, inference.CELLS)
    assert cells.min() >= 0
    assert cells.max() <= 1
    with pytest.raises(ValueError, match="expected one of them, and one photograph"):
        answer(model, "; several=true; evidence=true")


@pytest.mark.parametrize(("height", "width"), [(1, 1), (40, 80), (300, 300), (100, 2000), (2000, 100)])
def test_squares_cover_a_photograph_and_are_bounded(height: int, width: int) -> None:
    boxes = regions.propose(height, width)
    assert 1 <= len(boxes) <= regions.MOST
    covered = np.zeros((height, width), bool)
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        covered[top:bottom, left:right] = True
    assert covered.all()


def test_of_squares_that_overlap_the_best_known_one_is_kept() -> None:
    boxes = np.array([[5, 0, 15, 10], [0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], np.float64)
    assert regions.keep(boxes, np.array([0.5, 0.9, 0.4, -1])) == [1, 2]


@pytest.mark.slow
def test_landmarks_of_composed_pictures_are_found(pipeline: Path) -> None:
    """Sample drawings side by side, and three in a grid with an empty place; a rare second look is allowed."""
    from stages.common.vision import images
    from stages.landmarks import photographs

    served = inference.model_fn(str(pipeline / "models/landmarks/export"))
    index = photographs.read_index(pipeline / "data/landmarks/raw", "test")
    with photographs.open_archive(pipeline / "data/landmarks/raw", "test") as archive:
        chosen = [Image.fromarray(images.decode(archive.read(index[number].path), 10**6)) for number in (50, 95, 130)]
    squares = [ImageOps.fit(one, (192, 192), Image.Resampling.BICUBIC, centering=(0.5, 0)) for one in chosen]
    for count, places, size in ((2, [(0, 0), (192, 0)], (384, 192)), (3, [(0, 0), (192, 0), (0, 192)], (384, 384))):
        composed = Image.new("RGB", size, (235, 235, 235))
        for square, place in zip(squares, places, strict=False):
            composed.paste(square, place)
        best = {row[0]["class"] for row in answer(served, "; several=true", composed)["top5"]}
        assert {Path(index[number].path).parent.name for number in (50, 95, 130)[:count]} <= best
        assert len(best) <= count + 1
