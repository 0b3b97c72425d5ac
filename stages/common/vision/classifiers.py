"""Build the networks that a project's parameters can name. They turn normalised images into logits."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import nn

from stages.common.vision import backbones, networks


class Built(NamedTuple):
    """A network from normalised images to logits, and its normalisation. None: computed from the training split."""

    network: nn.Module
    mean: list[float] | None
    std: list[float] | None


def build(name: str, settings: Mapping[str, Any], classes: int, weights: str = "none", download: bool = True) -> Built:
    """Build the network `scratch`, `residual` or `transfer` for ``classes`` classes, with the parameters of that name.

    ``weights`` (the backbone's initial weights), ``download`` and the InputErrors are those of `backbones.build`.
    """
    if name == "scratch":
        return Built(networks.vgg(classes, settings["width"], settings["dropout"]), None, None)
    if name == "residual":
        return Built(networks.residual(classes, settings["width"], settings["depth"], settings["dropout"]), None, None)
    layers, hidden = settings.get("layers", []), settings.get("hidden")
    backbone = backbones.build(settings["backbone"], weights, layers, settings["image_size"], download)
    head = networks.head(backbone.size, classes, hidden, settings["dropout"])
    network = backbones.Transfer(backbone.network, head, settings["fine_tune"], weights != "none")
    return Built(network, backbone.mean, backbone.std)
