"""Decode each photograph once, resize it, and pack the pixels into shards for training, validation and test.

`store.py` describes the format. `about.json` holds the source, the shorter side in pixels, the classes with their
coordinates, and the mean and standard deviation of the training part's pixels by channel, in [0, 1].
Near copies of training photographs that get into the validation split are listed in `near_copies.csv`; above a fraction
of them, featurize fails. With `engine.storage` set, the training shards stay there, and only their index is stored here.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm
from upath import UPath

from stages.common import config, files
from stages.common.errors import InputError
from stages.common.program import run
from stages.common.sources import copies
from stages.common.sources.copies import NearCopy
from stages.common.sources.splits import stratified
from stages.engine import dispatch
from stages.engine.config import Engine
from stages.landmarks import packing, photographs, store
from stages.landmarks.config import Data
from stages.landmarks.packing import Done
from stages.landmarks.photographs import Photograph

RAW = Path("data/landmarks/raw")
FEATURES = Path("data/landmarks/features")


def split(settings: Data) -> dict[str, list[Photograph]]:
    """Return the photographs of each part: the source's validation split, or `valid_fraction` of the training photographs.

    Raises InputError if none are left for training or for validation.
    """
    known, test = photographs.read_index(RAW, "train"), photographs.read_index(RAW, "test")
    if own := photographs.read_index(RAW, "valid"):
        return {"train": known, "valid": own, "test": test}
    chosen = stratified(np.array([one.label for one in known]), settings.valid_fraction, settings.seed)
    train = [one for one, aside in zip(known, chosen, strict=True) if not aside]
    valid = [one for one, aside in zip(known, chosen, strict=True) if aside]
    if not train or not valid:
        selects = f"selects {len(valid)} of {len(known)} training photographs for validation"
        raise InputError(
            f"{RAW / 'images.csv'}: data.landmarks.valid_fraction = {settings.valid_fraction} {selects}, expected at least 1 in "
            "each part: add photographs or change valid_fraction"
        )
    return {"train": train, "valid": valid, "test": test}


def near_copies(parts: dict[str, list[Photograph]], allowed: float) -> list[NearCopy]:
    """Return the validation photographs that look like a training one. Raise InputError if their fraction is above ``allowed``."""
    known = photographs.read_looks(RAW)
    looks = {
        part: {f"{one.split}/{one.path}": known[one.split, one.path] for one in parts[part]}
        for part in ("train", "valid")
    }
    found = copies.near_copies(looks)
    setting = "data.landmarks.photographs.max_near_copies"
    if note := copies.check_near(found, looks, RAW / "images.csv", setting, allowed):
        print(f"warning: {note}")
    return found


@contextmanager
def exchange(storage: str | None, settings: Data, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield where workers read the zips and where they write the shards: on this machine, or in the shared ``storage``.

    The folder's name in the storage is a hash of the shards' inputs. Validation and test shards are then moved to
    ``folder``.
    """
    if storage is None:
        yield str(RAW), str(folder)
        return
    made_of = files.digest(RAW / "images.csv") + settings.model_dump_json(exclude={"source", "photographs"})
    root = UPath(storage) if "://" in storage else UPath(files.home() / storage)
    place = root / "landmarks" / hashlib.sha256(made_of.encode()).hexdigest()[:16]
    archives = [f"{split}.zip" for split in photographs.splits(RAW)]
    try:
        if not place.protocol:
            place.mkdir(parents=True, exist_ok=True)
        for name in archives:
            place.fs.put_file(str(RAW / name), (place / name).path)
    except Exception as error:  # fsspec's file systems raise different errors
        remedy = "check the address, the network and the credentials"
        raise InputError(f"engine.storage = {storage}: {type(error).__name__}: {error}: {remedy}") from None
    yield str(place), str(place)
    for shard in [*place.glob("valid-*.tar"), *place.glob("test-*.tar")]:
        place.fs.get_file(shard.path, str(folder / shard.name))
        shard.unlink()
    for name in archives:
        (place / name).unlink()


def mean_and_std(moments: NDArray[np.int64]) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation by channel, in [0, 1], rounded to six places.

    ``moments`` (3, 3) are the number of pixels, their sums and the sums of their squares, by channel.
    """
    count, sums, squares = moments
    mean = sums / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 1.0))  # never 0, even if all pictures have one colour
    return (mean / 255).round(6).tolist(), (std / 255).round(6).tolist()


def main() -> None:
    settings, storage = config.load("data.landmarks", Data), config.load("engine", Engine).storage
    files.require(RAW, "prepare@landmarks")
    parts = split(settings)
    near = near_copies(parts, settings.photographs.max_near_copies)
    members = {split: photographs.members(RAW, split) for split in photographs.splits(RAW)}
    done: dict[str, list[Done]] = {part: [] for part in parts}
    with files.new_folder(FEATURES) as folder:
        with exchange(storage, settings, folder) as (raw, target):
            chosen_of = [(part, chosen, members[chosen[0].split]) for part, chosen in parts.items()]
            work = [task for one in chosen_of for task in packing.tasks(*one, settings, raw, target)]
            images = sum(len(chosen) for chosen in parts.values())
            with tqdm(desc="landmarks photographs", total=images, unit=" images", unit_scale=True) as bar:
                for task, packed in zip(work, dispatch.each(packing.pack, work), strict=True):
                    done[task.part].append(packed)
                    bar.update(len(task.chosen))
        for part, chosen in parts.items():
            place = target if storage and part == "train" else ""
            store.write_index(folder, part, [shard for shard, _ in done[part]], [one.label for one in chosen], place)
        mean, std = mean_and_std(sum((moments for _, moments in done["train"]), np.zeros((3, 3), np.int64)))
        keys = ("name", "latitude", "longitude")
        classes = [dict(zip(keys, place, strict=False)) for place in photographs.read_classes(RAW)]
        source = files.read_json(RAW / "about.json")["source"]
        about = {"source": source, "size": settings.size, "mean": mean, "std": std, "classes": classes}
        files.write_json(folder / "about.json", about)
        copies.write_near(folder / "near_copies.csv", near)
    counts = ", ".join(f"{len(chosen)} {part}" for part, chosen in parts.items())
    print(f"{counts}: photographs in {len(work)} shards, in {FEATURES}" + (f" and {target}" if storage else ""))


if __name__ == "__main__":
    run(main)
