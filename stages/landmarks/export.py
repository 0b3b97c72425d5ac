"""Write the predictor in formats that run without this repository, and check that their predictions match evaluate's.

`model.pt` (TorchScript), `model.pt2` (torch.export) and `model.onnx` (ONNX) take photographs, uint8 (N, 3, H, W) of any
size, and return probabilities, float32 (N, classes). They include all preprocessing, and the names of the classes.
`model.pt` takes what torchvision's ToTensor makes of photographs, too, and all refuse anything else. `model.onnx` also
returns `familiarity`, negative for a photograph of none of the classes. Using only torch:

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
from stages.common.models import bundle, card, inputs, judged, onnx_files, torch_files
from stages.common.program import run
from stages.common.vision import bare, images, known
from stages.common.vision.classifiers import Member
from stages.landmarks import inference, photographs
from stages.landmarks.config import Data, Train
from stages.landmarks.model import KNOWN, SETTINGS, TRAINED, Predictor, load
from stages.landmarks.photographs import Photograph
from stages.landmarks.pictures import regions, saliency
from stages.landmarks.store import Store

FEATURES = Path("data/landmarks/features")
RAW = Path("data/landmarks/raw")
EVALUATION = Path("reports/landmarks/evaluation")
DETAILS = Path("reports/landmarks/details.json")
EXPORT = Path("models/landmarks/export")

TOLERANCE = 1e-4
"""Largest allowed difference between a probability and evaluate's."""

BATCH = 64


class First(nn.Module):
    """The predictor's first network, as the reports' evidence comes from it."""

    def __init__(self, member: Member) -> None:
        super().__init__()
        self.member = member

    def inputs(self, squares: Tensor) -> Tensor:
        """Return the network's inputs for squares, uint8 (N, 3, S, S)."""
        return self.member.inputs(squares)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return saliency.logits_and_maps(self.member.network, inputs)


FORM = inputs.Form((3, None, None), 1, images.MAX_ASPECT, "uint8 (N, 3, H, W), red, green and blue from 0 to 255")
FLOATS = f"{FORM.words}, or float (N, 3, H, W) as torchvision's ToTensor gives it, not normalised"


class Named(inputs.Checked):
    """The predictor of `model.pt`."""

    def __init__(self, predictor: nn.Module, first: nn.Module, class_names: list[str], size: int, part: float) -> None:
        """``part``: of a square's side, the middle that the ``first`` network sees."""
        super().__init__(predictor, class_names, FLOATS)
        self.first, self.part = first, part
        self.size = size
        self.longest = images.MAX_ASPECT
        self.too_long = inputs.too_long(images.MAX_ASPECT)

    def forward(self, images: Tensor) -> Tensor:
        """Return the probabilities, float32 (N, classes), of photographs (N, 3, H, W), see `as_bytes`."""
        return self.classify(self.squares(images))

    @torch.jit.export
    def squares(self, images: Tensor) -> Tensor:
        """Return the used square of photographs (N, 3, H, W), see `as_bytes`: uint8 (N, 3, S, S).

        One size for all, so any photographs can form a batch.
        """
        if images.dim() != 4 or images.size(1) != 3:
            raise ValueError("photographs of shape {}: expected ".format(images.shape) + self.expected)  # noqa: UP032 (TorchScript)
        found = self.as_bytes(images)
        if max(found.size(2), found.size(3)) > self.longest * min(found.size(2), found.size(3)):
            raise ValueError(self.too_long + ": expected " + self.expected)
        squares: Tensor = self.classifier.squares(found)  # type: ignore[operator]
        return squares

    @torch.jit.export
    def classify(self, squares: Tensor) -> Tensor:
        """Return the probabilities of squares, uint8 (N, 3, S, S): float32 (N, classes)."""
        self.require_squares(squares)
        probabilities: Tensor = self.classifier.classify(squares)  # type: ignore[operator]
        return probabilities

    @torch.jit.export
    def inspect(self, squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the probabilities of squares, and the features and logits from which `known.py` judges them."""
        self.require_squares(squares)
        answers: tuple[Tensor, Tensor, Tensor] = self.classifier.inspect(squares)  # type: ignore[operator]
        return answers

    @torch.jit.export
    def inputs(self, squares: Tensor) -> Tensor:
        """Return the first network's inputs, float32 (N, 3, s, s), for squares: where `saliency.py` shows the evidence."""
        self.require_squares(squares)
        inputs: Tensor = self.first.inputs(squares)  # type: ignore[operator]
        return inputs

    @torch.jit.export
    def logits_and_maps(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first network's logits (N, classes) and last maps (N, C, h, w) for its inputs."""
        answers: tuple[Tensor, Tensor] = self.first(inputs)
        return answers

    def require_squares(self, squares: Tensor) -> None:
        if squares.dtype != torch.uint8 or squares.dim() != 4 or list(squares.shape[1:]) != [3, self.size, self.size]:
            raise ValueError("other squares than those of `squares`: expected uint8 (N, 3, {0}, {0})".format(self.size))  # noqa: UP032

    @torch.jit.export
    def top5(self, images: Tensor) -> list[list[tuple[str, float]]]:
        """Return the five most probable classes of each photograph with their probabilities, the most probable first."""
        values, labels = self.forward(images).topk(min(5, len(self.class_names)))
        answers: list[list[tuple[str, float]]] = []
        for row in range(len(values)):
            best = [(self.class_names[int(labels[row, i])], float(values[row, i])) for i in range(values.shape[1])]
            answers.append(best)
        return answers


def class_names(classes: Sequence[dict[str, object]]) -> list[str]:
    return [str(place["name"]) for place in classes]


def write_torchscript(predictor: Predictor, path: Path, classes: list[dict[str, object]]) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit")
        warnings.filterwarnings("ignore", ".*Python")  # the tracer warns of sizes, but after `squares` they are fixed
        photograph = torch.zeros(2, 3, predictor.size, 2 * predictor.size, dtype=torch.uint8)
        square = predictor.squares(photograph)
        methods = {"forward": photograph, "squares": photograph, "classify": square, "inspect": square}
        traced = torch.jit.trace_module(predictor, methods, check_trace=False)
        member = predictor.members[0]
        assert isinstance(member, Member)
        methods = {"inputs": square, "forward": member.inputs(square)}
        first = torch.jit.trace_module(First(member), methods, check_trace=False)
    named = Named(traced, first, class_names(classes), predictor.size, member.side / predictor.size)
    torch_files.save_torchscript(torch_files.scripted(named), path, classes)


def write_exported(predictor: Predictor, path: Path, classes: list[dict[str, object]]) -> None:
    photograph = torch.zeros(2, 4, predictor.size + 6, 2 * predictor.size, dtype=torch.uint8)
    torch_files.save_exported(predictor, FORM, photograph, path, class_names(classes), classes)


def write_onnx(predictor: nn.Module, path: Path, classes: list[dict[str, object]]) -> None:
    axes = {0: "N", 2: "H", 3: "W"}
    onnx_files.save(predictor, FORM, (2, 3, 134, 256), axes, path, class_names(classes))


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


def answers_by_size(*models: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Return each model's probabilities (N, classes) of the originals, in batches of photographs of one size."""
    index = photographs.read_index(RAW, "test")
    order = sorted(range(len(index)), key=lambda place: (index[place].height, index[place].width))
    groups = itertools.groupby(originals([index[place] for place in order]), lambda image: image.shape)
    batches = (torch.stack(batch) for _, same in groups for batch in batched(same))
    answers = zip(*([model(batch) for model in models] for batch in batches), strict=True)
    return [torch.cat(one)[torch.tensor(order).argsort()] for one in answers]


def batched(images: Iterator[Tensor]) -> Iterator[list[Tensor]]:
    while batch := list(itertools.islice(images, BATCH)):
        yield batch


def write_card(path: Path, classes: list[str], probabilities: NDArray[np.float32]) -> None:
    parts = {"training": "train", "validation": "valid", "test": "test"}
    stores = {name: Store(FEATURES, part) for name, part in parts.items()}
    settings = config.trained("landmarks", Train, TRAINED / SETTINGS)
    card.write(
        path,
        Path(__file__).with_name("card.md"),
        "landmarks",
        {"data.landmarks": config.load("data.landmarks", Data), "landmarks": settings},
        {name: len(store) for name, store in stores.items()},
        classes=classes,
        initial=card.own_weights(files.read_json(TRAINED / "network.json")["members"]),
        mistakes=card.confusions(probabilities, stores["test"].labels.numpy(), classes),
        refused_share=files.read_json(files.require(DETAILS, "evaluate@landmarks"))["refused_share"],
        tolerance=TOLERANCE,
        torch=torch_files.about(),
        opset=onnx_files.OPSET,
    )


def main() -> None:
    classes = files.read_json(files.require(TRAINED, "train@landmarks") / "network.json")["classes"]
    expected = torch.from_numpy(np.load(files.require(EVALUATION, "evaluate@landmarks") / "probabilities.npy"))
    files.require(RAW, "prepare@landmarks")
    predictor = load()
    with files.new_folder(EXPORT) as folder, torch.inference_mode():
        write_torchscript(predictor, folder / "model.pt", classes)
        write_exported(predictor, folder / "model.pt2", classes)
        arrays = known.read(TRAINED / KNOWN)
        inspect, method = lambda images: predictor.inspect(predictor.squares(images)), known.method(arrays)
        judge = judged.Judged(predictor, inspect, method, known.chosen(arrays))
        write_onnx(judge, folder / "model.onnx", classes)
        answers = {"model.pt": answers_of_any_size(torch_files.load_torchscript(folder / "model.pt")[0])}
        others = torch_files.load_exported(folder / "model.pt2")[0], onnx_files.load_judged(folder / "model.onnx")
        answers["model.pt2"], with_its_familiarity = answers_by_size(*others)
        answers["model.onnx"], familiarity = with_its_familiarity[:, :-1], with_its_familiarity[:, -1]
        for name, found in answers.items():
            torch_files.prove("landmarks", name, found, expected, TOLERANCE)
        answered, measured = familiarity.double().numpy(), np.load(EVALUATION / "familiarity.npy")
        torch_files.prove_known("landmarks", "model.onnx", answered, measured, 10 * TOLERANCE)
        modules = (inference, images, bare, known, regions, saliency)
        code = {f"code/{Path(str(module.__file__)).name}": Path(str(module.__file__)) for module in modules}
        files.write_arrays(folder / KNOWN, **known.chosen(arrays))
        write_card(folder / "model_card.md", class_names(classes), expected.numpy())
        members = {name: folder / name for name in ("model.pt", KNOWN)} | {"README.md": folder / "model_card.md"}
        bundle.pack(folder / "model.tar.gz", members | code)


if __name__ == "__main__":
    run(main)
