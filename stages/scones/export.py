"""Write the classifier in formats that run without this repository, and check that their predictions match evaluate's.

`model.pt` is TorchScript, `model.pt2` is torch.export's format, `model.onnx` is ONNX. All take pictures, uint8
(N, side, side, 3) with any N and the side of the training pictures, and return calibrated probabilities, float32 (N, classes). `model.pt` takes what
torchvision's ToTensor makes of them, too, and all refuse anything else. All contain the names of the classes.
`model.onnx` also returns `familiarity`, negative for a picture of none of the classes. `inspect` of `model.pt` returns features and logits, from which `known.npz` tells whether a picture shows one of
the classes. `model.tar.gz` holds `model.pt`, `known.npz`, the inference code in the layout of SageMaker's PyTorch image, and the model card,
`model_card.md`, as README.md.
"""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stages.common import config, files, temporary
from stages.common.models import bundle, card, inputs, judged, onnx_files, torch_files
from stages.common.program import run
from stages.common.vision import bare, images, known
from stages.scones import inference, layout
from stages.scones.config import Data, Train
from stages.scones.endpoint import picture
from stages.scones.model import KNOWN, SETTINGS, TRAINED, Classifier, load, predict

FEATURES = Path("data/scones/features")
EVALUATION = Path("reports/scones/evaluation")
DETAILS = Path("reports/scones/details.json")
EXPORT = Path("models/scones/export")

TOLERANCE = 1e-5
"""Largest allowed difference between a probability and evaluate's."""


def form(side: int) -> inputs.Form:
    """Return the form of pictures of ``side`` pixels a side."""
    return inputs.Form((side, side, 3), 3, None, f"uint8 (N, {side}, {side}, 3), red, green and blue from 0 to 255")


class Checked(inputs.Checked):
    """The classifier of `model.pt`, for pictures of ``side`` pixels a side."""

    def __init__(self, classifier: nn.Module, class_names: list[str], side: int) -> None:
        floats = f"float (N, 3, {side}, {side}) as torchvision's ToTensor gives it, not normalised"
        super().__init__(classifier, class_names, f"{form(side).words}, or {floats}")
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        """Return the probabilities, float32 (N, classes), of pictures (N, side, side, 3) or (N, 3, side, side), see `as_bytes`."""
        probabilities: Tensor = self.classifier(self.pictures(images))
        return probabilities

    @torch.jit.export
    def inspect(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the probabilities of such pictures, and the features and logits from which `known.py` judges them."""
        answers: tuple[Tensor, Tensor, Tensor] = self.classifier.inspect(self.pictures(images))  # type: ignore[operator]
        return answers

    def pictures(self, images: Tensor) -> Tensor:
        pictures = images.permute(0, 3, 1, 2) if images.dim() == 4 and images.size(-1) == 3 else images
        if pictures.dim() != 4 or list(pictures.shape[1:]) != [3, self.side, self.side]:
            raise ValueError("pictures of shape {}: expected ".format(images.shape) + self.expected)  # noqa: UP032 (TorchScript)
        return self.as_bytes(pictures).permute(0, 2, 3, 1)


def write_torchscript(classifier: Classifier, path: Path, classes: list[str]) -> None:
    example = torch.zeros(2, classifier.side, classifier.side, 3, dtype=torch.uint8)
    checked = Checked(torch_files.traced(classifier, example, "inspect"), classes, classifier.side)
    torch_files.save_torchscript(torch_files.scripted(checked), path, classes)


def write_exported(classifier: Classifier, path: Path, classes: list[str]) -> None:
    # Two pictures, because torch.export treats a dimension of 1 as fixed.
    example = torch.zeros(2, classifier.side + 1, classifier.side + 2, 4, dtype=torch.uint8)
    torch_files.save_exported(classifier, form(classifier.side), example, path, classes, classes)


def write_onnx(classifier: nn.Module, path: Path, classes: list[str], side: int) -> None:
    onnx_files.save(classifier, form(side), (2, side, side, 3), {0: "N"}, path, classes)


def served(archive: Path, pictures: Tensor) -> tuple[Tensor, NDArray[np.float64]]:
    """Return probabilities (N, classes) and familiarity (N) that the archive's functions give for ``pictures`` as PNG files."""
    with temporary.folder("export") as folder:
        bundle.unpack(archive, folder)
        model = inference.model_fn(str(folder))
        requests = [inference.input_fn(layout.png(picture), "image/png") for picture in pictures.numpy()]
        accept = "application/json; verbose=true"
        answers = [json.loads(inference.output_fn(inference.predict_fn(one, model), accept)) for one in requests]
    familiarity = np.array([answer["familiarity"][0] for answer in answers])
    return torch.tensor([answer["probabilities"][0] for answer in answers]), familiarity


def write_card(
    path: Path, classes: list[str], side: int, labels: NDArray[np.integer], probabilities: NDArray[np.float32]
) -> None:
    parts = {"training": "train", "validation": "valid", "test": "test"}
    details = files.read_json(files.require(DETAILS, "evaluate@scones"))
    card.write(
        path,
        Path(__file__).with_name("card.md"),
        "scones",
        {
            "data.scones": config.load("data.scones", Data),
            "scones": config.trained("scones", Train, TRAINED / SETTINGS),
        },
        {name: len(np.load(FEATURES / f"{part}.npz")["labels"]) for name, part in parts.items()},
        classes=classes,
        side=side,
        initial=card.own_weights(files.read_json(TRAINED / "network.json")["members"]),
        mistakes=card.confusions(probabilities, labels, classes),
        threshold=details["threshold"],
        share_at_threshold=details["share_at_threshold"],
        refused_share=details["refused_share"],
        tolerance=TOLERANCE,
        torch=torch_files.about(),
        opset=onnx_files.OPSET,
    )


def main() -> None:
    classes = files.read_json(files.require(TRAINED, "train@scones") / "network.json")["classes"]
    expected = torch.from_numpy(np.load(files.require(EVALUATION, "evaluate@scones") / "probabilities.npy"))
    with np.load(FEATURES / "test.npz") as test:
        pictures, labels = torch.from_numpy(test["images"]), test["labels"]
    classifier, arrays = load(), known.read(TRAINED / KNOWN)
    expected_familiarity = np.load(EVALUATION / "familiarity.npy")
    with_familiarity = judged.Judged(classifier, classifier.inspect, known.method(arrays), known.chosen(arrays))
    with files.new_folder(EXPORT) as folder:
        write_torchscript(classifier, folder / "model.pt", classes)
        write_exported(classifier, folder / "model.pt2", classes)
        write_onnx(with_familiarity, folder / "model.onnx", classes, classifier.side)
        for name, read in (
            ("model.pt", torch_files.load_torchscript),
            ("model.pt2", torch_files.load_exported),
            ("model.onnx", onnx_files.load),
        ):
            torch_files.prove("scones", name, predict(read(folder / name)[0], pictures), expected, TOLERANCE)
        judgements = predict(onnx_files.load_judged(folder / "model.onnx"), pictures)[:, -1].double().numpy()
        torch_files.prove_known("scones", "model.onnx", judgements, expected_familiarity, 10 * TOLERANCE)
        modules = (inference, picture, images, bare, known)
        code = {f"code/{Path(str(module.__file__)).name}": Path(str(module.__file__)) for module in modules}
        files.write_arrays(folder / KNOWN, **known.chosen(arrays))
        write_card(folder / "model_card.md", classes, classifier.side, labels, expected.numpy())
        members = {name: folder / name for name in ("model.pt", KNOWN)} | {"README.md": folder / "model_card.md"}
        bundle.pack(folder / "model.tar.gz", members | code)
        answers, familiarity = served(folder / "model.tar.gz", pictures)
        torch_files.prove("scones", "model.tar.gz", answers, expected, TOLERANCE)
        torch_files.prove_known("scones", "model.tar.gz", familiarity, expected_familiarity, 10 * TOLERANCE)


if __name__ == "__main__":
    run(main)
