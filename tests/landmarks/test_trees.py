"""Folders as people have them: parts under other names, validation splits, copies, Unicode forms, and that the counts add up."""

import csv
import io
import json
import shutil
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from stages.common import config
from stages.common.errors import InputError
from stages.landmarks import featurize, photographs, prepare
from stages.landmarks.config import Data
from stages.landmarks.sources.intake import inspection
from stages.landmarks.sources.intake.inspection import Inspected

RAW, FEATURES = Path("data/landmarks/raw"), Path("data/landmarks/features")


def picture(number: int, side: int = 24) -> Image.Image:
    """Coarse noise, another one for each number, which stays alike when it is saved again or resized."""
    noise = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)


@pytest.fixture
def given(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The source, an empty folder. Photographs are read in this process, which is faster for so few."""

    def in_this_process(paths: Sequence[Path], max_pixels: int) -> list[Inspected | str]:
        return [inspection.inspect(path, max_pixels) for path in paths]

    monkeypatch.setattr(prepare, "inspect_all", in_this_process)
    configure()
    (workspace / "given").mkdir()
    return workspace / "given"


def configure(**photographs: float) -> None:
    parameters = yaml.safe_load(Path("params.yaml").read_text())
    parameters["data"]["landmarks"]["source"] = "given"
    parameters["data"]["landmarks"]["photographs"] |= {"max_refused": 1, **photographs}
    Path("params.yaml").write_text(yaml.safe_dump(parameters))


def fill(folder: Path, first: int, count: int = 4) -> None:
    folder.mkdir(parents=True)
    for number in range(first, first + count):
        picture(number).save(folder / f"{number:03}.png")


def parts(given: Path, *names: str, classes: Sequence[str] = ("bridge", "tower")) -> None:
    for number, part in enumerate(names):
        for label, name in enumerate(classes):
            fill(given / part / name, 100 * number + 10 * label)


def rows(name: str) -> list[dict[str, str]]:
    with (RAW / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def error() -> str:
    with pytest.raises(InputError) as caught:
        prepare.main()
    assert not RAW.exists()
    return str(caught.value)


@pytest.mark.parametrize("name", ["valid", "val", "validation", "dev"])
def test_a_validation_folder_is_the_validation_split(given: Path, name: str) -> None:
    parts(given, "train", name, "test")
    shutil.copy(given / "train/tower/010.png", given / name / "tower/copy.png")
    prepare.main()
    assert sorted(path.name for path in RAW.glob("*.zip")) == ["test.zip", "train.zip", "valid.zip"]
    found = featurize.split(config.load("data.landmarks", Data))
    assert {part: [one.path for one in chosen] for part, chosen in found.items()} == {
        "train": ["bridge/000.png", "bridge/001.png", "bridge/002.png", "bridge/003.png", "tower/011.png", "tower/012.png", "tower/013.png"],
        "valid": [f"{where}.png" for where in ("bridge/100", "bridge/101", "bridge/102", "bridge/103", "tower/110", "tower/111", "tower/112", "tower/113", "tower/copy")],
        "test": [f"{where}.png" for where in ("bridge/200", "bridge/201", "bridge/202", "bridge/203", "tower/210", "tower/211", "tower/212", "tower/213")],
    }  # fmt: skip
    assert rows("refused.csv") == [{"path": "train/tower/010.png", "reason": f"same picture as {name}/tower/copy.png"}]
    featurize.main()
    assert len(list(featurize.FEATURES.glob("valid-*.tar"))) == 1


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["Train", "Test"], "'Test' (expected test), 'Train' (expected train)"),
        (["train", "TEST"], "a folder train, 'TEST' (expected test), expected train and test"),
        (["training", "validation"], "validation, 'training' (expected train) but no folder test"),
        (["train_set", "test_set"], "'test_set' (expected test), 'train_set' (expected train)"),
        (["train ", "test "], "'test ' (expected test), 'train ' (expected train)"),
        (["train", "val"], "a folder train, val but no folder test"),
        (["dev", "test"], "a folder dev, test but no folder train"),
        (["train", "test", "Val"], "the folder 'Val' beside train and test"),
        (["train", "test", "holdout"], "the folder 'holdout' beside train and test"),
        (["train", "test", "val", "dev"], "the folders val and dev, expected one validation split"),
    ],
)
def test_parts_under_other_names_are_an_error_that_names_them(given: Path, names: list[str], words: str) -> None:
    parts(given, *names)
    assert words in error()


def test_classes_may_have_such_names_and_other_folders_beside_the_parts_are_listed(given: Path) -> None:
    parts(given, "train", "test", classes=["Dev", "tower"])
    fill(given / "sketches", 500, 2)
    prepare.main()
    assert [place.name for place in photographs.read_classes(RAW)] == ["Dev", "tower"]
    assert [row["path"] for row in rows("refused.csv")] == ["sketches/500.png", "sketches/501.png"]


@pytest.mark.parametrize("around", ["dataset", "dataset/images/2024"])
def test_folders_around_the_parts_are_seen_through(given: Path, around: str) -> None:
    parts(given / around, "train", "test")
    (given / "places.csv").write_text("class,latitude,longitude\ntower,1,2\n")
    prepare.main()
    assert len(rows("images.csv")) == 16
    assert photographs.read_classes(RAW)[1] == ("tower", 1.0, 2.0, "places.csv")
    assert rows("refused.csv") == []


def test_class_names_are_compared_after_unicode_normalisation(given: Path) -> None:
    for part, form in (("train", "NFC"), ("test", "NFD")):
        parts(given, part, classes=[unicodedata.normalize(form, name) for name in ("Château", "Kölner Dom")])  # type: ignore[arg-type]
        if part == "train":
            shutil.move(given / "train", given / "later")
    shutil.move(given / "later", given / "train")
    for number, path in enumerate(sorted((given / "test").rglob("*.png"))):
        picture(900 + number).save(path)
    places = unicodedata.normalize("NFD", "class,latitude,longitude\nChâteau,1,2\n")
    (given / "places.csv").write_text(places)
    prepare.main()
    classes = photographs.read_classes(RAW)
    assert [place.name for place in classes] == ["Château", "Kölner Dom"]
    assert classes[0].latitude == 1
    assert {one.path.split("/")[0] for one in photographs.read_index(RAW, "test")} == {"Château", "Kölner Dom"}
    fill(given / "train" / unicodedata.normalize("NFD", "Château"), 500)
    shutil.rmtree(RAW)
    assert "found two folders Château, whose names differ only in their Unicode form" in error()


def copied(path: Path, target: str, **saved: object) -> None:
    with Image.open(path) as image:
        image.save(path.with_name(target), **saved)  # type: ignore[arg-type]


def test_copies_are_one_picture_whatever_their_format_and_metadata(given: Path) -> None:
    """A tree in which each picture is there five times: its test set has as many different pictures as without the copies."""
    fill(given / "bridge", 0, 10)
    fill(given / "tower", 50, 10)
    exif = Image.Exif()
    exif[0x010E] = "holiday"
    for path in sorted(given.rglob("*.png")):
        shutil.copy(path, path.with_name(f"{path.stem} (1).png"))
        copied(path, f"{path.stem}.bmp")
        copied(path, f"{path.stem}.webp", lossless=True)
        copied(path, f"{path.stem}_exif.png", exif=exif, compress_level=0)
    prepare.main()
    assert Counter((row["split"], row["label"]) for row in rows("images.csv")) == {
        ("train", "0"): 8, ("test", "0"): 2, ("train", "1"): 8, ("test", "1"): 2
    }  # fmt: skip
    assert len({row["sha256"] for row in rows("images.csv")}) == 20
    assert len(rows("refused.csv")) == 80


@pytest.mark.parametrize("change", ["saved again", "resized"])
def test_near_copies_across_train_and_test_are_reported_with_their_share_and_limited(
    given: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    parts(given, "train", "test")
    with Image.open(given / "train/tower/011.png") as image:
        again = image if change == "saved again" else image.resize((60, 60))
        again.convert("RGB").save(given / "test/tower/like.jpg", quality=80)
    assert "1 of 9 pictures for test (11.1%) look like one of an earlier part" in error()
    assert "test/tower/like.jpg is like train/tower/011.png" in capsys.readouterr().err
    configure(max_near_copies=0.2)
    prepare.main()
    assert [(row["file"], row["near"]) for row in rows("near_copies.csv")] == [
        ("test/tower/like.jpg", "train/tower/011.png")
    ]
    assert "warning: 1 of 9 pictures for test (11.1%) are near copies" in capsys.readouterr().out


def test_near_copies_of_training_pictures_in_the_validation_split_are_limited(given: Path) -> None:
    """featurize makes that split: pictures of one series get into both."""
    parts(given, "train", "test")
    for number in range(12):
        picture(10, 60 + number).save(given / f"train/tower/series-{number}.png")
    prepare.main()
    assert not (RAW / "near_copies.csv").exists()
    with pytest.raises(
        InputError, match=r"images\.csv: found near copies .* pictures for validation .*max_near_copies"
    ):
        featurize.main()
    assert not FEATURES.exists()
    configure(max_near_copies=1)
    featurize.main()
    with (FEATURES / "near_copies.csv").open(newline="") as file:
        assert {row["file"].rpartition("-")[0] for row in csv.DictReader(file)} == {"train/tower/series"}


ODD = [
    ".DS_Store", ".git/objects/ab/cd", "Icon\r", "__MACOSX/train/._tower", "Thumbs.db", "notes.txt", "{c}/.hidden.png", "{c}/Thumbs.db",
    "{c}/thumbs.DB", "{c}/desktop.ini", "{c}/@eaDir/x/a.png", "{c}/anna/deep/a.png", "{c}/empty.jpg", "{c}/text.png", "{c}/page.html",
    "{c}/._000.png", "{c}/line\nbreak\r.png", "train/stray.png", "extra.zip", "$RECYCLE.BIN/x.png", "{c}/caf\udce9.png", "places.csv.bak",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_what_is_used_and_what_is_left_out_is_each_file_once(
    given: Path, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    """Trees with a random choice of what people's folders hold: every file is in images.csv or, with its reason, in refused.csv."""
    random = np.random.default_rng(seed)
    root = given / "wrapped" if seed % 3 == 2 else given
    if seed % 2:
        parts(root, "train", "test")
        folder = "train/tower"
    else:
        fill(root / "bridge", 0, 8)
        fill(root / "tower", 10, 8)
        folder = "tower"
    for name in random.permutation(ODD)[: random.integers(8, len(ODD) + 1)].tolist():
        path = root / name.replace("{c}", folder)
        if name.startswith("train/") and not seed % 2:  # one tree
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if "empty" in name else b"<html>" + name.encode(errors="surrogateescape"))
    first = sorted((root / folder).glob("0*.png"))[0]
    shutil.copy(first, first.with_name("copy.png"))
    copied(first, "copy.bmp")
    (first.parent / "dead.png").symlink_to("nowhere")
    (first.parent / "linked").symlink_to("../bridge")
    (root / "places.csv").write_text("class,latitude,longitude\n")
    prepare.main()
    found = [path for path in given.rglob("*") if path.is_symlink() or path.is_file()]
    used, left_out = rows("images.csv"), rows("refused.csv")
    assert len(used) + len(left_out) + 1 == len(found)  # and the table of places
    assert len({row["path"] for row in left_out}) == len(left_out)
    assert all(row["reason"] for row in left_out)
    counts = json.loads((RAW / "counts.json").read_text())
    assert counts.pop("found") == sum(counts.values()) == len(found)
    assert counts["train"] + counts["test"] == len(used)
    out = capsys.readouterr().out
    assert f"{len(found)} files: " in out
    assert f"{len(left_out)} files left out (" in out


def test_a_link_to_a_folder_of_the_source_is_a_class(given: Path) -> None:
    parts(given, "train", "test", classes=["bridge"])
    for number, part in enumerate(("train", "test")):
        fill(given / "store" / part, 300 + 10 * number)
        (given / part / "tower").symlink_to(f"../store/{part}")
    prepare.main()
    assert Counter((row["split"], row["label"]) for row in rows("images.csv")) == {
        ("train", "0"): 4, ("train", "1"): 4, ("test", "0"): 4, ("test", "1"): 4
    }  # fmt: skip
    assert len(rows("refused.csv")) == 8  # the files in store, at their own place


def test_a_damaged_picture_is_no_copy(given: Path) -> None:
    parts(given, "train", "test")
    buffer = io.BytesIO()
    picture(0).save(buffer, "PNG")
    for name in ("a", "b"):
        (given / f"train/tower/{name}.png").write_bytes(buffer.getvalue()[:40])
    prepare.main()
    assert all("damaged" in row["reason"] for row in rows("refused.csv"))
