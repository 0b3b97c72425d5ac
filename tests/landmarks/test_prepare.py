"""Folders of photographs in, one checked form out; what is left out is listed, what can't be mended is one line."""

import os
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pictures
import pytest
from conftest import Change, Run
from pictures import gradient, saved
from PIL import Image
from small_photographs import configure, contents, fill, picture, rows

from stages.common.errors import InputError
from stages.common.vision.images import MAX_BYTES, decode
from stages.landmarks import photographs, prepare
from stages.landmarks.sources.intake import coordinates
from stages.landmarks.sources.intake.inspection import in_processes

RAW = Path("data/landmarks/raw")
CLASSES = ["arch, old", "bridge", "tower"]


@pytest.fixture
def source(given: Path) -> Path:
    """Two parts, three classes: 4 training and 2 test pictures each."""
    fill(given, {f"train/{name}": 4 for name in CLASSES} | {f"test/{name}": 2 for name in CLASSES})
    return given


def refused() -> dict[str, str]:
    return {row["path"]: row["reason"] for row in rows(RAW / "refused.csv")}


def test_train_and_test_are_packed_as_they_are_with_nothing_of_the_files_but_name_and_content(source: Path) -> None:
    prepare.main()
    tables = ("about.json", "classes.csv", "counts.json", "images.csv", "looks.npy", "refused.csv")
    assert sorted(contents(RAW)) == [*tables, "test.zip", "train.zip"]
    assert [place.name for place in photographs.read_classes(RAW)] == CLASSES
    for split, count in (("train", 12), ("test", 6)):
        index = photographs.read_index(RAW, split)
        assert len(index) == count
        with photographs.open_archive(RAW, split) as archive:
            assert archive.namelist() == [photograph.path for photograph in index] == sorted(archive.namelist())
            for photograph, member in zip(index, archive.infolist(), strict=True):
                content = archive.read(photograph.path)
                assert content == (source / split / photograph.path).read_bytes()
                assert decode(content, 600).shape == (photograph.height, photograph.width, 3) == (24, 24, 3)
                assert CLASSES[photograph.label] == photograph.path.split("/")[0]
                assert (member.compress_type, member.date_time) == (zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0))
                assert (member.create_system, member.external_attr, member.extra) == (3, 0o644 << 16, b"")
    assert refused() == {}
    assert (RAW / "about.json").read_text() == '{\n  "source": "given"\n}\n'


def test_width_and_height_are_the_upright_picture_s_and_the_name_says_nothing(source: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = saved(gradient(24, 32), "JPEG", exif=exif)
    (source / "train/tower/a.png").write_bytes(content)
    prepare.main()
    found = next(row for row in rows(RAW / "images.csv") if row["path"] == "tower/a.png")
    assert (found["width"], found["height"], found["bytes"]) == ("24", "32", str(len(content)))


def test_one_tree_is_split_by_class_and_the_split_follows_the_seed_and_not_the_disk(given: Path) -> None:
    fill(given, {"bridge": 10, "tower": 20})
    configure(test_fraction=0.3)
    prepare.main()
    images = rows(RAW / "images.csv")
    counts = Counter((row["split"], row["label"]) for row in images)
    assert counts == {("train", "0"): 7, ("test", "0"): 3, ("train", "1"): 14, ("test", "1"): 6}
    assert len({row["sha256"] for row in images}) == 30
    assert [row["split"] for row in images] == ["train"] * 21 + ["test"] * 9
    first, files = contents(RAW), contents(given)
    shutil.rmtree(given)
    for name in reversed(files):
        (given / name).parent.mkdir(parents=True, exist_ok=True)
        (given / name).write_bytes(files[name])
    prepare.main()
    assert contents(RAW) == first
    configure(seed=1)
    prepare.main()
    assert contents(RAW)["images.csv"] != first["images.csv"]


def test_what_systems_leave_behind_changes_only_the_list_of_what_is_left_out(source: Path) -> None:
    prepare.main()
    expected = contents(RAW)
    left = [".DS_Store", "train/.DS_Store", "train/tower/.hidden.png", "train/tower/Thumbs.db"]
    for name in [*left, "README.txt"]:
        (source / name).write_bytes(b"x")
    fill(source, {"__MACOSX/train/tower": 1, "train/__MACOSX": 1, "train/tower/.cache": 1}, 100)
    prepare.main()
    left_out = {"refused.csv": b"", "counts.json": b""}
    assert contents(RAW) | left_out == expected | left_out
    left += ["__MACOSX/train/tower/100.png", "train/__MACOSX/101.png", "train/tower/.cache/102.png"]
    reasons = dict.fromkeys(left, "a hidden file, or one that an operating system created")
    assert refused() == reasons | {"README.txt": "it is in no class folder"}


def test_what_is_no_picture_is_left_out_and_listed(source: Path, workspace: Path) -> None:
    configure(max_megapixels=1)
    tower = source / "train/tower"
    (tower / "text.jpg").write_text("hello")
    (tower / "empty.jpg").touch()
    (tower / "big.png").write_bytes(saved(gradient(1001, 1000), "PNG", compress_level=1))
    (tower / "white.png").write_bytes(saved(np.full((9, 9, 3), 255, np.uint8), "PNG"))
    fill(tower, {"inner": 1}, 1002)
    (tower / "folder").symlink_to("../bridge")
    (tower / "dead.jpg").symlink_to("nowhere.jpg")
    picture(1000).save(workspace / "secret.png")
    (tower / "out.png").symlink_to(workspace / "secret.png")
    (tower / "within.png").symlink_to("../bridge/004.png")
    os.mkfifo(tower / "pipe.jpg")
    with (tower / "film.jpg").open("wb") as film:
        film.truncate(MAX_BYTES + 1)
    Path(os.fsdecode(os.fsencode(tower) + b"/caf\xe9.png")).write_bytes(saved(picture(1001), "PNG"))
    prepare.main()
    found = refused()
    assert list(found) == sorted(found)
    assert found == {
        "train/bridge/004.png": "same picture as train/tower/within.png, which has another class",
        "train/tower/big.png": "the picture has more than 1,000,000 pixels",
        "train/tower/caf\\udce9.png": "its name is not UTF-8, or has control characters",
        "train/tower/dead.jpg": "it is not a file",
        "train/tower/empty.jpg": "the file is empty",
        "train/tower/film.jpg": "the file has more than 512 MiB",
        "train/tower/folder": "it is a link to a folder, expected only pictures in a class folder",
        "train/tower/inner/1002.png": "it is in a folder in a class folder, expected only pictures in a class folder",
        "train/tower/out.png": "it is a link that leads out of the source",
        "train/tower/pipe.jpg": "it is not a file",
        "train/tower/text.jpg": "it is not a JPEG, PNG, WEBP, GIF, BMP, AVIF or HEIF file: it begins with b'hello'",
        "train/tower/white.png": "the picture has a single colour",
        "train/tower/within.png": "same picture as train/bridge/004.png, which has another class",
    }
    assert len(photographs.read_index(RAW, "train")) == 11


def test_too_many_of_them_end_the_program(source: Path, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(max_refused=0.05)
    for number in range(12):
        (source / f"train/tower/{number}.jpg").write_text("hello")
    with pytest.raises(InputError) as refusal:
        prepare.main()
    first = "the first is train/tower/0.jpg (it is not a"
    assert f"found 12 of 30 files in class folders that cannot be used, {first}" in str(refusal.value)
    assert "data.landmarks.photographs.max_refused = 0.05" in str(refusal.value)
    assert sum("train/tower/" in line for line in capsys.readouterr().err.splitlines()) == 10
    assert not (workspace / "data").exists()
    configure(max_refused=0.4)
    prepare.main()
    assert len(refused()) == 12


def test_copies_of_test_pictures_leave_the_training_set(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(source / "test/tower/016.png", source / "train/tower/copy.png")
    shutil.copy(source / "test/tower/017.png", source / "train/bridge/other class.png")
    with Image.open(source / "test/bridge/014.png") as image:
        image.save(source / "train/bridge/other file.bmp")
    shutil.copy(source / "test/tower/016.png", source / "test/tower/twice.png")
    # Of the same bytes, but another shape, so not the same picture.
    for name, shape in (("train/bridge/wide.png", (2, 6, 3)), ("test/bridge/high.png", (6, 2, 3))):
        Image.fromarray(np.arange(36, dtype=np.uint8).reshape(shape)).save(source / name)
    configure(max_near_copies=1)
    prepare.main()
    assert refused() == {
        "train/bridge/other class.png": "same picture as test/tower/017.png",
        "train/bridge/other file.bmp": "same picture as test/bridge/014.png",
        "train/tower/copy.png": "same picture as test/tower/016.png",
    }
    assert len(photographs.read_index(RAW, "train")) == 13
    assert len(photographs.read_index(RAW, "test")) == 8
    assert "warning: 1 test photographs are copies of another one" in capsys.readouterr().out


def bad_class(folder: Path) -> None:
    for path in (folder / "test/bridge").iterdir():
        path.write_bytes(b"")


def copied_class(folder: Path) -> None:
    shutil.rmtree(folder / "train/bridge")
    shutil.copytree(folder / "test/bridge", folder / "train/bridge")


def link(folder: Path) -> None:
    (folder / "train/tower").rename(folder.parent / "elsewhere")
    (folder / "train/tower").symlink_to(folder.parent / "elsewhere")


def replaced(counts: dict[str, int], *folders: str) -> Callable[[Path], None]:
    """Leaves out ``folders``, and adds as many pictures in others."""

    def damage(source: Path) -> None:
        for name in folders:
            shutil.rmtree(source / name)
        fill(source, counts, 100)

    return damage


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (replaced({}, "train", "test"), "given: found 0 class folders, expected at least 2: train/<class>/ and test/<class>/, or <class>/"),
        (replaced({"test/towers": 2}, "test/tower"), "given: found no towers in train; no tower in test; expected the same classes in train, test"),
        (replaced({"tower": 3}, "train", "test"), "given/tower: found 0 class folders, expected at least 2"),
        (replaced({"test/bridge": 0}, "test/bridge"), "given: found no photograph of bridge for test, expected at least 1 in every class"),
        (bad_class, "found no photograph of bridge for test (2 of its files are refused, first test/bridge/014.png: the file is empty)"),
        (copied_class, "of bridge for train (2 of its files are refused, first train/bridge/014.png: same picture as test/bridge/014.png)"),
        (replaced({"bridge": 10, "tower": 2}, "train", "test"), "given: found no photograph of tower for test, expected at least 1 in every class"),
        (link, "given/train/tower: found a link that leads out of the source, expected a folder"),
    ],
)  # fmt: skip
def test_a_source_that_can_t_be_used_is_one_line_and_leaves_nothing(
    source: Path, workspace: Path, damage: Callable[[Path], None], words: str
) -> None:
    damage(source)
    with pytest.raises(InputError) as caught:
        prepare.main()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (workspace / "data").exists()


def test_a_class_s_place_is_the_source_s_else_the_known_one_else_empty(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"bridge": (1.5, 2.5, "an atlas"), "tower": (3.5, 4.5, "an atlas")}
    monkeypatch.setattr(coordinates, "lookup", known.get)
    (source / "places.csv").write_text("class,latitude,longitude\ntower,48.8584,-2.2945\n")
    prepare.main()
    assert photographs.read_classes(RAW) == [
        ("arch, old", None, None, ""),
        ("bridge", 1.5, 2.5, "an atlas"),
        ("tower", 48.8584, -2.2945, "places.csv"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: found nothing, expected class,latitude,longitude"),
        ("class,lat,lon\n", "line 1: found class,lat,lon, expected class,latitude,longitude"),
        ("class,latitude,longitude\ntower,48.8\n", "line 2: found 2 values, expected class,latitude,longitude"),
        ("class,latitude,longitude\ntower,91,2\n", "line 2, column latitude: found 91, expected degrees from -90 to 90"),
        ("class,latitude,longitude\ntower,1,nan\n", "line 2, column longitude: found nan, expected degrees from -180 to 180"),
        ("class,latitude,longitude\ntower,,2\n", "line 2, column latitude: found nothing, expected degrees"),
        ("class,latitude,longitude\ntowr,1,2\n", "line 2: found 'towr', expected the name of a class folder"),
        ("class,latitude,longitude\ntower,1,2\ntower,1,3\n", "line 3: found tower again, expected each class once"),
        ("\udcff", "found invalid CSV"),
    ],
)  # fmt: skip
def test_a_wrong_places_csv_is_one_line(source: Path, text: str, words: str) -> None:
    (source / "places.csv").write_text(text, errors="surrogateescape")
    with pytest.raises(InputError, match=r"places\.csv: ") as caught:
        prepare.main()
    assert words in str(caught.value)


def test_the_same_source_gives_the_same_bytes_in_every_process(
    source: Path, workspace: Path, python: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "train/tower/text.jpg").write_text("hello")
    shutil.copy(source / "train/tower/008.png", source / "train/bridge/again.png")
    prepare.main()
    first = contents(RAW)
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    done = python("-m", "stages.landmarks.prepare")
    assert done.returncode == 0, done.stderr
    assert contents(RAW) == first
    assert done.stdout == (
        "landmarks from given, 20 files: 11 training, 6 test photographs of 3 classes in data/landmarks/raw, 3 files left out "
        "(1 unusable, 2 copies; refused.csv there has the reasons); next: dvc repro featurize@landmarks\n"
    )


def test_a_file_that_kills_its_process_is_found_and_the_others_are_read() -> None:
    names = [f"{number}.jpg" for number in range(100)]
    names[70] = "deadly.jpg"
    expected = [None if name == "deadly.jpg" else name for name in names]
    assert in_processes(pictures.deadly, [Path(name) for name in names]) == expected


@pytest.mark.long
def test_the_real_photographs_are_all_read(real_data: Path, change: Change) -> None:
    change({"data.landmarks.source": str(real_data)})
    prepare.main()
    train, test = (photographs.read_index(RAW, split) for split in ("train", "test"))
    assert Counter(photograph.label for photograph in train) == dict.fromkeys(range(10), 750)
    assert len(test) == 1267
    assert {(photograph.width, photograph.height) for photograph in train + test} == {(128, 128)}
    assert refused() == {}, "no two of them are the same picture"
    assert len(rows(RAW / "near_copies.csv")) == 1
