"""CIFAR-100's python version: pickles in a tar, read as data. Whatever stands in them, nothing is run and nothing unpacked."""

import functools
import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from checkouts import set_parameters
from file_servers import cut_short, file_server, status

from stages.common.errors import InputError
from stages.common.sources import downloads
from stages.scones import prepare
from stages.scones.config import FINE_LABELS
from stages.scones.sources import cifar, official, pickle_reader


class Python2Pickler(pickle._Pickler):
    """Writes str and bytes as Python 2 wrote its str, and numpy by its name of that time: what CIFAR's authors used."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)
    write: Callable[[bytes], object]
    memoize: Callable[[object], None]

    def save_string(self, value: str | bytes) -> None:
        text = value.encode("latin-1") if isinstance(value, str) else value
        self.write(b"U" + bytes([len(text)]) + text if len(text) < 256 else b"T" + struct.pack("<i", len(text)) + text)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string


def python2(value: object) -> bytes:
    buffer = io.BytesIO()
    Python2Pickler(buffer, 2).dump(value)
    return buffer.getvalue().replace(b"numpy._core.", b"numpy.core.")


def split(count: int, seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    labels = [FINE_LABELS.index(name) for name in ("bicycle", "motorcycle", "train", "apple")]
    return {
        "filenames": [f"cycle_s_{seed}{row:05d}.png" for row in range(count)],
        "batch_label": "training batch 1 of 1",
        "fine_labels": [labels[row % 4] for row in range(count)],
        "coarse_labels": [0] * count,
        "data": random.integers(0, 256, (count, 3072), np.uint8),
    }


VALUES: dict[str, Any] = {
    "train": split(24, 1),
    "test": split(8, 2),
    "meta": {"fine_label_names": FINE_LABELS, "coarse_label_names": ["vehicles_1"]},
}


def pack(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name if "/" in name else f"cifar-100-python/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def archive(folder: Path, **changed: bytes) -> Path:
    """An archive in ``folder``, whole but for the members that are given."""
    path = folder / "cifar-100-python.tar.gz"
    path.write_bytes(pack({name: python2(value) for name, value in VALUES.items()} | changed))
    return path


def test_the_archives_of_these_tests_are_pickles_that_pickle_reads() -> None:
    for value in VALUES.values():
        np.testing.assert_equal(pickle.loads(python2(value), encoding="latin1"), value)


def test_pictures_labels_and_names_are_read(tmp_path: Path) -> None:
    for part, read in cifar.read(archive(tmp_path)).items():
        value = VALUES[part]
        assert read.names.tolist() == value["filenames"]
        assert read.labels.tolist() == value["fine_labels"]
        assert read.images.shape == (len(read.names), 32, 32, 3)
        for colour in range(3):
            plane = value["data"][5, 1024 * colour : 1024 * (colour + 1)].reshape(32, 32)
            assert np.array_equal(read.images[5, :, :, colour], plane)


@pytest.mark.parametrize("value", [None, True, False, 7, -1, 70000, "bike", "x" * 300, (), (1,), (1, 2), (1, 2, 3, 4), [], [[1], ["a"]], [["a"]] * 2, {"a": {"b": [1]}}])  # fmt: skip
@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_plain_values_are_what_pickle_makes_of_them(value: object, protocol: int) -> None:
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol).dump(value)
    assert pickle_reader.read(buffer.getvalue()) == value


# What the attacks below run, if they run anything: it makes a file.
MARKER = "was-here"
COMMAND = f"touch {MARKER}"


class Attack:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.reduced


def short(text: str) -> bytes:
    return b"U" + bytes([len(text)]) + text.encode()


ATTACKS = {
    "a call of os.system": pickle.dumps(Attack(os.system, COMMAND), 2),
    "the same in protocol 0": pickle.dumps(Attack(os.system, COMMAND), 0),
    "the same in protocol 4": pickle.dumps(Attack(os.system, COMMAND), 4),
    "the same in protocol 5": pickle.dumps(Attack(os.system, COMMAND), 5),
    "eval": pickle.dumps(Attack(eval, f"open({MARKER!r}, 'w').close()"), 2),
    "exec": pickle.dumps(Attack(exec, f"open({MARKER!r}, 'w').close()"), 2),
    "getattr of an imported module": b"\x80\x02c__builtin__\ngetattr\nc__builtin__\n__import__\n"
    + short("os") + b"\x85R" + short("system") + b"\x86R" + short(COMMAND) + b"\x85R.",
    "an instance, opcode INST": f"(S'{COMMAND}'\nios\nsystem\n.".encode(),
    "an instance, opcode OBJ": b"(cos\nsystem\n" + short(COMMAND) + b"o.",
    "a call in the list of arguments of another": pickle.dumps(Attack(print, Attack(os.system, COMMAND)), 2),
    "a call within numpy's own": python2([Attack(np.array, [Attack(os.system, COMMAND)])]),
}  # fmt: skip


def check_attack(content: bytes) -> None:
    """Fails if unpickling ``content`` wouldn't run the command."""
    pickle.loads(content, encoding="latin1")
    assert Path(MARKER).exists(), "the attack is none"
    Path(MARKER).unlink()


@pytest.mark.parametrize("name", ATTACKS)
def test_a_crafted_pickle_runs_nothing(name: str, tmp_path: Path, workspace: Path) -> None:
    check_attack(ATTACKS[name])
    for member in VALUES:
        with pytest.raises(InputError, match=f"cifar-100-python/{member}: found"):
            cifar.read(archive(tmp_path, **{member: ATTACKS[name]}))
    assert not Path(MARKER).exists()


@pytest.mark.parametrize("key", ["fine_label_names", "filenames", "fine_labels", "data", "another key"])
def test_a_call_among_the_right_values_is_not_run_either(key: str, tmp_path: Path, workspace: Path) -> None:
    hidden = {member: python2(value | {key: Attack(os.system, COMMAND)}) for member, value in VALUES.items()}
    check_attack(hidden["train"])
    if key == "another key":
        assert set(cifar.read(archive(tmp_path, **hidden))) == {"train", "test"}
    else:
        with pytest.raises(InputError, match="cifar-100-python/"):
            cifar.read(archive(tmp_path, **hidden))
    assert not Path(MARKER).exists()


def long_string(claimed: int) -> bytes:
    return b"\x80\x02T" + struct.pack("<i", claimed) + b"short."


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "exhausted"),
        (b"\x80\x02}", "exhausted"),
        (b"\x80\x02.", "not enough values"),
        (b"\x80\x02NN.", "too many values"),
        (b"\x80\x02t.", "IndexError"),
        (b"\x80\x02\x86.", "IndexError"),
        (b"\x80\x02NNa.", "no attribute 'append'"),
        (b"\x80\x02h\x05.", "KeyError: 5"),
        (b"\x80\x02}K\x01K\x02s.", "a key is not a string"),
        (b"\x80\x02}(U\x01au.", "shorter"),
        (b"\x80\x02]N\x62.", "no attribute 'state'"),
        (b"\xff\xfe", "opcode"),
        (b"\x80\x02Psomething\n.", "the opcode PERSID"),
        (b"\x80\x02\x82\x01.", "the opcode EXT1"),
        (b"\x80\x02c__builtin__\nobject\n)\x81.", "the opcode NEWOBJ"),
        (long_string(2**31 - 1), "expected 2147483647 bytes"),
        (long_string(-1), "byte count < 0"),
        # A tuple so deep that to hash it is fatal.
        (b"\x80\x02})" + 200_000 * b"\x85" + b"K\x01s.", "a key is not a string"),
    ],
)
def test_what_is_no_pickle_of_plain_values_is_a_value_error(content: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=f"found no pickle of plain values .*{words}"):
        pickle_reader.read(content)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_damage_of_any_kind_is_a_value_error() -> None:
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(3000):
        content = np.frombuffer(python2(split(1, 0)), np.uint8).copy()
        places = random.integers(0, len(content) - 3072, 3)
        content[places] = random.integers(0, 256, 3)
        try:
            pickle_reader.read(content.tobytes())
        except ValueError:
            refused += 1
    assert refused > 1000


def peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_few_bytes_cannot_claim_much_memory() -> None:
    assert peak(lambda: pickle_reader.read(b"\x80\x02}r\xff\xff\xff\x7f.")) < 1_000_000  # a place in the memo
    huge = python2(np.zeros((1, 3072), np.uint8)).replace(b"M\x00\x0c", b"J\xff\xff\xff\x7f")
    assert peak(lambda: pickle_reader.read(huge)) < 1_000_000


def test_a_pickle_of_endless_small_values_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_reader, "MOST_OPCODES", 1000)
    assert pickle_reader.read(python2([0] * 400)) == [0] * 400
    with pytest.raises(ValueError, match="more than 1000 opcodes"):
        pickle_reader.read(python2([0] * 1001))


def changed(part: str, **values: object) -> dict[str, bytes]:
    return {part: python2(VALUES[part] | values)}


# An array that claims two thousand million rows.
CLAIMING = changed("test", data=np.zeros((1, 3072), np.uint8))["test"].replace(
    b"K\x01M\x00\x0c\x86", b"J\xff\xff\xff\x7fM\x00\x0c\x86"
)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (changed("train", data=np.zeros((24, 3072), object)), "train: found other data, expected a numpy array of bytes"),
        (changed("train", data=np.zeros((24, 3072), np.int16)), "train: found other data"),
        (changed("train", data=np.zeros((24, 3072), np.uint8, "F")), "train: found other data"),
        (changed("train", data=np.zeros((24, 1024), np.uint8)), "train: found data of 24x1024 in 24576 bytes.*3072 columns"),
        (changed("test", data=[[0] * 3072] * 8), "test: found other data"),
        (changed("test", data=None), "test: found other data"),
        (changed("test", data=np.zeros((7, 3072), np.uint8)), "8 filenames, 8 fine_labels and 7 rows of data"),
        (changed("test", fine_labels=[0] * 7 + [100]), "found other fine_labels, expected a list of numbers below 100"),
        (changed("test", fine_labels=[True] * 8), "found other fine_labels"),
        (changed("test", fine_labels=(0,) * 8), "found other fine_labels"),
        (changed("train", filenames=["../../evil.png"] * 24), "found other filenames"),
        (changed("train", filenames=["/tmp/evil.png"] * 24), "found other filenames"),
        (changed("train", filenames=[["a.png"]] * 24), "found other filenames"),
        (changed("meta", fine_label_names=FINE_LABELS[::-1]), "meta: found other fine_label_names"),
        ({"test": CLAIMING}, "found data of 2147483647x3072 in 3072 bytes"),
        ({"meta": python2([1])}, "meta: found a list, expected a dict"),
        ({"meta": b"not a pickle"}, "meta: "),
    ],
)  # fmt: skip
def test_other_contents_are_refused_in_words(members: dict[str, bytes], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"cifar-100-python.tar.gz: cifar-100-python/.*{words}") as caught:
        cifar.read(archive(tmp_path, **members))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path)
    whole = path.read_bytes()
    for content in (b"", b"<html>", whole[: len(whole) // 2], gzip.compress(b"no tar"), whole[:-200] + 200 * b"x"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"cifar-100-python.tar.gz: found (an incomplete or invalid .tar.gz|no )"):
            cifar.read(path)


def test_only_the_three_members_are_read_and_nothing_is_unpacked(tmp_path: Path, workspace: Path) -> None:
    before = sorted(workspace.rglob("*"))
    path = archive(tmp_path, **{"../evil": b"x", "/tmp/evil": b"x"})
    assert set(cifar.read(path)) == {"train", "test"}
    assert sorted(workspace.rglob("*")) == sorted([*before, path])


def test_a_link_in_the_archive_is_not_followed(tmp_path: Path) -> None:
    buffer = io.BytesIO(gzip.decompress(pack({name: python2(VALUES[name]) for name in ("test", "meta")})))
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        link = tarfile.TarInfo("cifar-100-python/train")
        link.type, link.linkname = tarfile.SYMTYPE, "test"
        tar.addfile(link)
    path = tmp_path / "linked.tar.gz"
    path.write_bytes(gzip.compress(buffer.getvalue()))
    with pytest.raises(InputError, match="found no cifar-100-python/train, expected"):
        cifar.read(path)


def test_a_member_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar, "LARGEST", 200_000)
    with pytest.raises(InputError, match="cifar-100-python/test: found 500000 bytes, expected at most 200000"):
        cifar.read(archive(tmp_path, test=bytes(500_000)))


@pytest.mark.parametrize("classes", [["bicycle", "motorcycle"], ["train", "bicycle"]])
def test_official_becomes_pictures_of_the_chosen_classes(
    classes: list[str], tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"source": "official", "classes": classes, "max_refused": 0.0, "max_near_copies": 0.05}
    set_parameters(Path("params.yaml"), {f"data.scones.{name}": value for name, value in changes.items()})
    body = archive(tmp_path).read_bytes()
    monkeypatch.setattr(official, "SIZE", len(body))
    monkeypatch.setattr(official, "CHECKSUM", f"sha256:{hashlib.sha256(body).hexdigest()}")
    monkeypatch.setattr(official, "download", functools.partial(downloads.download, attempts=3, wait=0.01))
    with file_server({"/cifar-100-python.tar.gz": body}) as server:
        server.faults = [status(503), cut_short]
        monkeypatch.setattr(official, "MIRRORS", [f"{server.url}/cifar-100-python.tar.gz"])
        prepare.main()
    value = VALUES["train"]
    numbers = {FINE_LABELS.index(name): label for label, name in enumerate(classes)}
    expected = [
        f"{row}\t{numbers[fine_label]}\t{name}"
        for row, (fine_label, name) in enumerate(zip(value["fine_labels"], value["filenames"], strict=True))
        if fine_label in numbers
    ]
    assert Path("data/scones/raw/train.lst").read_text().splitlines() == expected
    assert len(list(Path("data/scones/raw/train").iterdir())) == 12
    assert len(list(Path("data/scones/raw/test").iterdir())) == 4
