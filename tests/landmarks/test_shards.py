"""Shards of photographs: what other programs read, what training reads, from a folder and from a storage."""

import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset
from conftest import Change
from small_photographs import contents

from stages.common import files
from stages.common.errors import InputError
from stages.landmarks import featurize, prepare, store, train
from stages.landmarks.model import TRAINED
from stages.landmarks.store import Pixels, Shard, Store


@pytest.fixture
def change(change: Change, photographs: Path) -> Change:
    """Stored so large that a shard has few of them."""
    change(
        {
            "data.landmarks.source": str(photographs),
            "data.landmarks.size": 200,
            "data.landmarks.shard": 1,
            "data.landmarks.valid_fraction": 0.25,
            "landmarks.network": "residual",
            "landmarks.residual.image_size": 16,
            "landmarks.residual.width": 4,
            "landmarks.epochs": 2,
            "landmarks.batch_size": 8,
            "landmarks.precision": "float32",
        }
    )
    return change


def images(count: int) -> list[Pixels]:
    random = np.random.default_rng(0)
    sizes = random.integers(4, 20, (count, 2))
    return [random.integers(0, 256, (height, width, 3), np.uint8) for height, width in sizes]


def write(folder: Path, pictures: list[Pixels], each: int, place: Path | None = None) -> None:
    """A part named train, so many images ``each`` shard, in ``folder`` or at ``place``."""
    labels, shards = list(range(len(pictures))), list[Shard]()
    for first in range(0, len(pictures), each):
        some = slice(first, first + each)
        path = (place or folder) / store.shard_name("train", len(shards))
        shards.append(store.write_shard(path, first, pictures[some], labels[some]))
    store.write_index(folder, "train", shards, labels, str(place or ""))


def test_webdataset_reads_the_shards_which_have_no_trace_of_their_author_or_time(tmp_path: Path) -> None:
    pictures = images(10)
    write(tmp_path, pictures, 4)
    paths = [str(path) for path in sorted(tmp_path.glob("*.tar"))]
    assert [Path(path).name for path in paths] == ["train-00000.tar", "train-00001.tar", "train-00002.tar"]
    found = list(webdataset.WebDataset(paths, shardshuffle=False).decode())
    assert [sample["__key__"] for sample in found] == [f"{place:09}" for place in range(10)]
    assert [sample["cls"] for sample in found] == list(range(10))
    assert all(np.array_equal(sample["npy"], picture) for sample, picture in zip(found, pictures, strict=True))
    with tarfile.open(paths[2]) as tar:
        assert [member.name for member in tar] == ["000000008.npy", "000000008.cls", "000000009.npy", "000000009.cls"]
        made = {(member.mtime, member.uid, member.gid, member.uname, member.gname) for member in tar}
        assert made == {(0, 0, 0, "", "")}


@pytest.mark.parametrize("each", [1, 4, 10, 99])
def test_images_are_found_in_whichever_shard_they_are(tmp_path: Path, each: int) -> None:
    pictures = images(10)
    write(tmp_path, pictures, each)
    stored = Store(tmp_path, "train")
    assert all(np.array_equal(stored.image(place), picture) for place, picture in enumerate(pictures))
    crops = stored.crops(np.array([9, 0, 4]), 4)
    top, left = (pictures[9].shape[0] - 4) // 2, (pictures[9].shape[1] - 4) // 2
    assert np.array_equal(crops[0].permute(1, 2, 0), pictures[9][top : top + 4, left : left + 4])
    order = stored.order(torch.Generator().manual_seed(3))
    assert torch.equal(order, torch.randperm(10, generator=torch.Generator().manual_seed(3))), "shuffled as a whole"


def test_shards_of_a_storage_are_shuffled_in_windows_and_fetched_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "WINDOW", 2)
    fetch, fetched = store._fetch, list[str]()

    def watched(place: str, shard: str, digest: str) -> Pixels:
        fetched.append(shard)
        return fetch(place, shard, digest)

    monkeypatch.setattr(store, "_fetch", watched)
    for name in ("storage", "scratch"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    pictures = images(50)
    write(tmp_path, pictures, 7, tmp_path / "storage")
    stored = Store(tmp_path, "train")
    for seed in (0, 1):
        fetched.clear()
        order = stored.order(torch.Generator().manual_seed(seed))
        assert sorted(order.tolist()) == list(range(50))
        shards = [place // 7 for place in order.tolist()]
        turns = list(dict.fromkeys(shards))
        assert turns != sorted(turns)
        ends = np.cumsum([sum(shard in turns[begin : begin + 2] for shard in shards) for begin in range(0, 8, 2)])
        assert all(set(shards[:end]) == set(turns[: 2 * window]) for window, end in enumerate(ends, 1))
        assert shards[: ends[0]] != sorted(shards[: ends[0]], key=turns.index), "not shuffled within the window"
        for place in order.tolist():
            assert np.array_equal(stored.image(place), pictures[place])
            assert len(stored._mapped) <= 2
        assert len(fetched) == len(set(fetched))
        assert len(fetched) >= 8 - 2
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_shard_of_a_storage_that_is_not_as_it_was_is_refused(tmp_path: Path, damage: str) -> None:
    (tmp_path / "storage").mkdir()
    write(tmp_path, images(8), 4, tmp_path / "storage")
    shard = tmp_path / "storage" / "train-00001.tar"
    shard.write_bytes(shard.read_bytes()[:-1] + b"!") if damage == "changed" else shard.unlink()
    stored = Store(tmp_path, "train")
    stored.image(0)
    with pytest.raises(InputError, match=r"train-00001\.tar.*featurize@landmarks"):
        stored.image(7)


def test_neither_the_size_of_shards_nor_a_storage_changes_what_is_learnt(change: Change, tmp_path: Path) -> None:
    prepare.main()
    featurize.main()
    folder = Path("data/landmarks/features")
    few = {part: Store(folder, part) for part in ("train", "valid", "test")}
    assert all(path.stat().st_size < 1.1 * 2**20 for path in folder.glob("*.tar"))
    assert few["train"].shards.max() > 3
    pictures = {part: [few[part].image(place).copy() for place in range(len(few[part]))] for part in few}
    about = files.read_json(folder / "about.json")
    train.main()
    trained = contents(TRAINED)
    shards = {name: content for name, content in contents(folder).items() if name.endswith(".tar")}
    change({"engine.storage": str(tmp_path / "storage")})
    featurize.main()
    there = {path.name: path.read_bytes() for path in (tmp_path / "storage").rglob("*") if path.is_file()}
    assert there == {name: content for name, content in shards.items() if name.startswith("train-")}
    assert {path.name: path.read_bytes() for path in folder.glob("*.tar")} | there == shards
    assert not [*folder.glob("train-*.tar")]
    train.main()
    assert contents(TRAINED) == trained
    change({"engine.storage": None, "data.landmarks.shard": 64})
    featurize.main()
    for part, before in pictures.items():
        whole = Store(folder, part)
        assert torch.equal(whole.labels, few[part].labels)
        assert whole.shards.tolist() == [0] * len(whole)
        assert all(np.array_equal(whole.image(place), picture) for place, picture in enumerate(before))
    assert files.read_json(folder / "about.json") == about
    train.main()
    assert contents(TRAINED) == trained


def test_a_storage_that_is_not_there_and_a_damaged_photograph_are_one_line(change: Change, tmp_path: Path) -> None:
    prepare.main()
    (tmp_path / "file").write_text("")
    change({"engine.storage": str(tmp_path / "file" / "storage")})
    with pytest.raises(InputError, match=r"engine\.storage = .*storage: NotADirectoryError"):
        featurize.main()
    change({"engine.storage": None})
    archive = Path("data/landmarks/raw/train.zip")
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 255
    archive.write_bytes(content)
    with pytest.raises(InputError, match=r"train\.zip: \w+/\d+\.\w+: bad CRC-32.*prepare@landmarks"):
        featurize.main()
    assert not Path("data/landmarks/features").exists()
