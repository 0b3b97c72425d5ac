"""Decodes and resizes the photographs of a shard and writes it: what the processes of featurize do, here or on other machines."""

import struct
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from upath import UPath

from stages.common.errors import InputError
from stages.common.vision import images, pixels
from stages.landmarks import photographs, store
from stages.landmarks.config import Data
from stages.landmarks.photographs import Member, Photograph
from stages.landmarks.store import Pixels, Shard


class Task(NamedTuple):
    """A shard to be made, of photographs that stand one after the other in their part."""

    part: str
    number: int
    first: int
    """The place in the part of its first photograph."""
    chosen: list[tuple[Photograph, Member]]
    size: int
    """Pixels of the shorter side."""
    raw: str
    """The folder or URL with the zips."""
    features: str
    """The folder or URL to write to."""


class Done(NamedTuple):
    """What is known of a shard that is written."""

    shard: Shard
    moments: NDArray[np.int64]
    """(3, 3): the number of pixels, their sums and the sums of their squares, by channel."""


def tasks(
    part: str, chosen: Sequence[Photograph], members: Mapping[str, Member], settings: Data, raw: str, features: str
) -> list[Task]:
    """The shards of ``part``: in each as many photographs as `settings.shard` MiB of pixels hold, and at least one.

    ``members`` say where each lies in its zip, by its path.
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
        if begin < end  # there may be no photographs at all
    ]


def pack(task: Task) -> Done:
    """Write the shard, one photograph in memory at a time. Once more gives the same. Raises InputError for a damaged photograph."""
    torch.set_num_threads(1)  # there is a process a core
    moments = np.zeros((3, 3), np.int64)
    labels = [photograph.label for photograph, _ in task.chosen]
    target, passing = UPath(task.features) / store.shard_name(task.part, task.number), _watched(_decoded(task), moments)
    if not target.protocol:
        shard = store.write_shard(Path(target.path), task.first, passing, labels)
    else:
        with tempfile.TemporaryDirectory(prefix="shard-") as scratch:
            here = Path(scratch) / target.name
            shard = store.write_shard(here, task.first, passing, labels)
            target.fs.put_file(str(here), target.path)
    return Done(shard, moments)


def _decoded(task: Task) -> Iterator[Pixels]:
    """The photographs as uint8 (H, W, 3), the shorter side ``size`` pixels."""
    source = UPath(task.raw) / f"{task.chosen[0][0].split}.zip"
    with source.open("rb") as archive:
        for photograph, member in task.chosen:
            try:
                decoded = images.decode(photographs.read(archive, member), photograph.width * photograph.height)
            except (images.ImageError, zipfile.BadZipFile, struct.error) as error:
                remedy = "`dvc repro -f prepare@landmarks` makes it anew"
                raise InputError(f"{source}: {photograph.path}: {error}: {remedy}") from None
            image = torch.from_numpy(decoded).permute(2, 0, 1)[None]
            resized: Pixels = pixels.resize_shorter(image, task.size)[0].permute(1, 2, 0).numpy()
            yield resized


def _watched(passing: Iterator[Pixels], moments: NDArray[np.int64]) -> Iterator[Pixels]:
    """The images; ``moments`` grow as they go by."""
    for image in passing:
        values = image.reshape(-1, 3).astype(np.int64)
        moments += [[len(values)] * 3, values.sum(0), (values**2).sum(0)]
        yield image
