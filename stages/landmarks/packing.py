"""Pack shards in featurize's processes, on this or other machines: decode and resize the photographs and write them."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile, ZipInfo

import numpy as np
import torch
from numpy.typing import NDArray
from upath import UPath

from stages.common import temporary
from stages.common.errors import InputError
from stages.common.vision import images, pixels
from stages.landmarks import photographs, store
from stages.landmarks.config import Data
from stages.landmarks.photographs import Photograph
from stages.landmarks.store import Pixels, Shard


class Task(NamedTuple):
    """A shard to write. Its photographs are consecutive in their part."""

    part: str
    number: int
    first: int
    """Index of its first photograph in the part."""
    chosen: list[tuple[Photograph, ZipInfo]]
    size: int
    """Pixels of the shorter side."""
    raw: str
    """The folder or URL with the zips."""
    features: str
    """The folder or URL to write to."""


Done = tuple[Shard, NDArray[np.int64]]
"""The index data of a written shard, and (3, 3): the number of its pixels, their sums and the sums of their squares, by channel."""


def tasks(
    part: str, chosen: Sequence[Photograph], members: Mapping[str, ZipInfo], settings: Data, raw: str, features: str
) -> list[Task]:
    """Return the shards of ``part``: each has as many photographs as fit into `settings.shard` MiB of pixels, at least one.

    ``members`` map a photograph's path to its entry in the zip.
    """
    begins, full = [0], 0.0
    for place, photograph in enumerate(chosen):
        shorter, longer = sorted((photograph.width, photograph.height))
        more = 3 * settings.size**2 * longer / shorter / 2**20
        if place > begins[-1] and full + more > settings.shard:
            begins.append(place)
            full = 0.0
        full += more
    pairs = [(photograph, members[photograph.path]) for photograph in chosen]
    return [
        Task(part, number, begin, pairs[begin:end], settings.size, raw, features)
        for number, (begin, end) in enumerate(zip(begins, [*begins[1:], len(pairs)], strict=True))
        if begin < end  # there may be no photographs
    ]


def pack(task: Task) -> Done:
    """Write the shard, with one photograph in memory at a time. Raises InputError for a damaged photograph."""
    torch.set_num_threads(1)  # there is one process per core
    moments = np.zeros((3, 3), np.int64)
    labels = [photograph.label for photograph, _ in task.chosen]
    target, passing = UPath(task.features) / store.shard_name(task.part, task.number), _decoded(task, moments)
    if not target.protocol:
        shard = store.write_shard(Path(target.path), task.first, passing, labels)
    else:
        with temporary.folder("shard") as scratch:
            here = scratch / target.name
            shard = store.write_shard(here, task.first, passing, labels)
            target.fs.put_file(str(here), target.path)
    return shard, moments


def _decoded(task: Task, moments: NDArray[np.int64]) -> Iterator[Pixels]:
    """Yield the photographs as uint8 (H, W, 3), with a shorter side of ``size`` pixels. Add their statistics to ``moments``."""
    source = UPath(task.raw) / f"{task.chosen[0][0].split}.zip"
    with source.open("rb") as archive:
        for photograph, member in task.chosen:
            try:
                decoded = images.decode(photographs.read(archive, member), photograph.width * photograph.height)
            except (images.ImageError, BadZipFile, struct.error) as error:
                remedy = "run `dvc repro -f prepare@landmarks` to recreate it"
                raise InputError(f"{source}: {photograph.path}: {error}: {remedy}") from None
            image = torch.from_numpy(decoded).permute(2, 0, 1)[None]
            resized: Pixels = pixels.resize_shorter(image, task.size)[0].permute(1, 2, 0).numpy()
            values = resized.reshape(-1, 3).astype(np.int64)
            moments += [[len(values)] * 3, values.sum(0), (values**2).sum(0)]
            yield resized
