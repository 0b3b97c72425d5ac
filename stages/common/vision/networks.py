"""Convolutional networks that are trained from scratch. They turn pixels into logits."""

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn


def vgg(classes: int, width: float, dropout: float) -> nn.Sequential:
    """Build five blocks of 3x3 convolutions with batch norm, of 64 to 512 channels, and three fully connected layers.

    This is configuration D of https://arxiv.org/abs/1409.1556 with batch norm. All layers but the last are ``width``
    times as wide.
    """
    layers: list[nn.Module] = []
    channels = 3
    for block, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        wide = max(1, round(block * width))
        for _ in range(depth):
            layers += [nn.Conv2d(channels, wide, 3, padding=1), nn.BatchNorm2d(wide), nn.ReLU()]
            channels = wide
        layers.append(nn.MaxPool2d(2))
    hidden = max(1, round(4096 * width))
    return nn.Sequential(
        *layers,
        AveragePool(7),
        nn.Flatten(),
        nn.Linear(49 * channels, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, classes),
    )


class AveragePool(nn.AdaptiveAvgPool2d):
    """Average maps (N, C, H, W) to (N, C, ``side``, ``side``).

    On a GPU the same means are sums of slices, because torch's kernel has no deterministic gradient there.
    """

    def __init__(self, side: int) -> None:
        super().__init__(side)
        self.side = side

    def forward(self, maps: Tensor) -> Tensor:
        return averaged(maps, self.side) if maps.is_cuda else super().forward(maps)


def averaged(maps: Tensor, side: int) -> Tensor:
    """Return the means of maps (N, C, H, W) over ``side`` x ``side`` regions, those of torch's adaptive_avg_pool2d."""
    for dimension in (2, 3):
        length = maps.shape[dimension]
        if length != side:
            regions = [(index * length // side, -(-(index + 1) * length // side)) for index in range(side)]
            means = [maps.narrow(dimension, begin, end - begin).mean(dimension) for begin, end in regions]
            maps = torch.stack(means, dimension)
    return maps


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut (https://arxiv.org/abs/1512.03385). ``stride`` is 1 or 2."""

    def __init__(self, channels: int, wide: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, wide, 3, stride, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            nn.Conv2d(wide, wide, 3, 1, 1, bias=False),
            nn.BatchNorm2d(wide),
        )
        self.shortcut = nn.Sequential()
        if stride != 1:  # a strided convolution would use only one pixel in four
            self.shortcut.append(nn.AvgPool2d(stride, ceil_mode=True))
        if channels != wide:
            self.shortcut.extend([nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide)])

    def forward(self, maps: Tensor) -> Tensor:
        result: Tensor = self.convolutions(maps) + self.shortcut(maps)
        return result.relu()


def residual(classes: int, width: int, depth: int, dropout: float) -> nn.Sequential:
    """Build four stages of ``depth`` blocks.

    The first has ``width`` channels at half the image's side. Each next one doubles the channels and halves the side.
    """
    channels = max(1, width // 2)
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
    for stage in range(4):
        wide = width * 2**stage
        for block in range(depth):
            layers.append(Block(channels, wide, 2 if stage and block == 0 else 1))
            channels = wide
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels, classes)
    )


def head(features: int, classes: int, hidden: int | None, dropout: float, affine: bool = False) -> nn.Sequential:
    """Build the layers from features (N, ``features``) to logits.

    Batch norm scales the features, also by learnt factors if ``affine``. Then there is one linear layer, or two with
    ``hidden`` units between them.
    """
    layers: list[nn.Module] = [nn.BatchNorm1d(features, affine=affine), nn.Dropout(dropout)]
    if hidden is not None:
        layers += [nn.Linear(features, hidden), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(hidden or features, classes))


class AttentionPool(nn.Module):
    """Maps (N, ``channels``, H, W) to ``heads`` weighted means over their positions, put together: (N, ``heads`` * ``channels``).

    Each head learns its own weights, which depend on the maps: attention with a learned query
    (https://arxiv.org/abs/1802.04712). They are positive, and their sum is 1.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.keys = nn.Sequential(nn.BatchNorm2d(channels, affine=False), nn.Conv2d(channels, heads, 1))
        self.values = nn.BatchNorm2d(channels, affine=False)
        nn.init.zeros_(self.keys[1].weight)  # type: ignore[arg-type]  # at first all positions count the same

    def forward(self, maps: Tensor) -> Tensor:
        weights = self.keys(maps).flatten(2).softmax(2)
        # `saliency` takes the last maps. These are behind the weights, so their gradients contain the weights and nothing else.
        values = self.values(maps).flatten(2)
        # Not a product of matrices, which rounds differently on different processors.
        return torch.cat([(values * one).sum(2) for one in weights.split(1, 1)], 1)


class FixedNorm(nn.BatchNorm1d):
    """Batch norm that leaves features as they are, also in training: a layer behind it was trained without it."""

    def train(self, mode: bool = True) -> Self:
        return super().train(False)


def take_over(head: nn.Sequential, last: Mapping[str, Tensor]) -> bool:
    """Give ``head`` the weights ``last`` of a linear layer that stood behind the same features. Returns False if they don't fit."""
    linear, norm = head[-1], head[0]
    assert isinstance(linear, nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d)
    fits = {name: value.shape for name, value in last.items()} == {
        name: value.shape for name, value in linear.state_dict().items()
    }
    if not fits or len(head) != 3:
        return False
    linear.load_state_dict(last)
    fixed = FixedNorm(norm.num_features, affine=False).eval()
    fixed.running_var.fill_(1 - norm.eps)  # type: ignore[union-attr]  # so that it divides by 1
    head[0] = fixed
    return True
