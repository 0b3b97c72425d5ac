"""Photographs as shards: tar files of pixels that torch maps into memory, or reads one by one from an object store.

`<part>-00000.tar`, ... have WebDataset's layout: for each image `000000012.npy`, uint8 (height, width, 3), and
`000000012.cls`, its label as text. The number is the image's index in the part. Nothing is compressed. So a local shard
is memory-mapped, and a batch reads only its crops. A shard in a storage is one sequential read of about 32 MiB.
`webdataset`, Ray Data, torchdata and `tar` can read the shards. `<part>.npz` is the index: `shards` int32 (N),
`offsets` int64 (N) of the pixels in their shard, `sizes` int32 (N, 2) of height and width, `labels` int64 (N),
`digests` (S), the SHA-256 of each shard, and `place`, the URL of the shards' folder, empty if they are beside the
index.
"""

import hashlib
import io
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from upath import UPath

from stages.common import files
from stages.common.errors import InputError

Pixels = NDArray[np.uint8]

WINDOW = 16
"""Shards of a storage that are on this machine's disk at a time. Images are shuffled among them while the next ones are
fetched."""


class Shard(NamedTuple):
    """The index data of a shard and its n images."""

    offsets: NDArray[np.int64]
    sizes: NDArray[np.int32]
    digest: str


def shard_name(part: str, shard: int) -> str:
    return f"{part}-{shard:05}.tar"


def write_shard(path: Path, first: int, images: Iterable[Pixels], labels: Sequence[int]) -> Shard:
    """Store ``images``, each uint8 (H, W, 3), with one in memory at a time. ``first`` is the index of the first in the part.

    The file replaces ``path`` when it is complete. The same images give the same bytes.
    """
    offsets, sizes = [], []
    with files.new_file(path) as partial_file:
        with partial_file.open("wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for number, (image, label) in enumerate(zip(images, labels, strict=True), first):
                array = io.BytesIO()
                np.save(array, np.ascontiguousarray(image))
                offsets.append(file.tell() + tarfile.BLOCKSIZE + array.tell() - image.nbytes)
                sizes.append(image.shape[:2])
                _add(tar, f"{number:09}.npy", array.getvalue())
                _add(tar, f"{number:09}.cls", str(label).encode())
        digest = files.digest(partial_file)
    return Shard(np.array(offsets, np.int64), np.array(sizes, np.int32).reshape(-1, 2), digest)


def _add(tar: tarfile.TarFile, member: str, content: bytes) -> None:
    about = tarfile.TarInfo(member)  # no owner, dated 1970-01-01
    about.size = len(content)
    tar.addfile(about, io.BytesIO(content))


def write_index(folder: Path, part: str, shards: Sequence[Shard], labels: Sequence[int], place: str = "") -> None:
    """Write the index of ``part``. ``shards`` hold the images of all ``labels``, in this order."""
    files.write_arrays(
        folder / f"{part}.npz",
        shards=np.repeat(np.arange(len(shards), dtype=np.int32), [len(shard.offsets) for shard in shards]),
        offsets=np.concatenate([np.empty(0, np.int64), *(shard.offsets for shard in shards)]),
        sizes=np.concatenate([np.empty((0, 2), np.int32), *(shard.sizes for shard in shards)]),
        labels=np.array(labels, np.int64),
        digests=np.array([shard.digest for shard in shards], "U64"),
        place=np.array(place),
    )


class Store:
    """The images of one part of the features, read on demand from disk or from the storage."""

    def __init__(self, folder: Path, part: str) -> None:
        with np.load(folder / f"{part}.npz") as index:
            if "shards" not in index:
                raise InputError(f"{folder / part}.npz: no index of shards: run `dvc repro featurize@landmarks`")
            self.shards, self.offsets, self.sizes = index["shards"], index["offsets"], index["sizes"]
            self.labels = torch.from_numpy(index["labels"])
            digests, place = index["digests"].tolist(), str(index["place"])
        self._sources = [(shard_name(part, number), digest) for number, digest in enumerate(digests)]
        self._folder, self._place = folder, place
        self._mapped: dict[int, Pixels] = {}
        self._coming: dict[int, Future[Pixels]] = {}
        self._after: dict[int, int] = {}
        self._threads = ThreadPoolExecutor(4, "shards")  # starts no thread before the first use

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> Pixels:
        """Return one image, uint8 (H, W, 3), as a view of its shard."""
        height, width = map(int, self.sizes[index])
        begin, shard = int(self.offsets[index]), int(self.shards[index])
        content = self._mapped[shard] if shard in self._mapped else self._open(shard)
        view: Pixels = content[begin : begin + 3 * height * width].reshape(height, width, 3)
        return view

    def crops(self, indices: NDArray[np.int64], side: int, places: NDArray[np.float64] | None = None) -> Tensor:
        """Return a ``side`` x ``side`` square of each image, uint8 (N, 3, side, side), channels last in memory.

        ``places`` (N, 2) in [0, 1) are the positions from top to bottom and from left to right. None: the middle.
        """
        squares = np.empty((len(indices), side, side, 3), np.uint8)
        free = self.sizes[indices] - side
        corners = free // 2 if places is None else (places * (free + 1)).astype(np.int64)
        for square, index, (top, left) in zip(squares, indices.tolist(), corners, strict=True):
            square[:] = self.image(index)[top : top + side, left : left + side]
        return torch.from_numpy(squares).permute(0, 3, 1, 2)

    def order(self, generator: torch.Generator) -> Tensor:
        """Return an epoch's order, int64 (N): all images shuffled or, with more than `WINDOW` shards in a storage, by window.

        Windows consist of shards in random order. The next window's shards are fetched while the current ones are read.
        """
        if not self._place or len(self._sources) <= WINDOW:
            return torch.randperm(len(self), generator=generator)
        turns = torch.randperm(len(self._sources), generator=generator)
        self._coming.clear()  # left over if an epoch ended early
        self._after = dict(zip(turns.tolist(), turns[WINDOW:].tolist(), strict=False))
        by_shard = torch.arange(len(self)).split(np.bincount(self.shards).tolist())
        windows = [torch.cat([by_shard[shard] for shard in window.tolist()]) for window in turns.split(WINDOW)]
        return torch.cat([window[torch.randperm(len(window), generator=generator)] for window in windows])

    def _open(self, shard: int) -> Pixels:
        """Return the bytes of a shard. At most two windows of a storage's shards are kept; the oldest is released first."""
        if not self._place:
            self._mapped[shard] = _map(self._folder / self._sources[shard][0])
            return self._mapped[shard]
        for number in (shard, self._after.get(shard)):
            if number is not None and number not in self._mapped and number not in self._coming:
                self._coming[number] = self._threads.submit(_fetch, self._place, *self._sources[number])
        while len(self._mapped) >= WINDOW:
            del self._mapped[next(iter(self._mapped))]
        self._mapped[shard] = self._coming.pop(shard).result()
        return self._mapped[shard]


def _map(path: Path) -> Pixels:
    """Map the file into memory and close it again: there may be more shards than open files allowed."""
    mapped = torch.from_file(str(path), size=path.stat().st_size, dtype=torch.uint8)
    array: Pixels = mapped.numpy()
    return array


def _fetch(place: str, shard: str, digest: str) -> Pixels:
    """Fetch a shard of a storage into a scratch file, whose disk space is freed when the array is deleted."""
    source = UPath(place) / shard
    with tempfile.NamedTemporaryFile(prefix="shard-") as scratch:
        found = hashlib.sha256()
        try:
            with source.open("rb") as remote:
                for block in iter(partial(remote.read, 1 << 20), b""):
                    found.update(block)
                    scratch.write(block)
        except OSError as error:
            raise InputError(f"{source}: {error}: grant access to it, or run `dvc repro featurize@landmarks`") from None
        scratch.flush()
        if found.hexdigest() != digest:
            raise InputError(f"{source}: content differs from featurize's: run `dvc repro -f featurize@landmarks`")
        return _map(Path(scratch.name))
