"""Build the networks that a project's parameters can name, and compute with them. They turn normalised images into logits."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from stages.common import files
from stages.common.portable import Computing
from stages.common.training_settings import Known
from stages.common.vision import backbones, initial, known, networks, pixels
from stages.common.vision.initial import Initial

Network = TypeVar("Network", bound=nn.Module)


class Built(NamedTuple):
    """A network from normalised images to logits, and its normalisation. None: computed from the training split."""

    network: nn.Module
    mean: list[float] | None
    std: list[float] | None
    initial: Initial | None = None
    """The file of one's own that its weights come from."""
    complete: bool = False
    """Whether that file had all of them, including the last layer's."""


def build(name: str, settings: Mapping[str, Any], classes: int, weights: str = "none", download: bool = True) -> Built:
    """Build the network `scratch`, `residual`, `transfer` or `attention` for ``classes`` classes, with the parameters of that name.

    ``weights`` (the initial weights), ``download`` and the InputErrors are those of `backbones.build`. The first two
    networks take `none` or a path.
    """
    if "backbone" in settings:
        return _pretrained(settings, classes, weights, download)
    if name == "scratch":
        network = networks.vgg(classes, settings["width"], settings["dropout"])
    else:
        network = networks.residual(classes, settings["width"], settings["depth"], settings["dropout"])
    return Built(network, None, None, *initial.loaded(network, weights))


def _pretrained(settings: Mapping[str, Any], classes: int, weights: str, download: bool) -> Built:
    heads, layers = settings.get("heads", 0), settings.get("layers", [])
    backbone = backbones.build(settings["backbone"], weights, layers, settings["image_size"], download, maps=heads > 0)
    size, hidden = backbone.size * max(1, heads), settings.get("hidden")
    # ONNX's exporter doesn't know how many features attention gives: without factors of its own it refuses a batch norm of them.
    head = networks.head(size, classes, hidden, settings["dropout"], affine=heads > 0)
    own = backbone.initial
    complete = own is not None and not heads and networks.take_over(head, own.last)
    if heads:
        head.insert(0, networks.AttentionPool(backbone.size, heads))
    if own:
        own = own._replace(mapping=f"{own.body}; {'its last layer is used' if complete else 'the last layer is new'}")
    network = backbones.Transfer(backbone.network, head, settings["fine_tune"], weights != "none")
    return Built(network, backbone.mean, backbone.std, own, complete)


def stored(folder: Path, build: Callable[[dict[str, Any]], Network], measured: bool) -> list[Network]:
    """Return the networks that train stored in ``folder``, on the CPU. ``build`` makes one of train's description of it.

    ``measured``: they compute as in training.
    """
    networks = []
    for index, about in enumerate(files.read_json(folder / "network.json")["members"]):
        network = build(about)
        if measured:
            Computing(**about["computing"]).repeat(network)
        network.load_state_dict(torch.load(folder / str(index) / "weights.pt", weights_only=True))
        networks.append(network)
    return networks


def inspect(network: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the features by which `known` compares images, float32 (N, size), and the logits (N, classes).

    The features are the last layer's inputs. A network that was not pretrained has learnt few of them, so the mean and
    the deviation of each stage's maps are added. Each of these parts has length 1.
    """
    if isinstance(network, backbones.Transfer):
        return inspect(network.head, network.backbone(inputs))
    assert isinstance(network, nn.Sequential)
    parts = []
    for layer in network[:-1]:
        inputs = layer(inputs)
        if isinstance(layer, networks.Block | nn.MaxPool2d):
            maps = inputs.flatten(2)
            mean = maps.mean(2)
            # The deviation, times a constant, as a norm: torch's square root rounds differently on different processors.
            parts += [mean, torch.linalg.vector_norm(maps - mean.unsqueeze(2), dim=2)]
    features = torch.cat([F.normalize(part) for part in [*parts, inputs]], 1)
    return features, network[-1](inputs)


class Member(nn.Module):
    """One network with its pre- and postprocessing.

    Maps squares, uint8 (N, 3, S, S), red, green and blue, to probabilities, float32 (N, classes).
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, mean: list[float], std: list[float], side: int, image_size: int, flip: bool
    ) -> None:
        """``side``: central pixels, resized to ``image_size``. ``flip``: also predict the mirror image."""
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)
        self.side, self.image_size, self.flip = side, image_size, flip

    def inputs(self, squares: Tensor) -> Tensor:
        """Return the network's inputs, float32 (N, 3, image_size, image_size)."""
        first, last = (squares.shape[-1] - self.side) // 2, (squares.shape[-1] + self.side) // 2
        middle = squares[:, :, first:last, first:last]
        return pixels.normalise(pixels.resize_square(middle, self.side, self.image_size), self.mean, self.std)

    def forward(self, squares: Tensor) -> Tensor:
        inputs = self.inputs(squares)
        probabilities: Tensor = self.network(inputs).softmax(1)
        if self.flip:
            probabilities = (probabilities + self.network(inputs.flip(3)).softmax(1)) / 2
        return probabilities

    def inspect(self, squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the probabilities, and features and logits for `known`: float32 (N, size) and (N, classes)."""
        inputs = self.inputs(squares)
        features, logits = inspect(self.network, inputs)
        probabilities = logits.softmax(1)
        if self.flip:
            mirrored, others = inspect(self.network, inputs.flip(3))
            probabilities = (probabilities + others.softmax(1)) / 2
            features, logits = (features + mirrored) / 2, (logits + others) / 2
        return probabilities, features, logits


class Members(nn.Module):
    """One or several networks. Their answer is the calibrated mean of their probabilities."""

    def __init__(self, members: list[Member], temperature: float) -> None:
        """``temperature`` divides the logarithms of the mean probabilities."""
        super().__init__()
        self.members = nn.ModuleList(members)
        self.temperature = temperature

    def classify(self, squares: Tensor) -> Tensor:
        """Return the probabilities, float32 (N, classes), of squares, uint8 (N, 3, S, S)."""
        return self.calibrated(torch.stack([member(squares) for member in self.members]).mean(0))

    def calibrated(self, probabilities: Tensor) -> Tensor:
        """Return ``probabilities``, float32 (N, classes), after the temperature, which keeps their order."""
        # Powers, because torch's logarithm rounds differently on different processors. The largest is 1, so none underflows.
        powers = (probabilities / probabilities.amax(1, keepdim=True)).pow(1 / self.temperature)
        return powers / powers.sum(1, keepdim=True)

    def inspect(self, squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `classify` returns, and for `known` all members' features (N, size) and mean logits (N, classes)."""
        answers = [member.inspect(squares) for member in self.members]  # type: ignore[operator]  # of Member
        probabilities, features, logits = zip(*answers, strict=True)
        calibrated = self.calibrated(torch.stack(probabilities).mean(0))
        return calibrated, torch.cat(features, 1), torch.stack(logits).mean(0)


def members(folder: Path, measured: bool) -> list[Member]:
    """Return what train stored in ``folder``, on the CPU. ``measured``: the networks compute as in training."""
    about = files.read_json(folder / "network.json")
    size = len(about["classes"])
    found = stored(folder, lambda one: build(one["network"], one["settings"], size).network, measured)
    return [Member(network, **one["input"]) for network, one in zip(found, about["members"], strict=True)]


def measure(
    look: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]], batches: Iterable[Tensor], arrays: known.Arrays
) -> tuple[NDArray[np.float32], known.Scores]:
    """Return probabilities (N, classes) and `known.scores` (N, methods) of the images in ``batches``.

    ``look`` returns probabilities, features and logits of a batch, on any device.
    """
    probabilities, scores = [], []
    with torch.no_grad():
        for batch in batches:
            answers, features, logits = (part.cpu().numpy() for part in look(batch))
            probabilities.append(answers)
            scores.append(known.scores(arrays, features, logits))
    return np.concatenate(probabilities), np.concatenate(scores)


def alone(whole: Members, batches: Iterable[Tensor]) -> NDArray[np.float32]:
    """Return each network's own probabilities (networks, N, classes) of the squares in ``batches``, without calibration."""
    with torch.no_grad():
        own = [torch.stack([member(batch) for member in whole.members]) for batch in batches]
    return torch.cat(own, 1).cpu().numpy()


def recognition(
    bank: NDArray[np.float32],
    look: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]],
    valid: Iterable[Tensor],
    outliers: Iterable[Tensor],
    settings: Known,
) -> tuple[dict[str, NDArray], NDArray[np.float32]]:
    """Return the arrays by which `known` judges images, and the probabilities (N, classes) of the validation images.

    The arrays are fitted to training images and chosen on validation images and on outliers.
    ``bank`` has features of training images (N, size). ``valid`` and ``outliers`` are batches for ``look``, see `measure`.
    """
    arrays = known.fit(bank)
    (probabilities, familiar), (_, strange) = (measure(look, batches, arrays) for batches in (valid, outliers))
    return known.choose(arrays, familiar, strange, settings.method, settings.accepted), probabilities
