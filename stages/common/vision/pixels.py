"""From the pixels of photographs to what a network takes: the same code in featurize, train, evaluate and the export.

Resizing works on bytes and gives bytes (antialiased, as Pillow does it), so that a photograph which was resized and
stored for training is, byte for byte, what the exported model makes of the original. Everything here can be traced.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.jit.script_if_tracing
def resize_shorter(images: Tensor, size: int) -> Tensor:
    """uint8 (N, 3, H, W) with the shorter side resized to ``size`` pixels, the longer one in proportion (rounded)."""
    height, width = images.shape[-2], images.shape[-1]
    # torch.export follows sym_min without fixing the size, TorchScript doesn't know it.
    shorter = min(height, width) if torch.jit.is_scripting() else torch.sym_min(height, width)  # type: ignore[attr-defined]
    # Whole numbers alone: the same in Python and in an exported graph.
    target = [(2 * side * size + shorter) // (2 * shorter) for side in (height, width)]
    return F.interpolate(images, target, mode="bilinear", antialias=True)  # type: ignore[arg-type]


@torch.jit.script_if_tracing
def centre_square(images: Tensor, side: int) -> Tensor:
    """The ``side`` x ``side`` pixels in the middle of ``images`` (N, C, H, W)."""
    top, left = (images.shape[-2] - side) // 2, (images.shape[-1] - side) // 2
    line = torch.arange(
        side, device=images.device
    )  # a slice would make torch.export tell square photographs from others
    return images.index_select(-2, line + top).index_select(-1, line + left)


def resize_square(images: Tensor, side: int, size: int) -> Tensor:
    """Square uint8 images (N, 3, ``side``, ``side``) as uint8 (N, 3, ``size``, ``size``)."""
    return images if side == size else F.interpolate(images, [size, size], mode="bilinear", antialias=True)


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 (N, 3, H, W) as float32, channels last, with mean 0 and deviation 1; ``mean``, ``std`` (3) are of pixels in [0, 1]."""
    count, channels, height, width = images.shape
    # A row of pixels at once: in threes, by channel, it takes several times as long.
    shift, scale = (-mean / std).repeat(width), (1 / (255 * std)).repeat(width)
    rows = images.permute(0, 2, 3, 1).reshape(count, height, width * channels).float()
    torch.addcmul(shift, rows, scale, out=rows)  # in place: fresh memory costs as much as the sum
    return rows.view(count, height, width, channels).permute(0, 3, 1, 2)
