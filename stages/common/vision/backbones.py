"""Build backbones from the classification networks of torchvision and timm: images to features for a new head.

The libraries are imported inside functions, only when a network needs them: that takes two to three seconds.
"""

import difflib
import pickle
from copy import deepcopy
from itertools import pairwise
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from stages.common.errors import InputError
from stages.common.vision import initial, networks, packaged
from stages.common.vision.initial import Initial

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
"""Of pixels in [0, 1] in the order red, green, blue. Nearly all of torchvision's weights were trained with these."""


class Backbone(NamedTuple):
    """A network without its last layer. It turns images normalised by `mean` and `std` into features (N, `size`), or maps (N, `size`, H, W)."""

    network: nn.Module
    mean: list[float]
    std: list[float]
    initial: Initial | None
    """What was loaded from a file of one's own."""
    size: int = 0
    """0 until `build` has measured it."""


class Layers(nn.Module):
    """Features from several layers of a network: its last step's output, and the means over other layers' maps."""

    def __init__(self, body: nn.Module, last: str, others: list[str]) -> None:
        """``body``, made by `create_feature_extractor`, returns the outputs of ``last`` and ``others`` by name."""
        super().__init__()
        self.body = body
        self.last, self.others = last, others

    def forward(self, images: Tensor) -> Tensor:
        answers = self.body(images)
        return torch.cat([answers[self.last], *(answers[path].mean((2, 3)) for path in self.others)], 1)

    def check(self, images: Tensor) -> None:
        """Raise InputError if a layer's output for square ``images`` is not (N, C, H, W). Swin's have channels last."""
        for path, found in self.body(images).items():
            if path in self.others and (found.ndim != 4 or found.shape[2] != found.shape[3]):
                raise InputError(
                    f"layer {path!r} gives {tuple(found.shape)}: expected one that gives maps (N, C, H, W), or no layers"
                )


class Maps(Layers):
    """Maps of several layers of a network, (N, C, H, W), put together. They are averaged to the size of the smallest."""

    def forward(self, images: Tensor) -> Tensor:
        answers = self.body(images)
        side = min(answers[path].shape[2] for path in self.others)
        return torch.cat([networks.averaged(answers[path], side) for path in self.others], 1)


def build(
    name: str, weights: str, others: list[str], image_size: int, download: bool = True, maps: bool = False
) -> Backbone:
    """Build the network ``name`` of torchvision, or else of timm, without its last layer, in eval mode.

    ``weights`` is `package` (see `packaged`), `torchvision` or `timm` (downloaded, for a network of that library),
    `none` (random initial weights), or the path of a state_dict of that network (see `initial`). ``others`` are earlier layers whose
    outputs are also features; with ``maps``, the network gives only these layers' maps. Without ``download``, weights that would be downloaded are not loaded. Raises InputError
    for an unknown network or layer, for weights that are missing or do not fit, and for a network that does not accept
    images of ``image_size`` pixels a side.
    """
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    found = _from_torchvision(name, weights, download) if name in known else _from_timm(name, weights, download)
    network = (_layers(found.network, others, maps) if others else found.network).eval()
    images = torch.zeros(1, 3, image_size, image_size)
    try:
        with torch.no_grad():
            if isinstance(network, Layers):
                network.check(images)
            features = network(images)
    except (AssertionError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{name} does not accept images of {image_size} pixels a side ({str(error).splitlines()[0]}): expected its own size, often 224"
        ) from None
    if features.ndim != (4 if maps else 2):
        raise InputError(
            f"{name} gives features of shape {tuple(features.shape)}: expected a network that gives (N, size)"
        )
    return found._replace(network=network, size=features.shape[1])


def _from_torchvision(name: str, weights: str, download: bool) -> Backbone:
    import torchvision

    if weights == "package":
        packaged.find(name)  # always raises: no package has weights of torchvision's networks
    if weights == "timm":
        raise InputError(
            f"weights 'timm' can't be used for {name}, a network of torchvision: expected torchvision, none, a path, "
            f"or a network of timm (a name with a tag, such as resnet18.a1_in1k, is timm's)"
        )
    options = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}  # without it they warn
    network, mean, std = torchvision.models.get_model(name, weights=None, **options), IMAGENET_MEAN, IMAGENET_STD
    last = [path for path, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)][-1]
    own = _own(network, weights, [last])
    try:
        if weights == "torchvision" and download:
            entry = torchvision.models.get_model_weights(name)["DEFAULT"]
            network.load_state_dict(entry.get_state_dict(progress=True, check_hash=True))
            mean, std = entry.transforms().mean, entry.transforms().std
    except (OSError, EOFError, RuntimeError, TypeError, AttributeError, KeyError, pickle.UnpicklingError) as error:
        raise InputError(
            f"weights {weights!r} can't be used for {name} ({_line(error)}): expected its state_dict"
        ) from None
    for branch in ("aux1", "aux2", "AuxLogits"):  # auxiliary classifiers, used only for training
        if hasattr(network, branch):
            setattr(network, branch, None)
            network.aux_logits = False
    network.set_submodule(last, nn.Identity())
    return Backbone(network, mean, std, own)


def _from_timm(name: str, weights: str, download: bool) -> Backbone:
    import timm

    if not timm.is_model(name):
        raise InputError(
            f"there is no network {name!r} in torchvision or timm: expected one such as {', '.join(_similar(name))}"
        )
    if weights == "torchvision":
        raise InputError(
            f"weights 'torchvision' can't be used for {name}, a network of timm: expected package, timm, none, or a path"
        )
    if weights == "timm" and not timm.models.is_model_pretrained(name):
        raise InputError(f"timm has no weights for {name}: expected another network, none, or a path")
    path = packaged.find(name) if weights == "package" else None
    try:
        network: Any = timm.create_model(name, pretrained=weights == "timm" and download)
    except Exception as error:  # a download can raise many types of errors
        raise InputError(
            f"{name} with weights {weights!r} can't be loaded by timm ({_line(error)}): check the name and the network connection, or use "
            f"a network whose weights are in a package ({', '.join(packaged.WEIGHTS)})"
        ) from None
    mean, std = (list(network.pretrained_cfg[key]) for key in ("mean", "std"))
    if path:  # timm has other names, in the same order
        content = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(dict(zip(network.state_dict(), content.values(), strict=True)))
        mean, std = packaged.MEAN, packaged.STD
    last = network.pretrained_cfg.get("classifier") or []
    own = _own(network, weights, [last] if isinstance(last, str) else list(last))
    network.reset_classifier(0)
    return Backbone(network, mean, std, own)


def _layers(network: nn.Module, others: list[str], maps: bool) -> Layers:
    from timm.models import create_feature_extractor, get_graph_node_names  # for both libraries

    for other in others:
        _layer(network, other)
    _, steps = get_graph_node_names(network)
    body = create_feature_extractor(network, {path: path for path in (others if maps else [*others, steps[-1]])})
    return (Maps if maps else Layers)(body, steps[-1], others)


def _own(network: nn.Module, weights: str, last: list[str]) -> Initial | None:
    """Load the file ``weights`` of one's own into a library's network; None if ``weights`` names no file."""
    if weights in packaged.NAMED:
        return None
    found = initial.load(network, weights, last, by_order=False)
    # A new head can only take over a linear layer.
    linear = len(last) == 1 and isinstance(network.get_submodule(last[0]), nn.Linear)
    return found if linear else found._replace(last={})


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _similar(name: str) -> list[str]:
    """Return the twelve names of both libraries' networks that are closest to ``name``, closest first."""
    import timm
    import torchvision

    known = dict.fromkeys([*torchvision.models.list_models(module=torchvision.models), *timm.list_models()])
    return difflib.get_close_matches(name.lower(), list(known), 12, cutoff=0)


def _layer(network: nn.Module, path: str) -> nn.Module:
    """Return the module of that name. Raises InputError with the known names, closest first, if there is none."""
    modules: dict[str, nn.Module] = dict(network.named_modules())
    if path not in modules:
        known = [name for name in modules if name]
        alike = difflib.get_close_matches(path.lower(), known, 5, cutoff=0.4)
        names = ", ".join(list(dict.fromkeys([*alike, *known]))[:40])
        raise InputError(f"there is no layer {path!r}: expected one of {names}")
    return modules[path]


def freeze(network: nn.Module, fine_tune: str) -> list[nn.Module]:
    """Freeze layers before ``fine_tune``: the first trained module's name, `none` (train none) or `all` (train all).

    Returns the frozen modules, whose batch norm must stay in eval mode. Raises InputError with the known names, closest
    first, for an unknown module.
    """
    if isinstance(network, Layers):
        network = network.body  # here layers have the same names as in the network itself
    first = None if fine_tune in ("none", "all") else _layer(network, fine_tune)
    trained, frozen = fine_tune == "all", []
    for module in network.modules():  # in the order of their creation, which is the order of their use
        trained = trained or module is first
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad = trained
        if not trained:
            frozen.append(module)
    return frozen


def fused(network: nn.Module, images: Tensor) -> nn.Module:
    """Return a copy of ``network``, in eval mode, whose convolutions include the batch norms behind them: a third faster.

    A norm is taken to belong to the convolution that its module names before it. If that changes the output for ``images`` by more
    than rounding, or the network's code needs its norms, ``network`` itself is returned.
    """
    copy = deepcopy(network).eval()
    for module in list(copy.modules()):
        for (name, layer), (following, norm) in pairwise(list(module.named_children())):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(layer, norm))
                setattr(module, following, getattr(norm, "act", nn.Identity()))  # timm's norms include an activation
    with torch.no_grad():
        try:
            same = torch.allclose(copy(images), network.eval()(images), rtol=1e-3, atol=1e-3)
        except (AttributeError, TypeError):
            return network
    return copy if same else network


class Transfer(nn.Module):
    """A backbone and a new head on its features.

    The layers from ``fine_tune`` on are trained (see `freeze`). If the backbone is ``pretrained``, its batch norm keeps
    the statistics that came with its weights: they were computed from far more images than a batch has.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, fine_tune: str, pretrained: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self._frozen = freeze(backbone, fine_tune)
        if pretrained:
            norm = nn.modules.batchnorm._BatchNorm
            self._frozen += [module for module in backbone.modules() if isinstance(module, norm)]

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for module in self._frozen:
            module.training = False
        return self

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(images))
        return logits
