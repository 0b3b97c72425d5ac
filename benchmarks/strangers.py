"""Measure how well the trained models of landmarks and scones recognise the other projects' test pictures.

    python -m benchmarks.strangers [--json FILE]

It uses `models/` and `data/*/features` of the working folder, and takes up to 200 pictures of each project. For each
kind of picture it reports the AUROC against the model's own test pictures, and the fraction that is recognised as
unknown at the model's threshold.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks import measuring
from stages.common import files
from stages.common.vision import classifiers, known, outliers
from stages.common.vision.recognition import Pixels
from stages.landmarks import model as landmarks
from stages.landmarks.store import Store
from stages.scones import model as scones

COUNT = 200
FEATURES = {project: Path("data", project, "features") for project in ("mnist", "landmarks", "scones")}


def pictures(project: str) -> list[Image.Image]:
    """Return up to COUNT of the project's test pictures, evenly spread, in colour."""
    if project == "landmarks":
        store, size = Store(FEATURES[project], "test"), files.read_json(FEATURES[project] / "about.json")["size"]
        images = store.crops(measuring.spread(len(store), COUNT), size).permute(0, 2, 3, 1).numpy()
    else:
        with np.load(FEATURES[project] / "test.npz") as test:
            images = test["images"][measuring.spread(len(test["images"]), COUNT)]
    return [Image.fromarray(image).convert("RGB") for image in images]


def measure(
    project: str,
    look: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]],
    own: Iterable[Tensor],
    batched: Callable[[Pixels], Iterable[Tensor]],
    side: int,
) -> dict[str, Any]:
    """Return the results of a project's model, whose test pictures are the batches ``own``."""
    arrays = known.read(Path("models", project, "trained", "known.npz"))
    column, limit = int(arrays["method"]), float(arrays["threshold"])
    familiar = classifiers.measure(look, own, arrays)[1][:, column]
    strange = {
        other: np.stack([np.asarray(one.resize((side, side), Image.Resampling.BICUBIC)) for one in pictures(other)])
        for other in FEATURES
        if other != project
    }
    found: dict[str, Any] = {}
    for kind, images in {**strange, "textures": outliers.made(outliers.MEASURING, side, COUNT // 4)}.items():
        scores = classifiers.measure(look, batched(images), arrays)[1][:, column]
        auroc, recognised = known.auroc(familiar, scores), float((scores < limit).mean())
        found[kind] = {"pictures": len(scores), "auroc": round(auroc, 4), "recognised": round(recognised, 4)}
    return {
        "source": files.read_json(FEATURES[project] / "about.json")["source"],
        "method": known.METHODS[column],
        "refused": round(float((familiar < limit).mean()), 4),
        "against": found,
    }


def main() -> dict[str, Any]:
    predictor, classifier = landmarks.load(measured=True), scones.load(measured=True)
    test = landmarks.batches(predictor, Store(FEATURES["landmarks"], "test"))

    def batched(images: Pixels) -> Iterator[Tensor]:
        yield from torch.from_numpy(images).split(scones.BATCH)

    with np.load(FEATURES["scones"] / "test.npz") as vehicles:
        own = batched(vehicles["images"])
    report = {
        "landmarks": measure("landmarks", predictor.inspect, test, landmarks.squares, predictor.size),
        "scones": measure("scones", classifier.inspect, own, batched, classifier.side),
    }
    print("\n".join(f"{project}: {found}" for project, found in report.items()))
    return report


if __name__ == "__main__":
    measuring.run(main)
