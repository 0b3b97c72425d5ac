"""Count how many pictures of a digit, as people send them, the exported model reads right, refuses, and reads wrong.

    python -m benchmarks.digits [--source ../data] [--folder DONE] [--count 200] [--seed 1] [--json FILE]

Trains mnist's default network in a temporary folder, or uses a ``--folder`` in which prepare to export have run, and
sends it ``--count`` test digits in each of the forms of `benchmarks.digit_pictures` and `benchmarks.digit_papers`, and
pictures of no digit, which are to be refused. The first line is what the
network reads of MNIST's own files, so the others show what isolating the digit costs.
"""

import argparse
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measuring, workspace
from benchmarks.digit_papers import FORMS, NONE
from benchmarks.digit_pictures import KINDS, Maker
from stages.common import files
from stages.common.models import bundle
from stages.mnist import inference

SURE = 0.8


def count(
    model: inference.Model, kind: str, make: Maker, images: Any, labels: Any, pictures: int, seed: int
) -> dict[str, float]:
    """Return the fractions that are right, refused, wrong, and wrong with a probability above 0.8."""
    found = {"right": 0, "refused": 0, "wrong": 0, "wrong_above_0.8": 0}
    for number in range(pictures):
        rng = np.random.default_rng([seed, zlib.crc32(kind.encode()), number])
        chosen = int(rng.integers(len(images)))
        try:
            body = make(images[chosen], rng)
            probabilities = inference.predict_fn(inference.input_fn(body, "image/*"), model).probabilities[0]
        except ValueError:
            found["refused"] += 1
            continue
        right = int(probabilities.argmax()) == labels[chosen]
        found["right" if right else "wrong"] += 1
        found["wrong_above_0.8"] += not right and float(probabilities.max()) > SURE
    return {name: total / pictures for name, total in found.items()}


def measure(folder: Path, pictures: int, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return the fractions by kind of the pictures of a digit, and of those of none."""
    with np.load(folder / "data/mnist/features/test.npz") as test:
        images, labels = test["images"], test["labels"]
    with tempfile.TemporaryDirectory() as unpacked:
        bundle.unpack(folder / "models/mnist/export/model.tar.gz", Path(unpacked))
        model = inference.model_fn(unpacked)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for group, makers in (("kinds", {**KINDS, **FORMS}), ("none", NONE)):
        found[group] = {}
        for kind, make in makers.items():
            truths = np.full_like(labels, 10) if group == "none" else labels
            found[group][kind] = row = count(model, kind, make, images, truths, pictures, seed)
            print(f"{kind:25s}", *(f"{name} {part:.1%}" for name, part in row.items()), flush=True)
    return found


def main(source: str, folder: Path | None, count: int, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        done = folder or Path(temporary)
        if not folder:
            workspace.create(done, {"data": {"source": workspace.absolute(source)}})
            workspace.run(done, "mnist", "prepare", "featurize", "train", "evaluate", "export")
        return {
            "pictures_of_each_kind": count,
            "seed": seed,
            "accuracy": files.read_json(done / "reports/mnist/metrics.json")["accuracy"],
            **measure(done, count, seed),
        }


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", default="sample")
    parser.add_argument("--folder", type=Path, help="a folder with a trained and exported model")
    parser.add_argument("--count", type=int, default=200, help="pictures of each kind")
    parser.add_argument("--seed", type=int, default=1)


if __name__ == "__main__":
    measuring.run(main, arguments)
