"""Write the predictor in formats that run without this repository, and check that their predictions match evaluate's.

`model.pt` (TorchScript) and `model.pt2` (torch.export) take photographs, uint8 (N, 3, H, W) of any size, and return
probabilities, float32 (N, classes). They include all preprocessing, and the classes with their coordinates. Using only
torch:

    model = torch.jit.load("model.pt")
    model.top5(torchvision.io.read_image("photograph.jpg")[None])    # [[("hagia_sophia", 0.98), ...]]

`model.tar.gz` holds `model.pt`, its inference code in the layout of SageMaker's PyTorch image, and the model card,
`model_card.md`, as README.md. It also has `known.npz`, which tells whether a photograph shows one of the classes.
"""

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from stages.common import config, files
from stages.common.models import bundle, card, torch_files
from stages.common.program import run
from stages.common.vision import images, known
from stages.landmarks import inference, photographs
from stages.landmarks.config import Data, Train
from stages.landmarks.model import KNOWN, SETTINGS, TRAINED, Predictor, load
from stages.landmarks.photographs import Photograph
from stages.landmarks.store import Store

FEATURES = Path("data/landmarks/features")
RAW = Path("data/landmarks/raw")
EVALUATION = Path("reports/landmarks/evaluation")
DETAILS = Path("reports/landmarks/details.json")
EXPORT = Path("models/landmarks/export")

TOLERANCE = 1e-4
"""Largest allowed difference between a probability and evaluate's."""

BATCH = 64


class Named(nn.Module):
    """A traced predictor with the names of its classes, for scripting."""

    def __init__(self, predictor: nn.Module, classes: list[str]) -> None:
        super().__init__()
        self.predictor = predictor
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        """Return the probabilities, float32 (N, classes), of photographs, uint8 (N, 3, H, W)."""
        probabilities: Tensor = self.predictor(images)
        return probabilities

    @torch.jit.export
    def squares(self, images: Tensor) -> Tensor:
        """Return the used square of photographs, uint8 (N, 3, S, S).

        One size for all, so any photographs can form a batch.
        """
        squares: Tensor = self.predictor.squares(images)  # type: ignore[operator]
        return squares

    @torch.jit.export
    def classify(self, squares: Tensor) -> Tensor:
        """Return the probabilities of squares, float32 (N, classes)."""
        probabilities: Tensor = self.predictor.classify(squares)  # type: ignore[operator]
        return probabilities

    @torch.jit.export
    def inspect(self, squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the probabilities of squares, and the features and logits from which `known.py` judges them."""
        answers: tuple[Tensor, Tensor, Tensor] = self.predictor.inspect(squares)  # type: ignore[operator]
        return answers

    @torch.jit.export
    def top5(self, images: Tensor) -> list[list[tuple[str, float]]]:
        """Return the five most probable classes of each photograph with their probabilities, the most probable first."""
        values, labels = self.predictor(images).topk(min(5, len(self.classes)))
        answers: list[list[tuple[str, float]]] = []
        for row in range(len(values)):
            answers.append([(self.classes[int(labels[row, i])], float(values[row, i])) for i in range(values.shape[1])])
        return answers


def write_torchscript(predictor: Predictor, path: Path, classes: list[dict[str, object]]) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")
        warnings.filterwarnings("ignore", ".*Python")  # the tracer warns of sizes, but after `squares` they are fixed
        photograph = torch.zeros(2, 3, predictor.size, 2 * predictor.size, dtype=torch.uint8)
        square = predictor.squares(photograph)
        methods = {"forward": photograph, "squares": photograph, "classify": square, "inspect": square}
        traced = torch.jit.trace_module(predictor, methods, check_trace=False)
        named = torch.jit.script(Named(traced, [str(place["name"]) for place in classes]).eval())
    torch_files.save_torchscript(named, path, classes)


def write_exported(predictor: Predictor, path: Path, classes: list[dict[str, object]]) -> None:
    # Two photographs that are not square: torch.export treats a dimension of 1, or two equal ones, as fixed.
    photograph = torch.zeros(2, 3, predictor.size + 6, 2 * predictor.size, dtype=torch.uint8)
    dynamic = torch.export.Dim.DYNAMIC
    program = torch.export.export(predictor, (photograph,), dynamic_shapes=({0: dynamic, 2: dynamic, 3: dynamic},))
    torch_files.save_exported(program, path, classes)


def originals(chosen: Sequence[Photograph]) -> Iterator[Tensor]:
    """Yield the ``chosen`` test photographs, decoded from their original files: each uint8 (3, H, W)."""
    with photographs.open_archive(RAW, "test") as archive:
        for photograph in tqdm(chosen, desc="landmarks export", unit=" images"):
            content = archive.read(photograph.path)
            image = images.decode(content, photograph.width * photograph.height)
            yield torch.from_numpy(image).permute(2, 0, 1)


def answers_of_any_size(model: torch.jit.ScriptModule) -> Tensor:
    """Return probabilities (N, classes) of the originals, in batches of photographs of any sizes."""
    squares = (model.squares(image[None]) for image in originals(photographs.read_index(RAW, "test")))
    return torch.cat([model.classify(torch.cat(batch)) for batch in batched(squares)])


def answers_by_size(model: Callable[[Tensor], Tensor]) -> Tensor:
    """Return probabilities (N, classes) of the originals, in batches of photographs of one size."""
    index = photographs.read_index(RAW, "test")
    order = sorted(range(len(index)), key=lambda place: (index[place].height, index[place].width))
    groups = itertools.groupby(originals([index[place] for place in order]), lambda image: image.shape)
    answers = torch.cat([model(torch.stack(batch)) for _, same in groups for batch in batched(same)])
    return answers[torch.tensor(order).argsort()]


def batched(images: Iterator[Tensor]) -> Iterator[list[Tensor]]:
    while batch := list(itertools.islice(images, BATCH)):
        yield batch


def write_card(path: Path, classes: list[str], probabilities: NDArray[np.float32]) -> None:
    parts = {"training": "train", "validation": "valid", "test": "test"}
    stores = {name: Store(FEATURES, part) for name, part in parts.items()}
    card.write(
        path,
        Path(__file__).with_name("card.md"),
        "landmarks",
        {
            "data.landmarks": config.load("data.landmarks", Data),
            "landmarks": config.trained("landmarks", Train, TRAINED / SETTINGS),
        },
        {name: len(store) for name, store in stores.items()},
        classes=classes,
        mistakes=card.confusions(probabilities, stores["test"].labels.numpy(), classes),
        refused_share=files.read_json(files.require(DETAILS, "evaluate@landmarks"))["refused_share"],
        tolerance=TOLERANCE,
    )


def main() -> None:
    classes = files.read_json(files.require(TRAINED, "train@landmarks") / "network.json")["classes"]
    expected = torch.from_numpy(np.load(files.require(EVALUATION, "evaluate@landmarks") / "probabilities.npy"))
    files.require(RAW, "prepare@landmarks")
    predictor = load()
    with files.new_folder(EXPORT) as folder, torch.inference_mode():
        write_torchscript(predictor, folder / "model.pt", classes)
        torch_files.prove(
            "landmarks",
            "model.pt",
            answers_of_any_size(torch_files.load_torchscript(folder / "model.pt")[0]),
            expected,
            TOLERANCE,
        )
        write_exported(predictor, folder / "model.pt2", classes)
        torch_files.prove(
            "landmarks",
            "model.pt2",
            answers_by_size(torch_files.load_exported(folder / "model.pt2")[0]),
            expected,
            TOLERANCE,
        )
        modules = (inference, images, known)
        code = {f"code/{Path(str(module.__file__)).name}": Path(str(module.__file__)) for module in modules}
        files.write_arrays(folder / KNOWN, **known.chosen(known.read(TRAINED / KNOWN)))
        write_card(folder / "model_card.md", [str(place["name"]) for place in classes], expected.numpy())
        members = {name: folder / name for name in ("model.pt", KNOWN)} | {"README.md": folder / "model_card.md"}
        bundle.pack(folder / "model.tar.gz", members | code)


if __name__ == "__main__":
    run(main)
