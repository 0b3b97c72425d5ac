"""Writes the classifier in forms that run without this repository, and proves that they answer as it was measured.

`model.pt` is TorchScript, `model.pt2` torch.export's form; both take raw images, uint8 (N, 28, 28) with any N, and give
probabilities, float32 (N, 10). The names of the classes are in both files. `model.tar.gz` is `model.pt` with its
inference code, as SageMaker's PyTorch image wants it.
"""

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from stages.common import bundle, files
from stages.common.program import InputError, run
from stages.mnist import inference
from stages.mnist.model import CLASSES, SIDE, TRAINED, load, predict

FEATURES = Path("data/mnist/features")
EVALUATION = Path("reports/mnist/evaluation")
EXPORT = Path("models/mnist/export")

TOLERANCE = 1e-5
"""By how much a probability may differ from the one that evaluate wrote."""

EXTRA = "classes.json"


def write_torchscript(classifier: nn.Module, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")  # model.pt2 is the form with a future
        buffer = io.BytesIO()
        # Traced (the classifier has no branches): a script module's constants come in another order in each process.
        model = torch.jit.trace(classifier, torch.zeros(2, SIDE, SIDE, dtype=torch.uint8), check_trace=False)
        torch.jit.save(model, buffer, _extra_files={EXTRA: json.dumps(CLASSES)})
    # Left out: debugging records, which hold the path of this very checkout, and the hash over them.
    with zipfile.ZipFile(buffer) as whole, zipfile.ZipFile(path, "w") as kept:
        for name in whole.namelist():
            if not name.endswith((".debug_pkl", "serialization_id")):
                kept.writestr(zipfile.ZipInfo(name), whole.read(name))


def write_exported(classifier: nn.Module, path: Path) -> None:
    example = torch.zeros(2, SIDE, SIDE, dtype=torch.uint8)  # of two images: one would be taken as a fixed size
    program = torch.export.export(classifier, (example,), dynamic_shapes=({0: torch.export.Dim("images")},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it holds the path of this very checkout
    torch.export.save(program, path, extra_files={EXTRA: json.dumps(CLASSES)})


def read_torchscript(path: Path) -> tuple[Callable[[Tensor], Tensor], list[str]]:
    extra = {EXTRA: ""}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")
        model = torch.jit.load(path, _extra_files=extra)
    return model, json.loads(extra[EXTRA])


def read_exported(path: Path) -> tuple[Callable[[Tensor], Tensor], list[str]]:
    extra = {EXTRA: ""}
    return torch.export.load(path, extra_files=extra).module(), json.loads(extra[EXTRA])


def prove(path: Path, model: Callable[[Tensor], Tensor], classes: list[str], images: Tensor, expected: Tensor) -> float:
    """The largest difference of ``model``'s probabilities from the ``expected``. Raises InputError if they are not the same."""
    answers = predict(model, images)
    difference = (answers - expected).abs().max().item()
    changed = int((answers.argmax(1) != expected.argmax(1)).sum())
    if changed or not difference <= TOLERANCE or classes != CLASSES:
        raise InputError(
            f"{path.name}: {changed} of {len(images)} test images get another class and probabilities differ by up to {difference:.2g}, "
            f"expected evaluate's answers within {TOLERANCE:g}: run `dvc repro export@mnist` so that all are of one model"
        )
    return difference


def main() -> None:
    classifier = load(files.require(TRAINED, "train@mnist"))
    expected = torch.from_numpy(np.load(files.require(EVALUATION, "evaluate@mnist") / "probabilities.npy"))
    with np.load(FEATURES / "test.npz") as test:
        images = torch.from_numpy(test["images"])
    with files.new_folder(EXPORT) as folder:
        for name, write, read in (
            ("model.pt", write_torchscript, read_torchscript),
            ("model.pt2", write_exported, read_exported),
        ):
            write(classifier, folder / name)
            difference = prove(folder / name, *read(folder / name), images, expected)
            print(
                f"{name}: the classes of all {len(images)} test images are evaluate's, probabilities within {difference:.2g}"
            )
        code = Path(inference.__file__)
        bundle.pack(folder / "model.tar.gz", {"model.pt": folder / "model.pt", "code/inference.py": code})


if __name__ == "__main__":
    run(main)
