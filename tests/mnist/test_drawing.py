"""mnist's drawings: a picture of any size becomes a digit as MNIST has them, and the network that learned those reads it."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Change
from numpy.typing import NDArray
from pictures import saved
from PIL import Image, ImageDraw
from scipy import ndimage
from strokes import STROKES

from stages.mnist import drawing, featurize, inference, model, prepare, train
from stages.mnist.ink import ink_areas, isolation
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


def paper(height: int, width: int) -> Bytes:
    return np.full((height, width), 255, np.uint8)


def box(digit: NDArray[Any]) -> tuple[int, int]:
    """Height and width of what has ink."""
    rows, columns = np.flatnonzero(digit.any(1)), np.flatnonzero(digit.any(0))
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def rgba(grey: Bytes) -> Bytes:
    return np.dstack([grey, grey, grey, np.full_like(grey, 255)])


def found(grey: Bytes) -> Bytes:
    """The one digit that is found in a picture, in MNIST's form."""
    (ink,) = isolation.inks(rgba(grey))
    return drawing.centred(ink)


@pytest.mark.parametrize("digit", range(10))
def test_a_drawing_fills_the_box_and_its_mass_is_in_the_middle(digit: int) -> None:
    for pen in PENS:
        form = found(drawn(digit, pen))
        assert form.shape == (28, 28)
        assert form.dtype == np.uint8
        assert form.max() == 255
        assert max(box(form)) == 20
        assert (
            np.abs(np.subtract(ndimage.center_of_mass(form), 14)).max() <= 0.51
        )  # of a pixel; its values are whole numbers
        height, width = box(drawn(digit, pen) < 128)
        assert box(form) == pytest.approx((20 * height / max(height, width), 20 * width / max(height, width)), abs=1)


def alike(one: Bytes, other: Bytes) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


@pytest.mark.parametrize("digit", range(10))
def test_position_and_colours_do_not_matter(digit: int) -> None:
    picture = drawn(digit, 16, size=140)
    form = found(picture)
    moved, wider = np.roll(picture, (-40, 30), (0, 1)), np.pad(picture, ((0, 40), (30, 0)), constant_values=255)
    pencil_on_grey = 110 + (picture * (90 / 255)).round().astype(np.uint8)
    for other in (moved, wider, 255 - picture, pencil_on_grey):
        assert alike(found(other), form) > 0.99


def test_several_digits_are_read_from_left_to_right() -> None:
    digits = [drawn(digit, 16) for digit in (4, 0, 7, 2)]
    inks = isolation.inks(rgba(np.hstack([digit[:, 30:250] for digit in digits])))
    for ink, digit in zip(inks, digits, strict=True):
        assert alike(drawing.centred(ink), found(digit)) > 0.95


@pytest.mark.parametrize(
    ("digits", "marks"),
    [
        ((3,), [(135, 30, 12, 50)]),
        ((3, 4), [(135, 30, 12, 50)]),
        ((3, 4), [(215, 331, 20, 20)]),
        ((3, 4), [(135, 320, 12, 40)]),
        ((3, 4), [(134, 20, 12, 90), (95, 59, 90, 12)]),
    ],
    ids=["-3", "-34", "3.4", "3-4", "+34"],
)
def test_a_mark_that_changes_the_number_is_not_left_out(
    digits: tuple[int, ...], marks: list[tuple[int, int, int, int]]
) -> None:
    number = np.hstack([paper(280, 60), *(drawn(digit, 10) for digit in digits)])
    assert len(isolation.inks(rgba(number))) == len(digits)
    for row, column, height, width in marks:
        number[row : row + height, column : column + width] = 0
    with pytest.raises(ink_areas.NoDigitError):
        isolation.inks(rgba(number))


def beside(digits: int, grey: int, height: int) -> Bytes:
    """A seven of a grey and a height in pixels beside ``digits`` black twos, which are 180 pixels high."""
    picture = np.hstack([*[drawn(2, 14)[:, 50:230]] * digits, paper(280, 220)])
    seven = np.asarray(Image.fromarray(drawn(7, 14)[50:230, 50:230]).resize((height, height)))
    picture[50 : 50 + height, -200 : height - 200] = 255 - (255 - seven) * ((255 - grey) / 255)
    return picture


def cut_off(columns: int) -> Bytes:
    """A two and a seven, of which the picture's edge cuts off ``columns`` of pixels."""
    both = np.hstack([drawn(digit, 14)[:, 30:250] for digit in (2, 7)])
    return both[:, : int(np.flatnonzero((both < 128).any(0))[-1]) + 1 - columns]


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (lambda: beside(1, 160, 180), "more ink beside the digits"),
        (lambda: beside(1, 205, 180), "more ink beside the digits"),
        (lambda: beside(1, 0, 60), "more ink beside the digits"),
        (lambda: beside(1, 205, 60), "more ink beside the digits"),
        (lambda: beside(8, 0, 60), "more ink beside the digits"),
        (lambda: cut_off(0), "more ink beside the digits"),
        (lambda: cut_off(20), "more ink beside the digits"),
        (lambda: np.vstack([np.hstack([drawn(digit, 16) for digit in row]) for row in ((0, 1, 2), (3, 4, 5))]), "digits in several lines"),
        (lambda: np.hstack([drawn(3, 16)] * 33)[::4, ::4], "more than 32 digits"),
    ],
    ids=["faint", "fainter", "small", "faint and small", "small beside many", "at the edge", "cut off", "lines", "many"],
)  # fmt: skip
def test_no_digit_is_left_out(picture: Callable[[], Bytes], words: str) -> None:
    with pytest.raises(ink_areas.NoDigitError, match=words):
        isolation.inks(rgba(picture()))


def test_surroundings_of_a_digit_are_ignored() -> None:
    """A desk, a window's bar, a frame, rulings and falling light: the digit is the same as without them."""
    picture = drawn(3, 14)
    form = found(picture)
    ruled, framed, light = picture.copy(), picture.copy(), np.linspace(0.7, 1, 280)
    ruled[8::30] = np.minimum(ruled[8::30], 110)
    framed[[10, 11, 12, 268, 269, 270], 10:271] = framed[10:271, [10, 11, 12, 268, 269, 270]] = 0
    surroundings = {
        "desk": np.pad(picture, 50, constant_values=60),
        "bar": np.pad(picture, ((30, 0), (0, 0)), constant_values=40),
        "rulings": ruled,
        "frame": framed,
        "light": (picture * light).round().astype(np.uint8),
    }
    likeness = {name: alike(found(one), form) for name, one in surroundings.items()}
    assert min(likeness.values()) > 0.9, likeness


def test_an_enlarged_mnist_digit_is_restored(tmp_path: Path) -> None:
    sample.write(tmp_path)
    digits, _ = prepare.read_part(tmp_path, "t10k")
    correlations = []
    for digit in digits[:100]:
        large = np.asarray(Image.fromarray(digit).resize((280, 280), Image.Resampling.BICUBIC))
        moved = [round(14 - middle) for middle in ndimage.center_of_mass(digit)]
        with suppress(ink_areas.NoDigitError):
            correlations.append(alike(found(large), np.roll(digit, moved, (0, 1))))
    assert len(correlations) >= 97
    assert np.median(correlations) > 0.95
    assert np.quantile(correlations, 0.1) > 0.8  # a thin line that moves by a pixel hardly meets itself


def test_a_thin_line_stays_visible_and_a_dot_is_no_digit() -> None:
    dot, line, slant = paper(300, 300), paper(300, 300), paper(300, 300)
    dot[3, 29] = 0
    line[30:270, 150] = 0
    slant[range(30, 270), range(30, 270)] = 0
    assert box(found(line))[0] == 20
    assert found(line).max() == 255
    assert (found(slant) > 127).sum() >= 20
    with pytest.raises(ink_areas.NoDigitError):
        found(dot)


@pytest.mark.parametrize("ground", [0, 255])
def test_a_form_that_is_not_a_digit_is_refused_with_the_reason(ground: int) -> None:
    """A line that is drawn from left to right is first a dot."""
    for length, words in ((1, "no single digit"), (60, "the drawing is too wide"), (120, "the drawing is too wide")):
        picture = Image.new("L", (280, 280), ground)
        ImageDraw.Draw(picture).rounded_rectangle([40, 130, 60 + length, 150], 10, 255 - ground)
        with pytest.raises(ink_areas.NoDigitError, match=f"^{words}"):
            found(np.asarray(picture))


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (300, 200)])
def test_a_blank_picture_is_refused_with_a_message(size: tuple[int, int]) -> None:
    with pytest.raises(ink_areas.NoDigitError):
        found(np.random.default_rng(0).integers(240, 251, size, dtype=np.uint8))
    for tone in (255, 0, 127):
        with pytest.raises(ink_areas.NoDigitError, match="^the picture is blank: expected a digit that contrasts"):
            found(np.full(size, tone, np.uint8))


def as_request(picture: Bytes, kind: str) -> torch.Tensor:
    item = inference.input_fn(saved(Image.fromarray(picture).convert("RGB"), kind), f"image/{kind.lower()}")
    assert isinstance(item, inference.Picture)
    return item.images


def assert_reads_drawings(classifier: model.Classifier) -> None:
    """Nine of ten drawings are right, with every pen."""
    right = {}
    for pen in PENS:
        requests = [as_request(drawn(digit, pen, slant), "PNG") for slant in (-0.1, 0.0, 0.1) for digit in range(10)]
        answers = model.predict(classifier, torch.cat(requests)).argmax(1).numpy()
        right[pen] = int((answers == np.tile(np.arange(10), 3)).sum())
    assert min(right.values()) >= 27, f"right of 30, by width of the pen: {right}"


def test_the_default_network_reads_the_sample_s_test_digits_and_drawings(
    pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pipeline)
    assert_reads_drawings(model.load())


@pytest.mark.long
def test_a_network_trained_on_mnist_reads_drawings(workspace: Path, real_data: Path, change: Change) -> None:
    change({"data.mnist.source": str(real_data), "mnist.epochs": 2, "mnist.augment": False, "mnist.known.steps": 10})
    prepare.main()
    featurize.main()
    train.main()
    classifier = model.load()
    with np.load(featurize.FEATURES / "test.npz") as test:
        digits, labels = test["images"][:2000], test["labels"][:2000]

    assert_reads_drawings(classifier)

    answered, requests = [], []
    for index, digit in enumerate(digits):
        picture = Image.fromarray(255 - digit).resize((140, 140), Image.Resampling.BICUBIC)
        with suppress(ink_areas.NoDigitError):
            requests.append(as_request(np.asarray(picture), "JPEG"))
            answered.append(index)
    assert len(answered) >= 0.97 * len(digits)
    found, plain = (
        float((model.predict(classifier, images).argmax(1).numpy() == labels[answered]).mean())
        for images in (torch.cat(requests), torch.from_numpy(digits[answered]))
    )
    assert found > plain - 0.01
