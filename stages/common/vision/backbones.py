"""torchvision's classification networks by name, as backbones: photographs to features, which a head of one's own takes."""

import difflib
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from stages.common import files
from stages.common.program import InputError

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
"""Of pixels in [0, 1], in the order red, green, blue: what nearly all of torchvision's weights were trained with."""


class Backbone(NamedTuple):
    """A network without its last layer, from images normalised by `mean` and `std` to features (N, `size`)."""

    network: nn.Module
    size: int
    mean: list[float]
    std: list[float]


class Layers(nn.Module):
    """The features of several layers of a network: what its last one gives, and the averages over the maps of others."""

    def __init__(self, network: nn.Module, last: str, others: list[str]) -> None:
        super().__init__()
        self.body = create_feature_extractor(network, {path: path for path in [*others, last]})
        self.last, self.others = last, others

    def forward(self, images: Tensor) -> Tensor:
        answers = self.body(images)
        return torch.cat([answers[self.last], *(answers[path].mean((2, 3)) for path in self.others)], 1)

    def check(self, images: Tensor) -> None:
        """Raises InputError for a layer that doesn't make maps (N, C, H, W) of square ``images``: Swin's have the channels last."""
        for path, found in self.body(images).items():
            if path in self.others and (found.ndim != 4 or found.shape[2] != found.shape[3]):
                raise InputError(
                    f"layer {path!r} gives {tuple(found.shape)}: expected one that gives maps (N, C, H, W), or no layers"
                )


def build(name: str, weights: str, others: list[str], image_size: int) -> Backbone:
    """torchvision's network ``name`` with its last layer, whatever it is called, taken off; ready to predict.

    ``weights`` are `torchvision` (downloaded), `none` (as initialised), or the path of a state_dict of that network. ``others`` are
    layers further down that give features, too. Raises InputError for a network, weights or layers that there
    aren't, and for a network that doesn't take images of ``image_size`` pixels a side.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise InputError(f"there is no network {name!r}: expected one of {', '.join(closest(name, known))}")
    options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}  # else they warn
    network, mean, std = torchvision.models.get_model(name, weights=None, **options), IMAGENET_MEAN, IMAGENET_STD
    try:
        if weights == "torchvision":
            entry = torchvision.models.get_model_weights(name)["DEFAULT"]
            network.load_state_dict(entry.get_state_dict(progress=True, check_hash=True))
            mean, std = entry.transforms().mean, entry.transforms().std
        elif weights != "none":
            path = files.home() / Path(weights).expanduser()
            network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, EOFError, RuntimeError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise InputError(f"weights {weights!r} can't be used for {name} ({reason}): expected its state_dict") from None
    for branch in ("aux1", "aux2", "AuxLogits"):  # GoogLeNet's and Inception's second opinions, for training alone
        if hasattr(network, branch):
            setattr(network, branch, None)
            network.aux_logits = False
    last = [path for path, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)][-1]
    network.set_submodule(last, nn.Identity())
    for other in others:
        _layer(network, other)
    backbone = (Layers(network, last, others) if others else network).eval()
    images = torch.zeros(1, 3, image_size, image_size)
    try:
        with torch.no_grad():
            if isinstance(backbone, Layers):
                backbone.check(images)
            size = backbone(images).shape[1]
    except (AssertionError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{name} does not take images of {image_size} pixels a side ({str(error).splitlines()[0]}): expected its own size, often 224"
        ) from None
    return Backbone(backbone, size, mean, std)


def _layer(network: nn.Module, path: str) -> nn.Module:
    """The module of that name. Raises InputError, closest names first, if there is none."""
    modules: dict[str, nn.Module] = dict(network.named_modules())
    if path not in modules:
        names = ", ".join(closest(path, [name for name in modules if name])[:40])
        raise InputError(f"there is no layer {path!r}: expected one of {names}")
    return modules[path]


def closest(name: str, known: Sequence[str]) -> list[str]:
    """All of ``known``, those first that are most like ``name``."""
    alike = difflib.get_close_matches(name.lower(), known, 5, cutoff=0.4)
    return alike + [other for other in known if other not in alike]


def freeze(network: nn.Module, fine_tune: str) -> list[nn.Module]:
    """Leave only the layers from ``fine_tune`` on to be trained (`none` of them, `all`, or from the module of that name on).

    Returns the modules that stay as they are, whose batch norm belongs in eval mode all the time. Raises InputError,
    closest names first, for a module that isn't there.
    """
    first = None if fine_tune in ("none", "all") else _layer(network, fine_tune)
    trained, frozen = fine_tune == "all", []
    for module in network.modules():  # in the order in which a network makes its layers, which is that of their use
        trained = trained or module is first
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad = trained
        if not trained:
            frozen.append(module)
    return frozen


class Transfer(nn.Module):
    """A backbone and a head of one's own on its features.

    The layers from ``fine_tune`` on are trained (see `freeze`). Where the backbone is ``pretrained``, the statistics of its batch
    norm stay those of its weights: they come from far more images than there are in a batch.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, fine_tune: str, pretrained: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self._frozen = freeze(backbone, fine_tune)
        if pretrained:
            self._frozen += [
                module for module in backbone.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)
            ]

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for module in self._frozen:
            module.training = False
        return self

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(images))
        return logits
