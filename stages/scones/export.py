"""Write the classifier in formats that run without this repository, and check that their predictions match evaluate's.

`model.pt` is TorchScript, `model.pt2` is torch.export's format. Both take pictures, uint8 (N, 32, 32, 3) with any N,
and return calibrated probabilities, float32 (N, classes). Both contain the names of the classes. `inspect` of
`model.pt` also returns features and logits, from which `known.npz` tells whether a picture shows one of the classes.
`model.tar.gz` holds both, the inference code in the layout of SageMaker's PyTorch image, and the model card,
`model_card.md`, as README.md.
"""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.common import config, files, temporary
from stages.common.models import bundle, card, torch_files
from stages.common.program import run
from stages.common.vision import images, known
from stages.scones import inference, layout
from stages.scones.config import Data, Train
from stages.scones.endpoint import picture
from stages.scones.layout import SIDE
from stages.scones.model import KNOWN, SETTINGS, TRAINED, Classifier, load, predict

FEATURES = Path("data/scones/features")
EVALUATION = Path("reports/scones/evaluation")
DETAILS = Path("reports/scones/details.json")
EXPORT = Path("models/scones/export")

TOLERANCE = 1e-5
"""Largest allowed difference between a probability and evaluate's."""

EXAMPLE = torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8)
"""Two pictures, because torch.export treats a dimension of 1 as fixed."""


def write_torchscript(classifier: Classifier, path: Path, classes: list[str]) -> None:
    torch_files.save_torchscript(torch_files.traced(classifier, EXAMPLE, "inspect"), path, classes)


def write_exported(classifier: Classifier, path: Path, classes: list[str]) -> None:
    program = torch.export.export(classifier, (EXAMPLE,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    torch_files.save_exported(program, path, classes)


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


def write_card(path: Path, classes: list[str], labels: NDArray[np.integer], probabilities: NDArray[np.float32]) -> None:
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
        mistakes=card.confusions(probabilities, labels, classes),
        threshold=details["threshold"],
        share_at_threshold=details["share_at_threshold"],
        refused_share=details["refused_share"],
        tolerance=TOLERANCE,
    )


def main() -> None:
    classes = files.read_json(files.require(TRAINED, "train@scones") / "network.json")["classes"]
    expected = torch.from_numpy(np.load(files.require(EVALUATION, "evaluate@scones") / "probabilities.npy"))
    with np.load(FEATURES / "test.npz") as test:
        pictures, labels = torch.from_numpy(test["images"]), test["labels"]
    classifier = load()
    with files.new_folder(EXPORT) as folder:
        write_torchscript(classifier, folder / "model.pt", classes)
        torch_files.prove(
            "scones",
            "model.pt",
            predict(torch_files.load_torchscript(folder / "model.pt")[0], pictures),
            expected,
            TOLERANCE,
        )
        write_exported(classifier, folder / "model.pt2", classes)
        torch_files.prove(
            "scones",
            "model.pt2",
            predict(torch_files.load_exported(folder / "model.pt2")[0], pictures),
            expected,
            TOLERANCE,
        )
        modules = (inference, picture, images, known)
        code = {f"code/{Path(str(module.__file__)).name}": Path(str(module.__file__)) for module in modules}
        files.write_arrays(folder / KNOWN, **known.chosen(known.read(TRAINED / KNOWN)))
        write_card(folder / "model_card.md", classes, labels, expected.numpy())
        members = {name: folder / name for name in ("model.pt", KNOWN)} | {"README.md": folder / "model_card.md"}
        bundle.pack(folder / "model.tar.gz", members | code)
        answers, familiarity = served(folder / "model.tar.gz", pictures)
        torch_files.prove("scones", "model.tar.gz", answers, expected, TOLERANCE)
        torch_files.prove_known(
            "scones", "model.tar.gz", familiarity, np.load(EVALUATION / "familiarity.npy"), 10 * TOLERANCE
        )


if __name__ == "__main__":
    run(main)
