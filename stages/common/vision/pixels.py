"""Turn pixels of images into network inputs. featurize, train, evaluate and the export use the same code.

Resizing turns uint8 into uint8 (antialiased, like Pillow). So an image that was resized and stored for training has
exactly the bytes that the exported model computes from the original. All functions can be traced.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.jit.script_if_tracing
def resize_shorter(images: Tensor, size: int) -> Tensor:
    """Resize uint8 (N, 3, H, W): the shorter side to ``size`` pixels, the longer one in proportion (rounded)."""
    height, width = images.shape[-2], images.shape[-1]
    # torch.export traces sym_min without fixing the size; TorchScript does not support it.
    shorter = min(height, width) if torch.jit.is_scripting() else torch.sym_min(height, width)  # type: ignore[attr-defined]
    # Integers only, so that Python and an exported graph give the same.
    target = [(2 * side * size + shorter) // (2 * shorter) for side in (height, width)]
    return F.interpolate(images, target, mode="bilinear", antialias=True)  # type: ignore[arg-type]


@torch.jit.script_if_tracing
def centre_square(images: Tensor, side: int) -> Tensor:
    """Return the central ``side`` x ``side`` pixels of ``images`` (N, C, H, W)."""
    top, left = (images.shape[-2] - side) // 2, (images.shape[-1] - side) // 2
    line = torch.arange(
        side, device=images.device
    )  # with a slice, torch.export would treat square images as a special case
    return images.index_select(-2, line + top).index_select(-1, line + left)


def resize_square(images: Tensor, side: int, size: int) -> Tensor:
    """Resize square uint8 images (N, 3, ``side``, ``side``) to uint8 (N, 3, ``size``, ``size``)."""
    if side == size:
        return images
    if images.is_cuda:  # torch resizes bytes on the CPU only
        return resize_square(images.cpu(), side, size).to(images.device)
    return F.interpolate(images, [size, size], mode="bilinear", antialias=True)


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Normalise uint8 (N, 3, H, W) to float32, channels last, with mean 0 and deviation 1.

    ``mean`` and ``std`` (3) are of pixels in [0, 1].
    """
    count, channels, height, width = images.shape
    # Work on whole rows of pixels: in groups of 3 channels it takes several times as long.
    shift, scale = (-mean / std).repeat(width), (1 / (255 * std)).repeat(width)
    rows = images.permute(0, 2, 3, 1).reshape(count, height, width * channels).float()
    torch.addcmul(shift, rows, scale, out=rows)  # in place: allocating memory takes as long as the sum
    return rows.view(count, height, width, channels).permute(0, 3, 1, 2)
