"""Writes the classifier in forms that run without this repository, and proves that they answer as it was measured.

`model.pt` is TorchScript, `model.pt2` torch.export's form; both take raw images, uint8 (N, 28, 28) with any N, and give
probabilities, float32 (N, 10). The names of the classes are in both files. `model.tar.gz` is `model.pt` with its
inference code, as SageMaker's PyTorch image wants it, and with the model card, `model_card.md`, as README.md.
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.common import config, files
from stages.common.errors import InputError
from stages.common.models import bundle, card, torch_files
from stages.common.program import run
from stages.common.vision import images
from stages.mnist import drawing, inference
from stages.mnist.config import Data, Train
from stages.mnist.model import CLASSES, SIDE, TRAINED, load, predict

FEATURES = Path("data/mnist/features")
EVALUATION = Path("reports/mnist/evaluation")
EXPORT = Path("models/mnist/export")

TOLERANCE = 1e-5
"""By how much a probability may differ from the one that evaluate wrote."""


def write_torchscript(classifier: nn.Module, path: Path) -> None:
    # Traced (the classifier has no branches): a script module's constants come in another order in each process.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")
        example = torch.zeros(2, SIDE, SIDE, dtype=torch.uint8)
        model = torch.jit.trace(classifier, example, check_trace=False)
    torch_files.save_torchscript(model, path, CLASSES)


def write_exported(classifier: nn.Module, path: Path) -> None:
    example = torch.zeros(2, SIDE, SIDE, dtype=torch.uint8)  # of two images: one would be taken as a fixed size
    program = torch.export.export(classifier, (example,), dynamic_shapes=({0: torch.export.Dim("images")},))
    torch_files.save_exported(program, path, CLASSES)


def prove(path: Path, model: Callable[[Tensor], Tensor], classes: list[str], digits: Tensor, expected: Tensor) -> float:
    """The largest difference of ``model``'s probabilities from the ``expected``. Raises InputError if they are not the same."""
    answers = predict(model, digits)
    changed, difference = torch_files.differences(answers, expected)
    if changed or not difference <= TOLERANCE or classes != CLASSES:
        raise InputError(
            f"{path.name}: {changed} of {len(digits)} test images get another class and probabilities differ by up to {difference:.2g}, "
            f"expected evaluate's answers within {TOLERANCE:g}: run `dvc repro export@mnist` so that all are of one model"
        )
    return difference


def write_card(path: Path, labels: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> None:
    parts = {"training": "train", "validation": "valid", "test": "test"}
    card.write(
        path,
        Path(__file__).with_name("card.md"),
        "mnist",
        {"data.mnist": config.load("data.mnist", Data), "mnist": config.load("mnist", Train)},
        {name: len(np.load(FEATURES / f"{part}.npz")["labels"]) for name, part in parts.items()},
        mistakes=card.confusions(probabilities, labels, CLASSES),
        tolerance=TOLERANCE,
    )


def main() -> None:
    classifier = load(files.require(TRAINED, "train@mnist"))
    expected = torch.from_numpy(np.load(files.require(EVALUATION, "evaluate@mnist") / "probabilities.npy"))
    with np.load(FEATURES / "test.npz") as test:
        digits, labels = torch.from_numpy(test["images"]), test["labels"]
    with files.new_folder(EXPORT) as folder:
        for name, write, read in (
            ("model.pt", write_torchscript, torch_files.load_torchscript),
            ("model.pt2", write_exported, torch_files.load_exported),
        ):
            write(classifier, folder / name)
            model, classes = read(folder / name)
            difference = prove(folder / name, model, classes, digits, expected)
            print(
                f"{name}: the classes of all {len(digits)} test images are evaluate's, probabilities within {difference:.2g}"
            )
        modules = (inference, images, drawing)
        code = {f"code/{Path(str(module.__file__)).name}": Path(str(module.__file__)) for module in modules}
        write_card(folder / "model_card.md", labels, expected.numpy())
        members = {"model.pt": folder / "model.pt", "README.md": folder / "model_card.md"}
        bundle.pack(folder / "model.tar.gz", members | code)


if __name__ == "__main__":
    run(main)
