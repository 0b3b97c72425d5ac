"""scones' own pictures: of any size, format and layout, and of the same square in training and in service."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Change
from pictures import gradient, heic, saved, turned_by
from PIL import Image
from small_photographs import picture

from stages.common import files
from stages.common.errors import InputError
from stages.common.models import bundle
from stages.scones import evaluate, export, featurize, inference, layout, plot, prepare, train
from stages.scones.endpoint.picture import squared
from stages.scones.layout import Entry

RAW, FEATURES = Path("data/scones/raw"), Path("data/scones/features")
CLASSES = ["bicycle", "motorcycle"]
SIX = [*CLASSES, "bus", "pickup_truck", "train", "tractor"]
SIZES = [(90, 60), (60, 90), (36, 40), (200, 70)]
KINDS = ["PNG", "JPEG", "WEBP"]


def fill(folder: Path, parts: list[str], count: int, classes: list[str] = CLASSES) -> None:
    """``count`` pictures in a folder of each class, in turn of three formats and four sizes."""
    number = 0
    for part in parts:
        for name in classes:
            (folder / part / name).mkdir(parents=True)
            for _ in range(count):
                kind, size = KINDS[number % 3], SIZES[number % 4]
                noise = picture(number, 200).resize(size)
                (folder / part / name / f"IMG {number}.{kind.lower()}").write_bytes(saved(noise, kind))
                number += 1


@pytest.fixture
def given(workspace: Path, change: Change) -> Path:
    change({"data.scones.source": "given"})
    return workspace / "given"


def test_folders_of_classes_are_a_source_with_or_without_a_test_set(given: Path, change: Change) -> None:
    fill(given, ["train", "test"], 4)
    prepare.main()
    assert [len(layout.read_list(RAW, part, CLASSES)) for part in layout.PARTS] == [8, 8]
    names = {entry.name: entry.label for entry in layout.read_list(RAW, "train", CLASSES)}
    assert names["bicycle_IMG 0.png"] == 0  # a PNG file keeps its suffix
    assert names["motorcycle_IMG 4.jpeg.png"] == 1
    shutil.rmtree(given)
    fill(given, ["."], 10)
    (given / "bicycle" / "notes.txt").write_text("not a picture")
    change({"data.scones.max_refused": 0.1, "data.scones.classes": CLASSES[::-1]})
    prepare.main()
    entries = {part: layout.read_list(RAW, part, CLASSES[::-1]) for part in layout.PARTS}
    assert {part: sorted(one.label for one in own) for part, own in entries.items()} == {
        "train": [0] * 8 + [1] * 8,
        "test": [0] * 2 + [1] * 2,
    }
    assert all(one.name.startswith(CLASSES[::-1][one.label]) for own in entries.values() for one in own)
    assert (RAW / "refused.csv").read_text().splitlines()[1].startswith('bicycle/notes.txt,"it is not a')
    counts = files.read_json(RAW / "counts.json")
    assert counts == {"found": 21, "train": 16, "test": 4, "tables": 0, "unusable": 1, "copies": 0, "others": 0}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["bicycle", "motorcycle", "van"], "found the classes bicycle, motorcycle, van, expected those of data.scones.classes"),
        (["bicycle", "bus"], "found the classes bicycle, bus, expected .* bicycle, motorcycle"),
        (["train/bicycle", "train/motorcycle", "test/bicycle", "test/motorcycle", "valid/bicycle", "valid/motorcycle"], "a folder for validation"),
        (["train", "test"], "found 0 class folders"),
    ],
)  # fmt: skip
def test_other_classes_and_parts_are_refused(given: Path, names: list[str], words: str) -> None:
    for number, name in enumerate(names):
        (given / name).mkdir(parents=True)
        picture(number, 40).save(given / name / f"{number}.png")
    with pytest.raises(InputError, match=words):
        prepare.main()
    assert not RAW.exists()


def test_two_pictures_that_would_be_stored_under_one_name_are_refused(tmp_path: Path) -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    entries = [(Entry(row, 0, layout.stored(name)), image) for row, name in enumerate(("a.jpg", "a.jpg.png"))]
    with pytest.raises(InputError, match=r"stored as train/a\.jpg\.png"):
        layout.write(tmp_path, "train", entries)


def test_the_square_is_the_middle_reduced_by_means_or_enlarged_and_upright() -> None:
    wide = np.zeros((64, 128, 3), np.uint8)
    wide[:, :32], wide[:, -32:] = 255, 255  # what lies outside the square
    wide[::2, 32:96] = 100
    assert (squared(wide, 32) == 50).all()
    assert squared(wide[:, 32:96], 96).shape == (96, 96, 3)
    same = gradient(40, 40)
    assert squared(same, 40) is same


def test_a_photograph_is_answered_as_it_was_evaluated_whatever_its_format(given: Path, change: Change) -> None:
    """From files in folders to the archive: what prepare stores of a photograph is what the server sees of it."""
    side = 48
    fill(given, ["."], 10, SIX)
    # A telephone's photograph that is stored lying, as EXIF says, and an iPhone's.
    pixels = np.asarray(picture(998, 90).resize((80, 60)))
    lying = saved(np.rot90(pixels).copy(), "JPEG", quality=100, subsampling=0, exif=turned_by(6).tobytes())
    (given / "bicycle" / "lying.jpg").write_bytes(lying)
    (given / "motorcycle" / "IMG_1.HEIC").write_bytes(heic(np.asarray(picture(999, 70))))
    change(
        {
            "data.scones.classes": SIX,
            "data.scones.side": side,
            "data.scones.test_fraction": 0.4,
            "data.scones.max_near_copies": 1,
        }
    )
    tiny = {"image_size": 16, "width": 4, "depth": 1, "dropout": 0.0, "weights": "none"}
    change({"scones.residual": tiny, "scones.epochs": 1, "scones.batch_size": 8})
    for stage in (prepare, featurize, train, evaluate, plot, export):
        stage.main()
    with np.load(FEATURES / "test.npz") as test:
        images, names = test["images"], test["names"].tolist()
    assert images.shape == (24, side, side, 3)
    expected = np.load("reports/scones/evaluation/probabilities.npy")
    assert expected.shape == (24, 6)
    folder = Path("unpacked")
    bundle.unpack(export.EXPORT / "model.tar.gz", folder)
    model = inference.model_fn(str(folder))
    for name, wanted in zip(names, expected, strict=True):
        path = next(one for one in given.glob("*/*") if layout.stored(f"{one.parent.name}_{one.name}") == name)
        found = inference.predict_fn(inference.input_fn(path.read_bytes(), "image/*"), model)[1]
        assert np.abs(found.numpy()[0] - wanted).max() < 1e-5, name
    seen = {name: layout_image(name) for name in ("bicycle_lying.jpg.png", "motorcycle_IMG_1.HEIC.png")}
    upright = squared(pixels, side).astype(int)
    assert np.abs(seen["bicycle_lying.jpg.png"] - upright).mean() < 6
    with pytest.raises(ValueError, match="30 x 40 pixels, expected at least 32"):
        inference.predict_fn(inference.input_fn(saved(gradient(40, 30), "PNG"), "image/*"), model)


def layout_image(name: str) -> np.ndarray:
    (path,) = RAW.rglob(name)
    with Image.open(path) as image:
        return np.asarray(image).astype(int)
