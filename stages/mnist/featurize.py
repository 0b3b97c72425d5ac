"""Hold out the same fraction of each digit's training images for validation. Takes 1 s for 70,000 images.

Writes `train.npz`, `valid.npz` and `test.npz`: `images` uint8 (N, 28, 28), 0 background to 255 ink, and `labels` uint8
(N). The model does the scaling and normalisation.
"""

from pathlib import Path

import numpy as np

from stages.common import config, files
from stages.common.errors import InputError
from stages.common.program import run
from stages.common.sources.splits import stratified
from stages.mnist.config import Data

RAW = Path("data/mnist/raw")
FEATURES = Path("data/mnist/features")


def main() -> None:
    settings = config.load("data.mnist", Data)
    with np.load(files.require(RAW, "prepare@mnist") / "train.npz") as raw:
        images, labels = raw["images"], raw["labels"]
    with np.load(RAW / "test.npz") as raw:
        test = dict(raw)
    chosen = stratified(labels, settings.valid_fraction, settings.seed)
    if not 0 < chosen.sum() < len(chosen):
        raise InputError(
            f"{RAW / 'train.npz'}: data.mnist.valid_fraction = {settings.valid_fraction} selects {chosen.sum()} of {len(chosen)} training "
            "images for validation, expected at least 1 in each part: add images or change valid_fraction"
        )
    with files.new_folder(FEATURES) as folder:
        files.write_arrays(folder / "train.npz", images=images[~chosen], labels=labels[~chosen])
        files.write_arrays(folder / "valid.npz", images=images[chosen], labels=labels[chosen])
        files.write_arrays(folder / "test.npz", **test)
        files.write_json(folder / "about.json", files.read_json(RAW / "about.json"))
    print(f"{(~chosen).sum()} training, {chosen.sum()} validation and {len(test['labels'])} test images in {FEATURES}")


if __name__ == "__main__":
    run(main)
