"""mnist's data: one canonical form from each source, and one line for what is not in MNIST's form."""

import gzip
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import Run
from numpy.typing import NDArray
from torchvision.datasets import MNIST

from stages.common.splits import stratified
from stages.mnist import featurize, official, prepare, sample

Bytes = NDArray[np.uint8]


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    sample.write(folder)
    return folder


@pytest.fixture
def source(workspace: Path, written: Path) -> Path:
    """The sample's files, gzipped, as the source that params.yaml names."""
    parameters = yaml.safe_load(Path("params.yaml").read_text())
    parameters["data"]["source"] = "given"
    Path("params.yaml").write_text(yaml.safe_dump(parameters))
    folder = workspace / "given" / "mnist"
    folder.mkdir(parents=True)
    for path in written.iterdir():
        (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    return folder


def archive(folder: Path, part: str) -> dict[str, Bytes]:
    with np.load(folder / f"{part}.npz") as content:
        return dict(content)


def test_the_sample_is_real_digits_in_mnist_s_form(written: Path) -> None:
    images, labels = prepare.read_part(written, "train")
    test_images, test_labels = prepare.read_part(written, "t10k")
    assert (len(images), len(test_images)) == (1437, 360)
    assert set(labels) == set(test_labels) == set(range(10))
    for ink in images[:100] > 0:
        rows, columns = np.nonzero(ink)
        assert max(np.ptp(rows), np.ptp(columns)) < 20
    mass = images.astype(float)
    centres = (mass.sum(2) * np.arange(28)).sum(1) / mass.sum((1, 2))
    assert np.abs(centres - 13.5).max() <= 1.0


def test_plain_and_gzipped_files_give_the_same(source: Path, written: Path) -> None:
    for part in ("train", "t10k"):
        for plain, packed in zip(prepare.read_part(written, part), prepare.read_part(source, part), strict=True):
            assert np.array_equal(plain, packed)


def test_torchvision_reads_the_sample_as_we_do(written: Path, tmp_path: Path) -> None:
    (tmp_path / "MNIST").mkdir()
    (tmp_path / "MNIST" / "raw").symlink_to(written)
    images, labels = prepare.read_part(written, "train")
    theirs = MNIST(str(tmp_path))
    assert np.array_equal(theirs.data.numpy(), images)
    assert np.array_equal(theirs.targets.numpy(), labels)


def test_official_is_what_torchvision_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(urls: list[str], path: Path, size: int, checksum: str) -> None:
        asked.append((urls, checksum))

    monkeypatch.setattr(official, "download", download)
    official.fetch(tmp_path)
    expected = [([mirror + name for mirror in MNIST.mirrors], f"md5:{md5}") for name, md5 in MNIST.resources]
    assert sorted(asked) == sorted(expected)


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()))))


def cut_gz(folder: Path) -> None:
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:5000])


def cut_content(folder: Path) -> None:
    rewrite(folder / "train-images-idx3-ubyte.gz", lambda content: content[:-1])


def wrong_magic(folder: Path) -> None:
    rewrite(folder / "t10k-images-idx3-ubyte.gz", lambda content: struct.pack(">I", 0x00000D03) + content[4:])


def labels_for_images(folder: Path) -> None:
    shutil.copy(folder / "train-labels-idx1-ubyte.gz", folder / "train-images-idx3-ubyte.gz")


def fewer_labels(folder: Path) -> None:
    rewrite(
        folder / "train-labels-idx1-ubyte.gz", lambda content: content[:4] + struct.pack(">I", 1436) + content[8:-1]
    )


def label_of_ten(folder: Path) -> None:
    rewrite(folder / "t10k-labels-idx1-ubyte.gz", lambda content: content[: 8 + 17] + b"\x0a" + content[8 + 18 :])


def empty(folder: Path) -> None:
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(b"")


def empty_inside(folder: Path) -> None:
    rewrite(folder / "train-labels-idx1-ubyte.gz", lambda content: b"")


def missing(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()


def not_gz(folder: Path) -> None:
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(b"<html>not found</html>")


def no_images(folder: Path) -> None:
    rewrite(folder / "t10k-images-idx3-ubyte.gz", lambda content: content[:4] + struct.pack(">3I", 0, 28, 28))


def other_size(folder: Path) -> None:
    rewrite(
        folder / "t10k-images-idx3-ubyte.gz",
        lambda content: content[:4] + struct.pack(">3I", 360, 14, 56) + content[16:],
    )


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut_gz, ["train-images-idx3-ubyte.gz", "found 5000 bytes that are not a whole gzip file"]),
        (cut_content, ["train-images-idx3-ubyte.gz", "found 1126623 bytes, expected 1126624", "1437x28x28"]),
        (wrong_magic, ["t10k-images-idx3-ubyte.gz", "bytes 0 to 3", "0x00000d03", "expected 0x00000803"]),
        (labels_for_images, ["train-images-idx3-ubyte.gz", "0x00000801", "expected 0x00000803"]),
        (fewer_labels, ["train-labels-idx1-ubyte.gz", "found 1436 labels, expected 1437"]),
        (label_of_ten, ["t10k-labels-idx1-ubyte.gz", "label 17", "found 10", "0 to 9"]),
        (empty, ["train-labels-idx1-ubyte.gz", "empty file"]),
        (empty_inside, ["train-labels-idx1-ubyte.gz", "found 0 bytes, expected an idx header of 8"]),
        (missing, ["found neither t10k-labels-idx1-ubyte nor t10k-labels-idx1-ubyte.gz"]),
        (not_gz, ["train-labels-idx1-ubyte.gz", "not a whole gzip file"]),
        (no_images, ["t10k-images-idx3-ubyte.gz", "found 0 images"]),
        (other_size, ["t10k-images-idx3-ubyte.gz", "found images of 14x56, expected 28x28"]),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_nothing(
    source: Path, workspace: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], words: list[str]
) -> None:
    from stages.common.program import InputError

    damage(source)
    with pytest.raises(InputError) as caught:
        prepare.main()
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (workspace / "data").exists()


def test_bad_input_ends_the_program_with_code_1(source: Path, workspace: Path, python: Run) -> None:
    cut_gz(source)
    done = python("-m", "stages.mnist.prepare", cwd=workspace)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (workspace / "data").exists()


def test_the_split_is_stratified_seeded_and_complete(source: Path, workspace: Path) -> None:
    prepare.main()
    featurize.main()
    features = workspace / "data/mnist/features"
    train, valid, test = (archive(features, part) for part in ("train", "valid", "test"))
    raw = archive(workspace / "data/mnist/raw", "train")
    assert len(train["labels"]) + len(valid["labels"]) == len(raw["labels"]) == 1437
    assert np.array_equal(test["images"], archive(workspace / "data/mnist/raw", "test")["images"])
    counts, chosen = np.bincount(raw["labels"]), np.bincount(valid["labels"])
    assert np.abs(chosen - 0.1 * counts).max() <= 0.5
    assert {array.dtype for part in (train, valid, test) for array in part.values()} == {np.dtype(np.uint8)}
    assert (features / "about.json").read_text() == '{\n  "source": "given"\n}\n'


def test_another_seed_chooses_other_images() -> None:
    labels = np.repeat(np.arange(10), 50).astype(np.uint8)
    first, same, other = (stratified(labels, 0.1, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    assert first.sum() == other.sum() == 50


def test_the_same_input_gives_the_same_bytes(source: Path, workspace: Path) -> None:
    contents = []
    for _ in range(2):
        prepare.main()
        featurize.main()
        contents.append({path: path.read_bytes() for path in sorted((workspace / "data").rglob("*.npz"))})
    assert contents[0] == contents[1]
    assert len(contents[0]) == 5
