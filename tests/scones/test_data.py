"""scones' data: one checked form from each source, and a reason for each picture that is left out."""

import csv
import hashlib
import io
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from conftest import Change
from PIL import Image

from stages.common import config, files
from stages.common.errors import InputError
from stages.scones import featurize, layout, prepare
from stages.scones.config import FINE_LABELS, Data
from stages.scones.featurize import set_aside
from stages.scones.layout import Pictures
from stages.scones.sources import sample
from stages.scones.sources.vehicles import DRAWINGS

CLASSES = ["bicycle", "motorcycle"]
RAW, FEATURES, LABELLED = (Path("data/scones", name) for name in ("raw", "features", "labelled"))

Form = Literal["NFC", "NFD"]


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    sample.write(folder, CLASSES)
    return folder


@pytest.fixture
def source(workspace: Path, written: Path, change: Change) -> Path:
    """A part of the sample's pictures, 60 to train on and 20 to test with, in the place that params.yaml names."""
    folder = workspace / "given" / "scones"
    for part, count in {"train": 60, "test": 20}.items():
        (folder / part).mkdir(parents=True)
        lines = (written / f"{part}.lst").read_text().splitlines()[:count]
        (folder / f"{part}.lst").write_text("\n".join(lines) + "\n")
        for line in lines:
            name = line.split("\t")[2]
            shutil.copy(written / part / name, folder / part)
    change({"data.source": "given"})
    return folder


def lines(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (32, 32))
        return np.asarray(image)


def listed(table: str) -> list[dict[str, str]]:
    with (RAW / table).open(newline="") as file:
        return list(csv.DictReader(file))


def refused() -> dict[str, str]:
    """Why each file was left out."""
    return {line["file"]: line["reason"] for line in listed("refused.csv")}


def arrays(part: str) -> dict[str, np.ndarray]:
    with np.load(FEATURES / f"{part}.npz") as content:
        return dict(content)


def test_the_sample_is_in_the_published_layout_and_the_same_bytes_each_time(written: Path, tmp_path: Path) -> None:
    sample.write(tmp_path, CLASSES)
    for path in written.rglob("*.*"):
        assert (tmp_path / path.relative_to(written)).read_bytes() == path.read_bytes()
    for part, count in {"train": 800, "test": 200}.items():
        table = lines(written / f"{part}.lst")
        assert [int(row) for row, _, _ in table] == list(range(count))
        assert sorted(label for _, label, _ in table) == ["0"] * (count // 2) + ["1"] * (count // 2)
        assert sorted(name for _, _, name in table) == sorted(path.name for path in (written / part).iterdir())
        images = [pixels(written / part / name) for _, _, name in table]
        assert len({image.tobytes() for image in images}) == count


def test_the_sample_draws_the_same_pictures_as_before_and_as_many_of_each_class(
    change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256()
    for row in range(40):
        digest.update(sample.picture(CLASSES[row % 2], np.random.default_rng([sample.SEED, 1, row])).tobytes())
    assert digest.hexdigest()[:16] == "a9eced641f8dcb55"
    six = sorted(DRAWINGS)
    monkeypatch.setattr(sample, "COUNTS", {"train": 8, "test": 3})
    change({"data.scones.classes": six, "data.scones.max_near_copies": 1})
    prepare.main()
    for part, count in sample.COUNTS.items():
        labels = [entry.label for entry in layout.read_list(RAW, part, six)]
        assert np.bincount(labels).tolist() == [count] * 6


def test_the_sample_draws_vehicles_alone(change: Change) -> None:
    change({"data.scones.classes": ["bicycle", "rose"]})
    with pytest.raises(InputError, match="bicycle, rose is not allowed with the source sample.*official"):
        prepare.main()
    assert not RAW.exists()


def test_labels_follow_the_order_of_the_classes(change: Change) -> None:
    change({"data.scones.classes": CLASSES[::-1]})
    prepare.main()
    assert [label for _, label, _ in lines(RAW / "test.lst")[:4]] == ["0", "1", "0", "1"]
    assert files.read_json(RAW / "about.json") == {"source": "sample", "classes": ["motorcycle", "bicycle"]}
    motorcycle = sample.picture("motorcycle", np.random.default_rng([sample.SEED, 1, 0]))
    assert np.array_equal(pixels(RAW / "test" / lines(RAW / "test.lst")[0][2]), motorcycle)


def test_raw_is_the_published_layout_with_the_same_pixels(source: Path) -> None:
    prepare.main()
    names = ["about.json", "counts.json", "refused.csv", "test", "test.lst", "train", "train.lst"]
    assert sorted(path.name for path in RAW.iterdir()) == names
    for part in ("train", "test"):
        assert (RAW / f"{part}.lst").read_bytes() == (source / f"{part}.lst").read_bytes()
        for _, _, name in lines(RAW / f"{part}.lst"):
            assert np.array_equal(pixels(RAW / part / name), pixels(source / part / name))
    assert refused() == {}
    counts = files.read_json(RAW / "counts.json")
    assert counts == {"found": 82, "train": 60, "test": 20, "tables": 2, "unusable": 0, "copies": 0, "others": 0}
    assert files.read_json(RAW / "about.json") == {"source": "given", "classes": CLASSES}


def test_pictures_of_other_modes_become_rgb(source: Path) -> None:
    names = [name for _, _, name in lines(source / "train.lst")]
    colour = pixels(source / "train" / names[0])
    Image.fromarray(colour).convert("RGBA").save(source / "train" / names[0])
    grey = Image.fromarray(pixels(source / "train" / names[1])).convert("L")
    grey.save(source / "train" / names[1])
    prepare.main()
    assert np.array_equal(pixels(RAW / "train" / names[0]), colour)
    assert np.array_equal(pixels(RAW / "train" / names[1]), np.asarray(grey.convert("RGB")))


def test_labels_come_from_the_lists_whatever_the_names_say(source: Path) -> None:
    (row, label, name), *others = lines(source / "train.lst")
    assert label == "0"
    (source / "train" / name).rename(source / "train" / "motorcycle_s_000001.png")
    table = [[row, label, "motorcycle_s_000001.png"], *others]
    (source / "train.lst").write_text("".join("\t".join(line) + "\r\n" for line in table))
    prepare.main()
    assert lines(RAW / "train.lst") == table


def black(width: int, height: int) -> bytes:
    return layout.png(np.zeros((height, width, 3), np.uint8))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>not found</html>", "it is not a"),
        (b"", "the file is empty"),
        (layout.png(sample.picture("bicycle", np.random.default_rng(0)))[:200], "damaged"),
        (black(64, 48), "the picture has a single colour"),
        (black(32, 31), "the picture has 32 x 31 pixels, expected at least 32 on each side"),
        (black(4000, 4000), "4000 x 4000 pixels in 46,"),
        (black(10_001, 10_000), "more than 100,000,000 pixels"),
    ],
    ids=["no picture", "empty", "cut short", "one colour", "too small", "a bomb", "too large"],
)
def test_a_picture_that_cannot_be_used_is_left_out_with_the_reason(source: Path, content: bytes, reason: str) -> None:
    table = lines(source / "train.lst")
    (source / "train" / table[7][2]).write_bytes(content)
    prepare.main()
    ((file, found),) = refused().items()
    assert file == f"train/{table[7][2]}"
    assert reason in found
    assert lines(RAW / "train.lst") == table[:7] + table[8:]
    assert not (RAW / "train" / table[7][2]).exists()


def test_a_file_that_no_list_names_is_left_out(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (32, 32)).save(source / "test" / "stray.png")
    (source / "test" / ".DS_Store").write_bytes(b"")
    (source / "README.md").write_text("")
    prepare.main()
    assert refused() == {
        "test/stray.png": "test.lst does not name it",
        "README.md": "it is neither a list nor in train or test",
        "test/.DS_Store": "a hidden file, or one that an operating system created",
    }
    assert "scones from given, 85 files: 60 training and 20 test pictures" in capsys.readouterr().out


def test_too_many_such_pictures_are_an_error(source: Path) -> None:
    for _, _, name in lines(source / "train.lst")[:2]:
        (source / "train" / name).write_bytes(b"")
    with pytest.raises(InputError, match="2 of 80 pictures are unusable, first train/.*empty; .*max_refused = 0.02"):
        prepare.main()
    assert not RAW.exists()


def replace(name: str, line: int, text: str) -> Callable[[Path], None]:
    def damage(source: Path) -> None:
        table = (source / name).read_text().splitlines()
        table[line - 1] = text
        (source / name).write_text("\n".join(table) + "\n")

    return damage


def one_class(source: Path) -> None:
    table = (source / "test.lst").read_text()
    (source / "test.lst").write_text(table.replace("\t0\t", "\t1\t"))


PLACES = "expected the folders train and test, and train.lst and test.lst"
FIRST, SECOND = (f"drawn_s_{row:06d}.png" for row in range(2))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda source: (source / "test.lst").unlink(), ["test.lst: no such file"]),
        (lambda source: (source / "train.lst").write_text(""), ["train.lst: line 1: found ''"]),
        (lambda source: (source / "train.lst").write_bytes(b"1\t0\t\xff\xd8.png\n"), ["train.lst: byte 4: found invalid UTF-8"]),
        (lambda source: (source / "train/drawn_s_000008.png").unlink(), ["train.lst: line 9: found no file drawn_s_000008.png in the folder train"]),
        (lambda source: shutil.rmtree(source / "test"), ["test.lst: line 1: found no file drawn_s_000000.png in the folder test"]),
        (lambda source: (source / "train").rename(source / "Train"), [f"scones: found 'Train', {PLACES}"]),
        (lambda source: (source / "val.lst").touch(), [f"'val.lst', {PLACES}", "data.scones.valid_fraction chooses"]),
        (one_class, ["scones: found no usable picture of bicycle for test"]),
        (replace("train.lst", 3, ""), ["train.lst: line 3: found ''", "row number, label and file name"]),
        (replace("train.lst", 3, f"0 0 {FIRST}"), ["train.lst: line 3: found '0 0 drawn", "tabs"]),
        (replace("train.lst", 3, f"0\t0\t{FIRST}\t1"), ["train.lst: line 3", "tabs"]),
        (replace("test.lst", 1, f"x\t0\t{FIRST}"), ["test.lst: line 1: found the row number 'x'", "whole number"]),
        (replace("test.lst", 1, f"0\t2\t{FIRST}"), ["test.lst: line 1: found the label '2'", "0 bicycle, 1 motorcycle"]),
        (replace("test.lst", 1, f"0\t-1\t{FIRST}"), ["test.lst: line 1: found the label '-1'"]),
        (replace("test.lst", 1, f"0\tbicycle\t{FIRST}"), ["test.lst: line 1: found the label 'bicycle'"]),
        (replace("test.lst", 1, f"0\t0\t{SECOND}"), ["test.lst: line 2: found drawn_s_000001.png for the second time"]),
        (replace("test.lst", 1, f"0\t0\t../train/{FIRST}"), ["test.lst: line 1: found the file name '../train/"]),
        (replace("test.lst", 1, "0\t0\t/etc/a.png"), ["test.lst: line 1: found the file name '/etc/a.png'"]),
        (replace("test.lst", 1, "0\t0\t.png"), ["test.lst: line 1: found the file name '.png'"]),
        (replace("test.lst", 1, "0\t0\ta.jpg"), ["test.lst: line 1: found no file a.jpg"]),
    ],
)  # fmt: skip
def test_invalid_input_is_reported_in_one_line_and_leaves_no_files(
    source: Path, damage: Callable[[Path], None], words: list[str]
) -> None:
    damage(source)
    with pytest.raises(InputError) as caught:
        prepare.main()
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("data").exists()


def test_training_pictures_that_are_known_already_are_left_out(source: Path) -> None:
    train, test = (lines(source / f"{part}.lst") for part in ("train", "test"))
    shutil.copy(source / "test" / test[3][2], source / "train" / train[4][2])
    shutil.copy(source / "train" / train[10][2], source / "train" / train[20][2])
    shutil.copy(source / "train" / train[30][2], source / "train" / train[31][2])
    # Other bytes, the same pixels.
    Image.fromarray(pixels(source / "train" / train[11][2])).save(source / "train" / train[21][2], compress_level=0)
    shutil.copy(source / "test" / test[0][2], source / "test" / test[1][2])
    prepare.main()
    assert refused() == {
        f"train/{train[4][2]}": f"same picture as test/{test[3][2]}",
        f"train/{train[20][2]}": f"same picture as train/{train[10][2]}",
        f"train/{train[21][2]}": f"same picture as train/{train[11][2]}",
        f"train/{train[30][2]}": f"same picture as train/{train[31][2]}, which has another class",
        f"train/{train[31][2]}": f"same picture as train/{train[30][2]}, which has another class",
    }
    assert lines(RAW / "train.lst") == [line for row, line in enumerate(train) if row not in (4, 20, 21, 30, 31)]
    assert lines(RAW / "test.lst") == test


def saved_again(source: Path, place: str, as_place: str) -> None:
    """Makes ``as_place`` a copy of ``place`` as JPEG keeps it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels(source / place)).save(buffer, "JPEG", quality=75)
    Image.open(buffer).save(source / as_place)


def test_test_pictures_that_look_like_training_pictures_are_reported_and_limited(
    source: Path, change: Change, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = f"test/{lines(source / 'test.lst')[5][2]}", f"train/{lines(source / 'train.lst')[7][2]}"
    saved_again(source, theirs, ours)
    prepare.main()
    (found,) = listed("near_copies.csv")
    assert (found["file"], found["near"]) == (ours, theirs)
    printed = capsys.readouterr().out
    assert "warning: 1 of 20 pictures for test (5.0%) are near copies" in printed
    assert f"first {ours} is like {theirs}\n" in printed
    change({"data.scones.max_near_copies": 0.04})
    with pytest.raises(InputError, match=r"found near copies in different parts: 1 of 20.*max_near_copies = 0\.04"):
        prepare.main()
    assert f"{ours} is like {theirs} (" in capsys.readouterr().err


def test_validation_pictures_that_look_like_training_pictures_are_reported_and_limited(
    source: Path, change: Change
) -> None:
    """featurize makes that split: pictures of one series get into both."""
    bicycles = [name for _, label, name in lines(source / "train.lst") if label == "0"]
    first = pixels(source / "train" / bicycles[0]).astype(int)
    for number, name in enumerate(bicycles):
        Image.fromarray((first * 0.8 + number).astype(np.uint8)).save(source / "train" / name)
    prepare.main()
    with pytest.raises(InputError, match=r"train\.lst: found near copies .* pictures for validation .*max_near_copies"):
        featurize.main()
    change({"data.scones.max_near_copies": 1})
    featurize.main()
    assert (FEATURES / "near_copies.csv").exists()


def test_a_labelled_picture_saved_again_from_the_test_set_is_reported(source: Path, captured: Path) -> None:
    name = lines(source / "test.lst")[1][2]
    saved_again(source, f"test/{name}", f"../../{LABELLED / 'capture-0.png'}")
    prepare.main()
    assert [(one["file"], one["near"]) for one in listed("near_copies.csv")] == [
        (f"test/{name}", "labelled/capture-0.png")
    ]


@pytest.mark.parametrize(("listed", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_are_compared_after_unicode_normalisation(
    source: Path, captured: Path, listed: Form, stored: Form
) -> None:
    (row, label, name), *others = lines(source / "train.lst")
    for folder, old in ((source / "train", name), (captured, "capture-0.png")):
        (folder / old).rename(folder / unicodedata.normalize(stored, "Fahrräder.png"))
    new = unicodedata.normalize(listed, "Fahrräder.png")
    table = [[row, label, new], *others]
    (source / "train.lst").write_text("".join("\t".join(line) + "\n" for line in table))
    (captured / "labels.csv").write_text(f"file,label\n{new},bicycle\n")
    prepare.main()
    names = [name for _, _, name in lines(RAW / "train.lst")]
    assert (names[0], names[-1]) == ("Fahrräder.png", "labelled_Fahrräder.png")
    assert refused() == {}


@pytest.fixture
def captured(source: Path) -> Path:
    """Three captured pictures, two of them labelled, and lines of others without a label."""
    LABELLED.mkdir(parents=True)
    for number in range(3):
        image = sample.picture("motorcycle", np.random.default_rng([7, number]))
        (LABELLED / f"capture-{number}.png").write_bytes(layout.png(image))
    (LABELLED / "labels.csv").write_text(
        "file,predicted,confidence,label\n"
        "capture-0.png,bicycle,0.61,motorcycle\n"
        "capture-1.png,bicycle,0.55,\n"
        "capture-2.png,motorcycle,0.72,bicycle\n"
        "capture-9.png,bicycle,0.7, \n"
        "short-line.png\n"
    )
    return LABELLED


def test_captured_pictures_with_a_label_join_the_training_pictures(source: Path, captured: Path) -> None:
    prepare.main()
    table = lines(RAW / "train.lst")
    assert table[:60] == lines(source / "train.lst")
    assert table[60:] == [["60", "1", "labelled_capture-0.png"], ["61", "0", "labelled_capture-2.png"]]
    assert np.array_equal(pixels(RAW / "train" / "labelled_capture-0.png"), pixels(captured / "capture-0.png"))
    assert lines(RAW / "test.lst") == lines(source / "test.lst")
    assert refused() == {}


def test_captured_pictures_of_the_test_set_or_too_small_are_left_out(source: Path, captured: Path) -> None:
    name = lines(source / "test.lst")[0][2]
    shutil.copy(source / "test" / name, captured / "capture-0.png")
    (captured / "capture-2.png").write_bytes(black(30, 48))
    prepare.main()
    assert refused() == {
        "labelled/capture-0.png": f"same picture as test/{name}",
        "labelled/capture-2.png": "the picture has 30 x 48 pixels, expected at least 32 on each side",
    }
    assert lines(RAW / "train.lst") == lines(source / "train.lst")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("", "labels.csv: header: found '', expected the columns file and label"),
        ("file;label\ncapture-0.png;bicycle\n", "labels.csv: header: found 'file;label'"),
        ("label\nbicycle\n", "labels.csv: header: found 'label'"),
        ("file,label\ncapture-0.png,motorcycle,bicycle\n", "labels.csv: line 2: found more fields than the header's 2"),
        ("file,label\ncapture-0.png,bike\n", "labels.csv: line 2, column label: found 'bike', expected bicycle, motorcycle"),
        ("file,label\ncapture-0.png,1\n", "labels.csv: line 2, column label: found '1'"),
        ("file,label\n\ncapture-9.png,bicycle\n", "labels.csv: line 3, column file: found 'capture-9.png'"),
        ("file,label\n../raw/a.png,bicycle\n", "labels.csv: line 2, column file: found '../raw/a.png'"),
        ("file,label\ncapture-0.png,bicycle\ncapture-0.png,motorcycle\n", "line 3, column file: found capture-0.png for the second"),
        ("file,label\n\xff,bicycle\n", "labels.csv: found invalid CSV"),
    ],
)  # fmt: skip
def test_a_table_of_labels_with_a_fault_is_one_line(captured: Path, table: str, words: str) -> None:
    (captured / "labels.csv").write_bytes(table.encode("latin-1"))
    with pytest.raises(InputError, match=words):
        prepare.main()
    assert not RAW.exists()


def test_features_are_the_pictures_with_labels_and_names(source: Path) -> None:
    prepare.main()
    featurize.main()
    for part, raw, count in (("train", "train", 54), ("valid", "train", 6), ("test", "test", 20)):
        packed = arrays(part)
        assert {name: (array.shape, array.dtype.kind) for name, array in packed.items()} == {
            "images": ((count, 32, 32, 3), "u"), "labels": ((count,), "i"), "names": ((count,), "U")
        }  # fmt: skip
        labels = {name: label for _, label, name in lines(RAW / f"{raw}.lst")}
        for image, label, name in zip(*packed.values(), strict=True):
            assert labels[str(name)] == str(label)
            assert np.array_equal(image, pixels(RAW / raw / str(name)))
    names = [str(name) for part in ("train", "valid") for name in arrays(part)["names"]]
    assert sorted(names) == sorted(name for _, _, name in lines(RAW / "train.lst"))
    assert files.read_json(FEATURES / "about.json") == files.read_json(RAW / "about.json")


def pictures(*counts: int) -> Pictures:
    labels = np.repeat(np.arange(len(counts)), counts)
    return Pictures(np.zeros((len(labels), 32, 32, 3), np.uint8), labels, np.arange(len(labels)).astype(str))


def test_the_validation_fraction_applies_to_each_class_and_another_seed_sets_others_aside() -> None:
    (train, first), (_, same), (_, other) = (set_aside(pictures(500, 40, 10), 0.1, seed) for seed in (0, 0, 1))
    assert np.bincount(first.labels).tolist() == [50, 4, 1]
    assert np.bincount(train.labels).tolist() == [450, 36, 9]
    assert first.names.tolist() == same.names.tolist() != other.names.tolist()


def test_a_class_with_too_few_pictures_to_set_any_aside_is_an_error() -> None:
    with pytest.raises(InputError, match="found 4 pictures with label 1, .*valid_fraction = 0.1 selects none"):
        set_aside(pictures(500, 4), 0.1, seed=0)


def test_the_same_input_gives_the_same_bytes(source: Path, captured: Path) -> None:
    contents = []
    for _ in range(2):
        prepare.main()
        featurize.main()
        produced = [path for folder in (RAW, FEATURES) for path in sorted(folder.rglob("*.*"))]
        contents.append({path: path.read_bytes() for path in produced})
    assert contents[0] == contents[1]
    assert len(contents[0]) == 62 + 20 + 5 + 4


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (["bycicle", "bus"], "classes.0 = 'bycicle' is not allowed: expected .* fine labels, such as bicycle, "),
        (["bus", "truck"], "classes.1 = 'truck' is not allowed: .*pickup_truck"),
        (["bus", "bus"], "classes.*: expected each class only once"),
        (["bus"], "classes.*: expected at least 2 items"),
    ],
)
def test_an_unknown_class_is_answered_with_the_closest(change: Change, classes: list[str], words: str) -> None:
    change({"data.scones.classes": classes})
    with pytest.raises(InputError, match=rf"params.yaml: data.scones.{words}"):
        config.load("data.scones", Data)


def test_any_fine_labels_are_classes(change: Change) -> None:
    change({"data.scones.classes": FINE_LABELS})
    assert config.load("data.scones", Data).classes == FINE_LABELS


def test_the_real_pictures(workspace: Path, change: Change, real_data: Path) -> None:
    change({"data.source": str(real_data)})
    prepare.main()
    featurize.main()
    assert {file.split("/")[0] for file in refused()} == {"captured_data"}
    assert not (RAW / "near_copies.csv").exists()
    for part, counts in {"train": [500, 500], "test": [100, 100]}.items():
        assert (RAW / f"{part}.lst").read_bytes() == (real_data / "scones" / f"{part}.lst").read_bytes()
        labels = [int(label) for _, label, _ in lines(RAW / f"{part}.lst")]
        assert np.bincount(labels).tolist() == counts
    name = lines(RAW / "test.lst")[0][2]
    with Image.open(io.BytesIO((real_data / "scones" / "test" / name).read_bytes())) as original:
        assert original.mode == "RGBA"
        assert np.array_equal(pixels(RAW / "test" / name), np.asarray(original)[..., :3])
    assert [len(arrays(part)["labels"]) for part in ("train", "valid", "test")] == [900, 100, 200]
