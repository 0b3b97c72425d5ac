"""Folders as people have them: parts under other names, validation splits, copies, Unicode forms, and that the counts add up."""

import json
import shutil
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_photographs import configure, fill, picture, rows

from stages.common import config
from stages.common.errors import InputError
from stages.landmarks import featurize, photographs, prepare
from stages.landmarks.config import Data

RAW, FEATURES = Path("data/landmarks/raw"), Path("data/landmarks/features")
EVEN = {("train", "0"): 4, ("train", "1"): 4, ("test", "0"): 4, ("test", "1"): 4}


def parts(given: Path, *names: str, classes: Sequence[str] = ("bridge", "tower"), first: int = 0) -> None:
    """Four pictures in each class of each part: 000 to 003 and 010 to 013 in the first one, 100 to 103 and so on."""
    for number, part in enumerate(names):
        for label, name in enumerate(classes):
            fill(given / part, {name: 4}, first + 100 * number + 10 * label)


def counts() -> Counter[tuple[str, str]]:
    return Counter((row["split"], row["label"]) for row in rows(RAW / "images.csv"))


def refused() -> dict[str, str]:
    return {row["path"]: row["reason"] for row in rows(RAW / "refused.csv")}


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
    assert refused() == {"train/tower/010.png": f"same picture as {name}/tower/copy.png"}
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
        (["train", "bridges"], "a folder train but no folder test, expected train and test, and for a validation split one of valid, val"),
        (["dev", "test"], "a folder dev, test but no folder train"),
        (["train", "test", "Val"], "the folder 'Val' beside train and test"),
        (["train", "test", "holdout"], "the folder 'holdout' beside train and test"),
        (["train", "test", "val", "dev"], "the folders val and dev, expected one validation split"),
    ],
)  # fmt: skip
def test_parts_under_other_names_are_an_error_that_names_them(given: Path, names: list[str], words: str) -> None:
    parts(given, *names)
    assert words in error()


def test_classes_may_have_such_names_and_other_folders_beside_the_parts_are_listed(given: Path) -> None:
    parts(given, "train", "test", classes=["Dev", "tower"])
    fill(given, {"sketches": 2}, 500)
    prepare.main()
    assert [place.name for place in photographs.read_classes(RAW)] == ["Dev", "tower"]
    assert list(refused()) == ["sketches/500.png", "sketches/501.png"]


@pytest.mark.parametrize("around", ["dataset", "dataset/images/2024"])
def test_folders_around_the_parts_are_seen_through(given: Path, around: str) -> None:
    parts(given / around, "train", "test")
    (given / "places.csv").write_text("class,latitude,longitude\ntower,1,2\n")
    prepare.main()
    assert counts() == EVEN
    assert photographs.read_classes(RAW)[1] == ("tower", 1.0, 2.0, "places.csv")
    assert refused() == {}


def test_class_names_are_compared_after_unicode_normalisation(given: Path) -> None:
    for first, part, form in ((0, "train", "NFC"), (900, "test", "NFD")):
        classes = [unicodedata.normalize(form, name) for name in ("Château", "Kölner Dom")]  # type: ignore[arg-type]
        parts(given, part, classes=classes, first=first)
    places = unicodedata.normalize("NFD", "class,latitude,longitude\nChâteau,1,2\n")
    (given / "places.csv").write_text(places)
    prepare.main()
    found = photographs.read_classes(RAW)
    assert [place.name for place in found] == ["Château", "Kölner Dom"]
    assert found[0].latitude == 1
    assert {one.path.split("/")[0] for one in photographs.read_index(RAW, "test")} == {"Château", "Kölner Dom"}
    fill(given / "train", {unicodedata.normalize("NFD", "Château"): 4}, 500)
    shutil.rmtree(RAW)
    assert "found two folders Château, whose names differ only in their Unicode form" in error()


def copied(path: Path, target: str, **saved: object) -> None:
    with Image.open(path) as image:
        image.save(path.with_name(target), **saved)  # type: ignore[arg-type]


def test_copies_are_one_picture_whatever_their_format_and_metadata(given: Path) -> None:
    """A tree in which each picture is there five times: its test set has as many different pictures as without the copies."""
    fill(given, {"bridge": 10, "tower": 10})
    exif = Image.Exif()
    exif[0x010E] = "holiday"
    for path in sorted(given.rglob("*.png")):
        shutil.copy(path, path.with_name(f"{path.stem} (1).png"))
        copied(path, f"{path.stem}.bmp")
        copied(path, f"{path.stem}.webp", lossless=True)
        copied(path, f"{path.stem}_exif.png", exif=exif, compress_level=0)
    prepare.main()
    assert counts() == {("train", "0"): 8, ("test", "0"): 2, ("train", "1"): 8, ("test", "1"): 2}
    assert len({row["sha256"] for row in rows(RAW / "images.csv")}) == 20
    assert len(refused()) == 80


@pytest.mark.parametrize("side", [24, 60])
def test_near_copies_across_train_and_test_are_reported_with_their_share_and_limited(
    given: Path, capsys: pytest.CaptureFixture[str], side: int
) -> None:
    parts(given, "train", "test")
    picture(11, side).save(given / "test/tower/like.jpg", quality=80)
    assert "1 of 9 pictures for test (11.1%) look like one of an earlier part" in error()
    assert "test/tower/like.jpg is like train/tower/011.png" in capsys.readouterr().err
    configure(max_near_copies=0.2)
    prepare.main()
    (found,) = rows(RAW / "near_copies.csv")
    assert (found["file"], found["near"]) == ("test/tower/like.jpg", "train/tower/011.png")
    assert "warning: 1 of 9 pictures for test (11.1%) are near copies" in capsys.readouterr().out


def test_near_copies_of_training_pictures_in_the_validation_split_are_limited(given: Path) -> None:
    """featurize makes that split: pictures of one series get into both."""
    parts(given, "train", "test")
    for number in range(12):
        picture(10, 60 + number).save(given / f"train/tower/series-{number}.png")
    prepare.main()
    assert not (RAW / "near_copies.csv").exists()
    words = r"images\.csv: found near copies .* pictures for validation .*max_near_copies"
    with pytest.raises(InputError, match=words):
        featurize.main()
    assert not FEATURES.exists()
    configure(max_near_copies=1)
    featurize.main()
    found = {row["file"].rpartition("-")[0] for row in rows(FEATURES / "near_copies.csv")}
    assert found == {"train/tower/series"}


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
        fill(root, {"bridge": 8, "tower": 8})
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
    used, left_out = rows(RAW / "images.csv"), rows(RAW / "refused.csv")
    assert len(used) + len(left_out) + 1 == len(found)  # and the table of places
    assert len({row["path"] for row in left_out}) == len(left_out)
    assert all(row["reason"] for row in left_out)
    told = json.loads((RAW / "counts.json").read_text())
    assert told.pop("found") == sum(told.values()) == len(found)
    assert told["train"] + told["test"] == len(used)
    out = capsys.readouterr().out
    assert f"{len(found)} files: " in out
    assert f"{len(left_out)} files left out (" in out


def test_a_link_to_a_folder_of_the_source_is_a_class(given: Path) -> None:
    parts(given, "train", "test", classes=["bridge"])
    fill(given, {"store/train": 4, "store/test": 4}, 300)
    for part in ("train", "test"):
        (given / part / "tower").symlink_to(f"../store/{part}")
    prepare.main()
    assert counts() == EVEN
    assert len(refused()) == 8  # the files in store, at their own place


def test_a_damaged_picture_is_no_copy(given: Path) -> None:
    parts(given, "train", "test")
    for name in ("a", "b"):
        (given / f"train/tower/{name}.png").write_bytes((given / "train/bridge/000.png").read_bytes()[:40])
    prepare.main()
    assert len(refused()) == 2
    assert all("damaged" in reason for reason in refused().values())
