"""Write the classifier in formats that run without this repository, and check that their predictions match evaluate's.

`model.pt` is TorchScript, `model.pt2` is torch.export's format, `model.onnx` is ONNX. All take raw images, uint8
(N, 28, 28) with any N, and return probabilities, float32 (N, 10). `model.pt` also takes the tensors that torchvision's
ToTensor makes of them. All refuse anything else, and contain the names of the classes. `model.onnx` also returns
`familiarity` and `certainty`, both negative where `inference.py` would refuse the image. `second.pt` is the network that
recognises images of no digit, `limits.json` has the limits that an image must reach. `model.tar.gz` holds these and
`model.pt`, the inference code in the layout of SageMaker's PyTorch image, and the model card, `model_card.md`, as README.md.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.common import config, files
from stages.common.models import bundle, card, inputs, onnx_files, torch_files
from stages.common.program import run
from stages.common.vision import bare, images
from stages.mnist import drawing, inference
from stages.mnist.config import Data, Train
from stages.mnist.ink import ink_areas, ink_contrast, ink_strokes, isolation
from stages.mnist.learning import judging, second
from stages.mnist.model import CLASSES, SETTINGS, SIDE, TRAINED, load, predict

FEATURES = Path("data/mnist/features")
EVALUATION = Path("reports/mnist/evaluation")
DETAILS = Path("reports/mnist/details.json")
EXPORT = Path("models/mnist/export")

TOLERANCE = 1e-5
"""Largest allowed difference between a probability and evaluate's."""

EXAMPLE = torch.zeros(2, SIDE, SIDE, dtype=torch.uint8)

FORM = inputs.Form((SIDE, SIDE), None, None, f"uint8 (N, {SIDE}, {SIDE}), 0 background to 255 ink")
FLOATS = f"{FORM.words}, or float (N, 1, {SIDE}, {SIDE}) as torchvision's ToTensor gives it, not normalised"


class Checked(inputs.Checked):
    """The classifier of `model.pt`."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the probabilities, float32 (N, 10), of images (N, 28, 28) or (N, 1, 28, 28), see `as_bytes`."""
        pictures = images.unsqueeze(1) if images.dim() == 3 else images
        if pictures.dim() != 4 or list(pictures.shape[1:]) != [1, 28, 28]:
            raise ValueError("images of shape {}: expected ".format(images.shape) + self.expected)  # noqa: UP032 (TorchScript)
        probabilities: Tensor = self.classifier(self.as_bytes(pictures).squeeze(1))
        return probabilities


class Judged(nn.Module):
    """The classifier of `model.onnx`, with the judgements of `judging`, less the ``limits`` that an image must reach."""

    def __init__(self, classifier: nn.Module, second: nn.Module, limits: Mapping[str, float]) -> None:
        super().__init__()
        self.classifier, self.second, self.limits = classifier, second, limits

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the probabilities, float32 (N, 10), familiarity and certainty, float32 (N), of images, uint8 (N, 28, 28)."""
        probabilities, opinions = self.classifier(images), self.second(images)
        own, read = probabilities.max(1, keepdim=True)
        certainty = own.log()[:, 0] + opinions.gather(1, read)[:, 0]
        return probabilities, opinions[:, -1] - self.limits["odds"], certainty - self.limits["certainty"]


def write_torchscript(classifier: nn.Module, path: Path) -> None:
    checked = Checked(torch_files.traced(classifier, EXAMPLE), CLASSES, FLOATS)
    torch_files.save_torchscript(torch_files.scripted(checked), path, CLASSES)


def write_exported(classifier: nn.Module, path: Path) -> None:
    example = torch.zeros(2, SIDE + 1, SIDE + 2, dtype=torch.uint8)
    torch_files.save_exported(classifier, FORM, example, path, CLASSES, CLASSES)


def write_onnx(classifier: nn.Module, path: Path) -> None:
    onnx_files.save(classifier, FORM, tuple(EXAMPLE.shape), {0: "N"}, path, CLASSES)


def write_card(path: Path, labels: NDArray[np.uint8], probabilities: NDArray[np.float32]) -> None:
    parts = {"training": "train", "validation": "valid", "test": "test"}
    details = files.read_json(files.require(DETAILS, "evaluate@mnist"))
    card.write(
        path,
        Path(__file__).with_name("card.md"),
        "mnist",
        {"data.mnist": config.load("data.mnist", Data), "mnist": config.trained("mnist", Train, TRAINED / SETTINGS)},
        {name: len(np.load(FEATURES / f"{part}.npz")["labels"]) for name, part in parts.items()},
        mistakes=card.confusions(probabilities, labels, CLASSES),
        refused_share=details["refused_share"],
        initial=card.own_weights(files.read_json(TRAINED / "network.json")["members"]),
        tolerance=TOLERANCE,
        torch=torch_files.about(),
        opset=onnx_files.OPSET,
    )


def write_second(network: nn.Module, path: Path) -> None:
    torch_files.save_torchscript(torch_files.traced(network, EXAMPLE), path, CLASSES)


def main() -> None:
    classifier = load(files.require(TRAINED, "train@mnist"))
    expected = torch.from_numpy(np.load(files.require(EVALUATION, "evaluate@mnist") / "probabilities.npy"))
    with np.load(FEATURES / "test.npz") as test:
        digits, labels = torch.from_numpy(test["images"]), test["labels"]
    stranger, limits = second.load(), files.read_json(TRAINED / second.LIMITS)
    with files.new_folder(EXPORT) as folder:
        for name, written, write, read in (
            ("model.pt", classifier, write_torchscript, torch_files.load_torchscript),
            ("model.pt2", classifier, write_exported, torch_files.load_exported),
            ("model.onnx", Judged(classifier, stranger, limits), write_onnx, onnx_files.load),
        ):
            write(written, folder / name)
            torch_files.prove("mnist", name, predict(read(folder / name)[0], digits), expected, TOLERANCE)
        write_second(stranger, folder / inference.SECOND)
        shutil.copy(TRAINED / second.LIMITS, folder / inference.LIMITS)
        opinions = predict(torch_files.load_torchscript(folder / inference.SECOND)[0], digits)
        expected_familiarity = np.load(EVALUATION / "familiarity.npy")
        for name, familiarity in (
            (inference.SECOND, judging.odds(opinions.numpy()) - limits["odds"]),
            ("model.onnx", predict(onnx_files.load_judged(folder / "model.onnx"), digits)[:, -1].double().numpy()),
        ):
            torch_files.prove_known("mnist", name, familiarity, expected_familiarity, 10 * TOLERANCE)
        modules = (inference, images, bare, isolation, ink_areas, ink_strokes, ink_contrast, drawing, judging)
        code = {f"code/{Path(str(module.__file__)).name}": Path(str(module.__file__)) for module in modules}
        write_card(folder / "model_card.md", labels, expected.numpy())
        members = {name: folder / name for name in ("model.pt", inference.SECOND, inference.LIMITS)}
        bundle.pack(folder / "model.tar.gz", members | {"README.md": folder / "model_card.md"} | code)


if __name__ == "__main__":
    run(main)
