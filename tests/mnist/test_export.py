"""mnist's export: any number of images, the names of the classes, refusals in words, nothing of this repository needed."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from pictures import saved
from PIL import Image
from torch import Tensor

from stages.common.errors import InputError
from stages.common.models import torch_files
from stages.common.vision import bare, images
from stages.mnist import drawing, export, inference
from stages.mnist.ink import ink_areas, ink_contrast, ink_strokes, isolation
from stages.mnist.learning import judging, second
from stages.mnist.model import CLASSES, Classifier, build
from stages.serving import comparison

WRITE = """
import sys, torch
from pathlib import Path
from stages.mnist import export
from stages.mnist.model import Classifier, build
torch.manual_seed(0)
classifier = Classifier(build("cnn", {"width": 4, "depth": 1, "kernel": 3, "dropout": 0.0})).eval()
for name in sys.argv[1:]:
    getattr(export, name)(classifier, Path(name))
"""


@pytest.mark.parametrize(
    "names", [["write_torchscript", "write_onnx"], pytest.param(["write_exported"], marks=pytest.mark.long)]
)
def test_the_same_weights_give_the_same_bytes_in_every_process_and_folder(tmp_path: Path, names: list[str]) -> None:
    contents = []
    for seed in ("1", "2"):
        shutil.copytree(ROOT / "stages", tmp_path / seed / "stages", ignore=shutil.ignore_patterns("__pycache__"))
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / seed), "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", WRITE, *names], cwd=tmp_path / seed, env=environment, check=True)
        contents.append([(tmp_path / seed / name).read_bytes() for name in names])
    assert contents[0] == contents[1]


def test_an_export_with_other_predictions_is_refused() -> None:
    expected = torch.eye(10)[:7] * 0.9 + 0.01
    torch_files.prove("mnist", "model.pt", expected + 1e-7, expected, export.TOLERANCE)
    for answers, words in (
        (expected.roll(1, 1), "7 of 7 test images get another class"),
        (expected + 1e-3, "differ by up to"),
        (expected * torch.nan, "nan"),
    ):
        with pytest.raises(InputError, match=words):
            torch_files.prove("mnist", "model.pt", answers, expected, export.TOLERANCE)


def imported(module: ModuleType) -> set[str]:
    """The packages that a module imports, but for Python's own and for what it takes from this repository where it is there."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {getattr(node, "module", alias.name) for alias in node.names}
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"stages"}


def test_inference_imports_nothing_that_is_not_packed_with_it() -> None:
    assert imported(inference) == {"numpy", "torch", "images", "drawing", "isolation", "ink_areas", "judging"}
    assert imported(judging) == {"numpy"}
    assert imported(images) == {"numpy", "PIL", "bare"}
    assert imported(bare) == set()
    assert imported(drawing) == {"numpy", "PIL"}
    assert imported(isolation) == {"numpy", "scipy", "ink_areas", "ink_contrast", "ink_strokes"}
    assert imported(ink_areas) == {"numpy", "scipy", "ink_strokes"}
    assert imported(ink_strokes) == imported(ink_contrast) == {"numpy", "scipy"}


def one_digit() -> np.ndarray:
    """An eight in MNIST's form: uint8 (28, 28)."""
    digit = np.zeros((28, 28), np.uint8)
    digit[4:24, 9:19] = 255
    digit[6:13, 11:17] = digit[15:22, 11:17] = 0
    return np.asarray(np.minimum(digit, 254))


def as_json(images: object) -> bytes:
    return json.dumps({"images": images}).encode()


@pytest.mark.parametrize(
    ("network", "settings"),
    [
        ("mlp", {"hidden": [8], "dropout": 0.2, "batch_norm": True}),
        ("cnn", {"width": 2, "depth": 1, "kernel": 3, "dropout": 0.2}),
    ],
)
def test_three_kinds_of_request_get_the_same_answer(tmp_path: Path, network: str, settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    classifier = Classifier(build(network, settings)).eval()
    export.write_torchscript(classifier, tmp_path / "model.pt")
    export.write_second(second.Second().eval(), tmp_path / inference.SECOND)
    (tmp_path / inference.LIMITS).write_text('{"odds": -100.0, "least": -100.0, "certainty": -100.0}')
    model = inference.model_fn(str(tmp_path))
    array = one_digit()[None]
    requests = [
        (saved(array[0], "PNG"), "image/png"),
        (comparison.npy(array), "application/x-npy"),
        (as_json(array.tolist()), "application/json; charset=utf-8"),
    ]
    with torch.no_grad():
        expected = classifier(torch.from_numpy(array)).numpy()
    for body, kind in requests:
        answer = inference.predict_fn(inference.input_fn(body, kind), model)
        content = json.loads(inference.output_fn(answer, "application/json"))
        assert content["classes"] == CLASSES
        assert np.allclose(content["probabilities"], expected, atol=1e-6)
        assert content["known"] == [True]
        assert len(content["familiarity"]) == 1
        with pytest.raises(ValueError, match="text/csv"):
            inference.output_fn(answer, "text/csv")


def found(image: Image.Image, kind: str = "image/png") -> np.ndarray:
    """The digits that are found in a picture, uint8 (N, 28, 28)."""
    item = inference.input_fn(saved(image, "PNG"), kind)
    assert isinstance(item, inference.Picture)
    return item.images.numpy()


def transparent(alpha: np.ndarray, colour: int) -> Image.Image:
    return Image.merge("LA", [Image.new("L", alpha.shape[::-1], colour), Image.fromarray(alpha)])


def test_a_picture_in_mnists_form_is_used_unchanged_and_on_another_ground_it_is_the_same() -> None:
    digit = one_digit()
    grey = Image.fromarray(digit)
    for image in (
        grey,
        grey.convert("RGB"),
        grey.convert("RGBA"),
        Image.fromarray(digit.astype(np.uint16) * 257),
        Image.fromarray(digit.astype(np.uint16)),  # 16 bits that hold 0 to 255
        Image.fromarray(255 - digit),
        Image.fromarray(255 - digit).convert("RGB"),
        transparent(digit, 255),
        transparent(digit, 0),
        transparent(digit, 90).convert("RGBA"),
    ):
        for kind in ("image/png", "application/x-image", "application/octet-stream"):
            assert np.array_equal(found(image, kind), digit[None])


def test_in_any_other_picture_the_digit_is_found() -> None:
    large = Image.fromarray(one_digit()).resize((280, 280), Image.Resampling.BICUBIC)
    moved = Image.fromarray(np.roll(one_digit(), (-3, 6), (0, 1)))
    forms = []
    for image in (large, Image.eval(large, lambda tone: 255 - tone), moved, transparent(np.asarray(large), 255)):
        forms.append(found(image)[0].ravel())
    assert np.corrcoef(forms)[0].min() > 0.9


def test_several_digits_are_read_only_on_request() -> None:
    row = Image.fromarray(np.hstack([one_digit(), one_digit()])).resize((560, 280), Image.Resampling.BICUBIC)
    assert found(row, "image/png; several=true").shape == (2, 28, 28)
    with pytest.raises(ink_areas.NoDigitError, match="the picture has 2 digits") as refused:
        found(row)
    assert (refused.value.status_code, refused.value.code) == (422, "no_digit")


@pytest.mark.parametrize(
    ("odds", "converted", "words"),
    [
        (-5.0, True, "looks like none of the digits"),
        (-5.0, False, "looks like none"),
        (-2.0, True, "looks like none"),
        (-2.0, False, None),
        (5.0, True, "most like 3, but"),
        (5.0, False, None),
    ],
)
def test_a_picture_is_refused_if_it_is_unknown_or_uncertain_and_an_array_is_marked(
    odds: float, converted: bool, words: str | None
) -> None:
    """The second network reads a four where the first reads a three. MNIST's own images are marked, too, unless nothing resembles them."""

    def first(images: Tensor) -> Tensor:
        return torch.eye(10)[[3] * len(images)] * 0.9 + 0.01

    def other(images: Tensor) -> Tensor:
        return torch.cat([torch.eye(10)[[4] * len(images)] * 9 - 9, torch.full((len(images), 1), odds)], 1)

    model = inference.Model(first, other, CLASSES, {"odds": 0.0, "least": -3.0, "certainty": -4.0})  # type: ignore[arg-type]
    images = torch.zeros(2, 28, 28, dtype=torch.uint8)
    picture, array = inference.batch_fn([inference.Picture(images, converted), images], model)
    assert isinstance(array, inference.Prediction)
    assert json.loads(inference.output_fn(array, "*/*"))["known"] == [odds > 0] * 2
    if words is None:
        assert isinstance(picture, inference.Prediction)
        return
    assert isinstance(picture, ink_areas.NoDigitError)
    assert words in str(picture)
    assert str(picture).endswith("(number 1 of 2 from the left)")
    with pytest.raises(ink_areas.NoDigitError, match=words):
        inference.predict_fn(inference.Picture(images[:1], converted), model)


def a_png(mode: str, size: tuple[int, int]) -> bytes:
    return saved(Image.new(mode, size), "PNG")


NPY, JSON = "application/x-npy", "application/json"

PAPER = np.full((1, 28, 28), 230, np.uint8)
PAPER[:, 5:22, 13:16] = 30
"""A 1 in black on white."""


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"", "text/csv", "content type 'text/csv' is not known"),
        (b"", "image/png", "the file is empty"),
        (a_png("L", (28, 28))[:50], "image/png", "the PNG file is damaged"),
        (b"<svg/>", "image/svg+xml", "it is not a JPEG, PNG, WEBP, GIF, BMP, AVIF or HEIF file"),
        (a_png("L", (32, 28)), "image/png", "the picture is blank"),
        (a_png("1", (20_000, 20_000)), "image/png", "more than 25,000,000 pixels"),
        (b"", NPY, "not a .npy file"),
        (comparison.npy(PAPER.astype(float)), NPY, "float64: expected one array of uint8"),
        (comparison.npy(PAPER[0]), NPY, r"shape \(28, 28\)"),
        (comparison.npy(PAPER[:0]), NPY, "at least 1"),
        (comparison.npy(PAPER), NPY, "an image has a light background: .*255 - image"),
        (as_json(PAPER.tolist()), JSON, "an image has a light background"),
        (comparison.npy(np.array([{}])), NPY, "not a .npy file of numbers"),
        (b"{", JSON, "not JSON of the form"),
        (b"[1]", JSON, "not JSON of the form"),
        (as_json([[1], [1, 2]]), JSON, "not JSON of the form"),
        (as_json(["a" * 4000, ""]), JSON, "image 0 is not"),
        (as_json([[[1] * 28] * 27]), JSON, "image 0 is not"),
        *((as_json([[[value] * 28] * 28]), JSON, "whole numbers from 0 to 255") for value in ("1", 256, 0.5)),
        (as_json([]), JSON, "at least 1"),
    ],
)
def test_an_unreadable_request_is_refused_with_a_message(body: bytes, kind: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        inference.input_fn(body, kind)


def test_a_served_answer_that_differs_fails_the_stage() -> None:
    expected = np.full((2, 10), 0.05, np.float32)
    expected[:, 4] = 0.55
    archive, answers, labels = Path("model.tar.gz"), expected.astype(float), np.array([4, 5], np.uint8)
    assert comparison.compare(archive, answers, expected, labels)["accuracy"] == 0.5
    for changed, words in (
        (answers[:, ::-1], r"2 of 2 test images get another class .*\(the first is image 0\)"),
        (answers + 2e-4, "differ by up to 0.0002"),
        (answers[:1], "shape"),
    ):
        with pytest.raises(InputError, match=words):
            comparison.compare(archive, changed, expected, labels)
