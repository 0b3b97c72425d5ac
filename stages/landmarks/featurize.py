"""Decodes each photograph once, resizes it, and packs the pixels: training, validation and test part.

`store.py` says what the parts look like. `about.json` holds the source, the shorter side in pixels, the classes with their
places, and the mean and standard deviation of the training part's pixels by channel, in [0, 1].
"""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from stages.common import config, files, images
from stages.common.program import InputError, run
from stages.common.splits import stratified
from stages.common.vision import pixels
from stages.landmarks import photographs, store
from stages.landmarks.config import Data
from stages.landmarks.photographs import Photograph
from stages.landmarks.store import Pixels

RAW = Path("data/landmarks/raw")
FEATURES = Path("data/landmarks/features")


class Decoded(Dataset[Pixels]):
    """Photographs of one split as uint8 (H, W, 3), the shorter side ``size`` pixels: what the loader's processes make."""

    def __init__(self, chosen: list[Photograph], size: int) -> None:
        self.chosen, self.size = chosen, size
        self.archive: zipfile.ZipFile | None = None

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> Pixels:
        photograph = self.chosen[index]
        if self.archive is None:  # opened in each process: they would share a file's position otherwise
            self.archive = photographs.open_archive(RAW, photograph.split)
        content = self.archive.read(photograph.path)
        image = torch.from_numpy(images.decode(content, photograph.width * photograph.height))
        resized: Pixels = pixels.resize_shorter(image.permute(2, 0, 1)[None], self.size)[0].permute(1, 2, 0).numpy()
        return resized


class Moments:
    """Mean and standard deviation of pixels by channel, added up in whole numbers as the images go by."""

    def __init__(self) -> None:
        self.count, self.sums, self.squares = 0, np.zeros(3, np.int64), np.zeros(3, np.int64)

    def watch(self, passing: Iterator[Pixels]) -> Iterator[Pixels]:
        for image in passing:
            values = image.reshape(-1, 3).astype(np.int64)
            self.count += len(values)
            self.sums += values.sum(0)
            self.squares += (values**2).sum(0)
            yield image

    def mean_and_std(self) -> tuple[list[float], list[float]]:
        """In [0, 1], rounded to six places."""
        mean = self.sums / self.count
        std = np.sqrt(np.maximum(self.squares / self.count - mean**2, 1.0))  # never 0, were all pictures of one colour
        return (mean / 255).round(6).tolist(), (std / 255).round(6).tolist()


def decode(chosen: list[Photograph], size: int, part: str) -> Iterator[Pixels]:
    """The photographs one after the other, decoded by as many processes as there are cores, a few ahead."""
    workers = min(len(os.sched_getaffinity(0)), 16)
    # As arrays: a tensor would take a way of its own between processes, slower for small pictures.
    loader = DataLoader(Decoded(chosen, size), batch_size=8, num_workers=workers, collate_fn=list)
    with tqdm(desc=f"landmarks {part}", total=len(chosen), unit=" images", unit_scale=True) as bar:
        for batch in loader:
            yield from batch
            bar.update(len(batch))


def main() -> None:
    settings = config.load("data.landmarks", Data)
    known = photographs.read_index(files.require(RAW, "prepare@landmarks"), "train")
    test = photographs.read_index(RAW, "test")
    chosen = stratified(np.array([one.label for one in known]), settings.valid_fraction, settings.seed)
    train = [one for one, aside in zip(known, chosen, strict=True) if not aside]
    valid = [one for one, aside in zip(known, chosen, strict=True) if aside]
    if not train or not valid:
        raise InputError(
            f"{RAW / 'images.csv'}: {len(valid)} of {len(known)} training photographs fall to validation with "
            f"data.landmarks.valid_fraction = {settings.valid_fraction}, expected at least 1 on each side: give more, or another share"
        )
    moments = Moments()
    with files.new_folder(FEATURES) as folder:
        store.write(folder, "train", moments.watch(decode(train, settings.size, "train")), [one.label for one in train])
        store.write(folder, "valid", decode(valid, settings.size, "valid"), [one.label for one in valid])
        store.write(folder, "test", decode(test, settings.size, "test"), [one.label for one in test])
        mean, std = moments.mean_and_std()
        classes = [
            {"name": place.name, "latitude": place.latitude, "longitude": place.longitude}
            for place in photographs.read_classes(RAW)
        ]
        source = files.read_json(RAW / "about.json")["source"]
        about = {"source": source, "size": settings.size, "mean": mean, "std": std, "classes": classes}
        files.write_json(folder / "about.json", about)
    print(f"{len(train)} training, {len(valid)} validation and {len(test)} test photographs in {FEATURES}")


if __name__ == "__main__":
    run(main)
