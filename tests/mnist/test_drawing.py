"""mnist's drawings: a picture of any size becomes a digit as MNIST has them, and the network that learned those reads it."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Change
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from strokes import STROKES

from stages.common import files
from stages.mnist import drawing, evaluate, featurize, inference, model, prepare, train
from stages.mnist.sources import sample

Bytes = NDArray[np.uint8]

PENS = range(8, 29, 4)
"""Widths in pixels, of digits that are 180 pixels high."""


def drawn(digit: int, pen: int, slant: float = 0.0, size: int = 180) -> Bytes:
    """A digit in black on white, uint8 (280, 280), as a browser's canvas has it: round pen, smooth edges."""
    canvas = Image.new("L", (560, 560), 255)
    draw = ImageDraw.Draw(canvas)
    for line in STROKES[digit]:
        points = [(280 + 2 * size * (x - 0.5 + slant * (0.5 - y)), 280 + 2 * size * (y - 0.5)) for x, y in line]
        draw.line(points, fill=0, width=2 * pen, joint="curve")
        for x, y in points:
            draw.ellipse([x - pen, y - pen, x + pen, y + pen], fill=0)
    return np.asarray(canvas.resize((280, 280), Image.Resampling.BOX))


def canvas(height: int, width: int, ground: int = 255) -> Bytes:
    return np.full((height, width), ground, np.uint8)


def centre(digit: Bytes) -> list[float]:
    """Row and column of the centre of mass."""
    mass = digit.astype(float)
    return [float(np.arange(28) @ mass.sum(axis) / mass.sum()) for axis in (1, 0)]


def box(digit: NDArray[Any]) -> tuple[int, int]:
    """Height and width of what has ink."""
    rows, columns = np.flatnonzero(digit.any(1)), np.flatnonzero(digit.any(0))
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


@pytest.mark.parametrize("digit", range(10))
def test_a_drawing_fills_the_box_and_its_mass_is_in_the_middle(digit: int) -> None:
    for pen in (*PENS, 60):
        found = drawing.centred(drawn(digit, pen))
        assert found.shape == (28, 28)
        assert found.dtype == np.uint8
        assert found.max() == 255
        assert max(box(found)) == 20
        assert np.abs(np.array(centre(found)) - 14).max() <= 0.51  # of a pixel; its values are whole numbers
        height, width = box(drawn(digit, pen) < 128)
        assert box(found) == pytest.approx((20 * height / max(height, width), 20 * width / max(height, width)), abs=1)


@pytest.mark.parametrize("digit", range(10))
def test_neither_place_nor_colours_matter(digit: int) -> None:
    picture = drawn(digit, 16, size=140)
    found = drawing.centred(picture)
    assert np.array_equal(drawing.centred(np.roll(picture, (-40, 30), (0, 1))), found)
    assert np.array_equal(drawing.centred(np.pad(picture, ((0, 300), (70, 0)), constant_values=255)), found)
    assert np.array_equal(drawing.centred(255 - picture), found)
    pencil_on_grey = 110 + (picture * (90 / 255)).round().astype(np.uint8)
    assert np.abs(drawing.centred(pencil_on_grey).astype(int) - found).max() <= 4


def test_a_digit_of_mnist_enlarged_comes_back(tmp_path: Path) -> None:
    sample.write(tmp_path)
    digits, _ = prepare.read_part(tmp_path, "t10k")
    correlations = []
    for digit in digits[:100]:
        large = np.asarray(Image.fromarray(digit).resize((280, 280), Image.Resampling.BICUBIC))
        moved = [round(14 - middle) for middle in centre(digit)]
        expected = np.roll(digit, moved, (0, 1)).astype(float)
        correlations.append(np.corrcoef(drawing.centred(large).ravel(), expected.ravel())[0, 1])
    assert np.median(correlations) > 0.95
    assert np.quantile(correlations, 0.1) > 0.8  # a thin line that moves by a pixel hardly meets itself


def test_the_least_that_can_be_drawn_stays_visible() -> None:
    dot, line, slant, edge = canvas(1000, 1000), canvas(1000, 1000), canvas(1000, 1000), canvas(300, 200)
    dot[3, 999] = 0
    line[100:900, 500] = 0
    slant[range(100, 900), range(100, 900)] = 0
    edge[:, :30] = 0
    assert box(drawing.centred(dot)) == (20, 20)
    assert box(drawing.centred(line)) == (20, 1)
    assert drawing.centred(line).max() == 255
    assert (drawing.centred(slant) > 127).sum() >= 20
    assert box(drawing.centred(edge)) == (20, 2)
    assert box(drawing.centred(np.array([[0] * 7 + [200] + [0] * 7], np.uint8).repeat(9, 0))) == (20, 2)


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (300, 200)])
def test_a_blank_picture_is_refused_in_words(size: tuple[int, int]) -> None:
    paper = np.random.default_rng(0).integers(240, 251, size, dtype=np.uint8)
    for picture in (canvas(*size), canvas(*size, 0), canvas(*size, 127), paper):
        with pytest.raises(
            ValueError, match="^the picture is blank: expected a digit that contrasts with its background$"
        ):
            drawing.centred(picture)


def as_request(picture: Bytes, kind: str) -> torch.Tensor:
    buffer = io.BytesIO()
    Image.fromarray(picture).convert("RGB").save(buffer, kind)
    return inference.input_fn(buffer.getvalue(), f"image/{kind.lower()}")


def assert_reads_drawings(classifier: model.Classifier) -> None:
    """Nine of ten drawings are right, with every pen."""
    right = {}
    for pen in PENS:
        requests = [as_request(drawn(digit, pen, slant), "PNG") for slant in (-0.1, 0.0, 0.1) for digit in range(10)]
        answers = model.predict(classifier, torch.cat(requests)).argmax(1).numpy()
        right[pen] = int((answers == np.tile(np.arange(10), 3)).sum())
    assert min(right.values()) >= 27, f"right of 30, by width of the pen: {right}"


def test_the_default_network_reads_the_sample_s_test_digits_and_what_is_drawn(workspace: Path) -> None:
    for stage in (prepare, featurize, train, evaluate):
        stage.main()
    assert files.read_json(Path("reports/mnist/metrics.json"))["accuracy"] >= 0.94
    assert_reads_drawings(model.load())


def test_a_network_that_learned_mnist_reads_what_is_drawn(workspace: Path, real_data: Path, change: Change) -> None:
    change({"data.mnist.source": str(real_data), "mnist.epochs": 2, "mnist.augment": False})
    prepare.main()
    featurize.main()
    train.main()
    classifier = model.load()
    with np.load(featurize.FEATURES / "test.npz") as test:
        digits, labels = test["images"][:2000], test["labels"][:2000]

    assert_reads_drawings(classifier)

    large = [Image.fromarray(255 - digit).resize((140, 140), Image.Resampling.BICUBIC) for digit in digits]
    requests = [as_request(np.asarray(picture), "JPEG") for picture in large]
    found, plain = (
        float((model.predict(classifier, images).argmax(1).numpy() == labels).mean())
        for images in (torch.cat(requests), torch.from_numpy(digits))
    )
    assert found > plain - 0.01
