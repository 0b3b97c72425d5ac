"""What exports take: every form answers pictures as evaluate does, or refuses what it is given with a sentence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from tiny_exports import MEAN, STD, colours
from torch import Tensor

from stages.common.models import onnx_files, torch_files
from stages.common.vision import pixels
from stages.common.vision.classifiers import Member
from stages.landmarks import export as landmarks
from stages.landmarks.model import Predictor
from stages.mnist import export as mnist
from stages.mnist.model import Classifier, fully_connected
from stages.scones import export as scones
from stages.scones.model import Classifier as Vehicles

PLACES: list[dict[str, object]] = [{"name": name, "latitude": None, "longitude": 1.5} for name in "abc"]


pytestmark = pytest.mark.slow  # torch.export takes seconds for each network


class Exported(NamedTuple):
    network: Any
    forms: dict[str, Callable[[Tensor], Tensor]]
    pictures: Tensor
    floats: Tensor
    """The pictures as torchvision's ToTensor gives them: (N, C, H, W) in [0, 1]."""
    files: Path


def noise(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=["mnist", "scones", "landmarks"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    module: Any
    network: Any
    rest: tuple[Any, ...]
    if request.param == "mnist":
        module, network, rest = mnist, Classifier(fully_connected([8], 0.0, True)).eval(), ()
        pictures = noise(3, 28, 28)
        planes = pictures[:, None]
    elif request.param == "scones":
        members = [Member(colours(), MEAN, STD, 32, 40, True)]
        module, network, rest = scones, Vehicles(members).eval(), (["a", "b", "c"],)
        pictures = noise(3, 32, 32, 3)
        planes = pictures.permute(0, 3, 1, 2)
    else:  # a member that takes a part of the square, enlarged
        module, network = landmarks, Predictor([Member(colours(), MEAN, STD, 30, 32, True)], 40).eval()
        pictures, rest = noise(2, 3, 90, 51), (PLACES,)
        planes = pictures
    with torch.no_grad():
        module.write_torchscript(network, folder / "model.pt", *rest)
        module.write_exported(network, folder / "model.pt2", *rest)
        module.write_onnx(network, folder / "model.onnx", *rest, *([32] if module is scones else []))
    forms: dict[str, Callable[[Tensor], Tensor]] = {
        "model.pt": torch_files.load_torchscript(folder / "model.pt")[0],
        "model.pt2": torch_files.load_exported(folder / "model.pt2")[0],
        "model.onnx": onnx_files.load(folder / "model.onnx")[0],
    }
    return Exported(network, forms, pictures, planes.float() / 255, folder)


FORMS = ["model.pt", "model.pt2", "model.onnx"]


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_each_format_predicts_as_the_network_for_any_number_of_pictures(exported: Exported, form: str) -> None:
    for count in (1, len(exported.pictures)):
        found = exported.forms[form](exported.pictures[:count])
        assert torch.allclose(found, exported.network(exported.pictures[:count]), atol=1e-6)


def test_each_format_contains_the_class_names(exported: Exported) -> None:
    extra = {"class_names": "", "torch": ""}
    torch.export.load(exported.files / "model.pt2", extra_files=extra)
    names = list(exported.forms["model.pt"].class_names)  # type: ignore[attr-defined]
    assert len(names) == exported.network(exported.pictures).shape[1]
    assert json.loads(extra["torch"]) == {"written_by": torch.__version__.partition("+")[0], "read_by": ">=2.9"}
    assert extra["class_names"] == str(names).replace("'", '"')
    assert onnx_files.load(exported.files / "model.onnx")[1] == names


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16])
def test_floats_from_totensor_are_converted_to_the_same_bytes(exported: Exported, kind: torch.dtype) -> None:
    model = exported.forms["model.pt"]
    assert torch.equal(model(exported.floats.to(kind)), model(exported.pictures))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda floats: (floats - 0.45) / 0.225, "values outside"),
        (lambda floats: floats * 255, "values outside"),
        (lambda floats: floats.index_fill(3, torch.tensor([3]), torch.nan), "NaN"),
        (lambda floats: floats * 0.77, "values between the 255ths"),
        (lambda floats: floats * 0 + 1, "a single colour"),
        (lambda floats: floats.bfloat16(), "values of another type"),
    ],
)
def test_other_floats_are_refused_with_a_sentence(
    exported: Exported, change: Callable[[Tensor], Tensor], words: str
) -> None:
    with pytest.raises(torch.jit.Error, match=f"{words}.*: expected uint8 .*ToTensor"):
        exported.forms["model.pt"](change(exported.floats))


TYPE, SIZE = "type", "(?i)another size|shape|rank|dim\\(\\)|dimensions"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda pictures: pictures.long(), TYPE),
        (lambda pictures: pictures > 100, TYPE),
        (lambda pictures: (pictures // 2).to(torch.int8), TYPE),
        (lambda pictures: pictures[0], SIZE),
        (lambda pictures: pictures[None], SIZE),
        (lambda pictures: pictures[:, :2], SIZE),
        (lambda pictures: pictures[:0], "no picture: expected uint8"),
        (lambda images: images.index_fill(0, torch.tensor([1]), 7), "a picture has a single colour.*expected uint8"),
        (lambda pictures: pictures // 128, "a picture has no value above 1: expected uint8"),
    ],
)
def test_each_format_refuses_invalid_pictures(
    exported: Exported, form: str, change: Callable[[Tensor], Tensor], words: str
) -> None:
    with pytest.raises(Exception, match=words):  # each library has errors of its own
        exported.forms[form](change(exported.pictures))


@pytest.mark.parametrize("form", FORMS)
def test_ink_on_paper_is_refused_where_ink_has_to_be_white_on_black(exported: Exported, form: str) -> None:
    model, paper = exported.forms[form], 255 - exported.pictures // 4
    if paper.dim() == 3:  # mnist; the others have colours
        with pytest.raises(Exception, match="a picture has a light ground, as ink on paper: expected uint8"):
            model(torch.cat([exported.pictures, paper]))
    else:
        assert len(model(paper)) == len(paper)


def test_bytes_are_resized_for_onnx_as_torch_resizes_them() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        height, width, tall, wide = torch.randint(1, 300, (4,), generator=generator).tolist()
        picture = torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8, generator=generator)
        expected = torch.nn.functional.interpolate(picture, [tall, wide], mode="bilinear", antialias=True)
        found = pixels._resize_by_matrices(picture, torch.tensor(tall), torch.tensor(wide))
        assert torch.equal(found, expected), (height, width, tall, wide)


def test_onnx_takes_photographs_of_any_size(tmp_path: Path) -> None:
    predictor = Predictor([Member(colours(), MEAN, STD, 40, 32, False)], 40).eval()
    with torch.no_grad():
        landmarks.write_onnx(predictor, tmp_path / "model.onnx", PLACES)
        model, _ = onnx_files.load(tmp_path / "model.onnx")
        for height, width in ((40, 40), (1, 20), (33, 200), (500, 300)):
            picture = noise(1, 3, height, width)
            assert torch.allclose(model(picture), predictor(picture), atol=1e-6)
        with pytest.raises(Exception, match="a side is more than 20 times the other: expected"):
            model(noise(1, 3, 4, 100))
