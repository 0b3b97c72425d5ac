"""Pack the pictures and hold out the same fraction of each class's training pictures for validation. Takes 1 s.

Validation pictures that look like a training picture are listed in `near_copies.csv`; above a fraction of them, featurize fails.

Writes `train.npz`, `valid.npz` and `test.npz`, each with the arrays of `layout.Pictures`. The model does the scaling and
normalisation.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages.common import config, files
from stages.common.errors import InputError
from stages.common.program import run
from stages.common.sources import copies
from stages.common.sources.splits import stratified
from stages.common.vision.images import decode
from stages.scones import layout
from stages.scones.config import Data
from stages.scones.layout import PARTS, Pictures

RAW = Path("data/scones/raw")
FEATURES = Path("data/scones/features")


def pack(folder: Path, part: str, classes: Sequence[str], side: int) -> Pictures:
    """Return the pictures of ``part``, squares of ``side`` pixels, in the order of its list."""
    entries = layout.read_list(folder, part, classes)
    images = [decode((folder / part / entry.name).read_bytes(), side * side) for entry in entries]
    labels, names = [entry.label for entry in entries], [entry.name for entry in entries]
    return Pictures(np.stack(images), np.array(labels, np.int64), np.array(names))


def set_aside(pictures: Pictures, fraction: float, seed: int) -> tuple[Pictures, Pictures]:
    """Return the pictures for training, and ``fraction`` of each class for validation.

    Raises InputError if a class is too small for a validation picture.
    """
    chosen = stratified(pictures.labels, fraction, seed)
    for label, count in zip(*np.unique(pictures.labels, return_counts=True), strict=True):
        if not chosen[pictures.labels == label].any():
            raise InputError(
                f"{RAW / 'train.lst'}: found {count} pictures with label {label}, of which data.scones.valid_fraction = {fraction} selects "
                "none for validation, expected at least 1: add pictures or increase valid_fraction"
            )
    return pictures.of(~chosen), pictures.of(chosen)


def main() -> None:
    settings = config.load("data.scones", Data)
    about = files.read_json(files.require(RAW, "prepare@scones") / "about.json")
    known, test = (pack(RAW, part, about["classes"], settings.side) for part in PARTS)
    train, valid = set_aside(known, settings.valid_fraction, settings.seed)
    parts = {"train": train, "valid": valid}
    looks = {
        part: {f"train/{name}": copies.look(image) for name, image in zip(own.names.tolist(), own.images, strict=True)}
        for part, own in parts.items()
    }
    near = copies.near_copies(looks)
    note = copies.check_near(near, looks, RAW / "train.lst", "data.scones.max_near_copies", settings.max_near_copies)
    if note:
        print(f"warning: {note}")
    with files.new_folder(FEATURES) as folder:
        copies.write_near(folder / "near_copies.csv", near)
        for name, pictures in {"train": train, "valid": valid, "test": test}.items():
            files.write_arrays(folder / f"{name}.npz", **pictures._asdict())
        files.write_json(folder / "about.json", about)
    counts = f"{len(train.labels)} training, {len(valid.labels)} validation and {len(test.labels)} test pictures"
    print(f"{counts} in {FEATURES}")


if __name__ == "__main__":
    run(main)
