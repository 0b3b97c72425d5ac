"""Turn pixels of images into network inputs. featurize, train, evaluate and the export use the same code.

Resizing turns uint8 into uint8 (antialiased, like Pillow). So an image that was resized and stored for training has
exactly the bytes that the exported model computes from the original. All functions can be traced.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

TAPS_PRECISION = 15
"""torch's weights for resizing bytes are integers of at most this many bits."""


def resize_shorter(images: Tensor, size: int) -> Tensor:
    """Resize uint8 (N, 3, H, W): the shorter side to ``size`` pixels, the longer one in proportion (rounded)."""
    if torch.onnx.is_in_onnx_export():
        sides = [torch.as_tensor(side) for side in images.shape[-2:]]  # not ints: the exporter would fix them
        shorter = torch.minimum(sides[0], sides[1])
        height, width = ((2 * side * size + shorter) // (2 * shorter) for side in sides)
        return _resize_by_matrices(images, height, width)
    resized: Tensor = _resize_shorter(images, size)
    return resized


@torch.jit.script_if_tracing
def _resize_shorter(images: Tensor, size: int) -> Tensor:
    height, width = images.shape[-2], images.shape[-1]
    # torch.export traces sym_min without fixing the size; TorchScript does not support it.
    shorter = min(height, width) if torch.jit.is_scripting() else torch.sym_min(height, width)  # type: ignore[attr-defined]
    # Integers only, so that Python and an exported graph give the same.
    target = [(2 * side * size + shorter) // (2 * shorter) for side in (height, width)]
    # Only this operator of F.interpolate: a script of all of it names operators that older versions of torch lack.
    resized: Tensor = torch.ops.aten._upsample_bilinear2d_aa(images, target, False, None)
    return resized


@torch.jit.script_if_tracing
def centre_square(images: Tensor, side: int) -> Tensor:
    """Return the central ``side`` x ``side`` pixels of ``images`` (N, C, H, W)."""
    top, left = (images.shape[-2] - side) // 2, (images.shape[-1] - side) // 2
    # Not a slice: torch.export would treat square images as a special case.
    line = torch.arange(side, device=images.device)
    return images.index_select(-2, line + top).index_select(-1, line + left)


def resize_square(images: Tensor, side: int, size: int) -> Tensor:
    """Resize square uint8 images (N, 3, ``side``, ``side``) to uint8 (N, 3, ``size``, ``size``)."""
    if side == size:
        return images
    if images.is_cuda:  # torch resizes bytes on the CPU only
        return resize_square(images.cpu(), side, size).to(images.device)
    if torch.onnx.is_in_onnx_export():
        target = torch.tensor(size)
        return _resize_by_matrices(images, target, target)
    return F.interpolate(images, [size, size], mode="bilinear", antialias=True)


def _resize_by_matrices(images: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Resize uint8 (N, C, H, W) to the same bytes as torch's antialiased interpolation, in operators that ONNX has.

    ``height`` and ``width`` are whole numbers ().
    """
    rows = _resize_lines(images.double(), width)
    return _resize_lines(rows.transpose(2, 3), height).transpose(2, 3).to(torch.uint8)


def _resize_lines(lines: Tensor, target: Tensor) -> Tensor:
    """Resize float64 (N, C, L, size), whole numbers from 0 to 255, to (N, C, L, ``target``)."""
    weights, unit = _weights(torch.as_tensor(lines.shape[3]), target)
    return ((lines @ weights.T) / unit + 0.5).floor().clamp(0, 255)


def _weights(size: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return torch's integer weights of ``size`` pixels for each of ``target`` pixels, (target, size), and their sum (1).

    As `_compute_index_ranges_int16_weights` in ATen's UpSampleKernel.cpp. Both are float64, in which all sums here are
    exact. Nothing is a scalar, which the exporter would compute in float32.
    """
    columns, rows = (torch.arange(count).double() for count in (size, target))  # type: ignore[call-overload]  # () is taken
    columns, rows = columns[None], rows[:, None]
    length = torch.ones_like(columns).sum(1, keepdim=True)
    scale = length / torch.ones_like(rows).sum(0, keepdim=True)
    reach = scale.clamp(min=1.0)
    centre = scale * (rows + 0.5)
    first = (centre - reach + 0.5).floor().clamp(min=0.0)
    last = torch.minimum((centre + reach + 0.5).floor(), length)
    triangle = (1.0 - ((columns - centre + 0.5) * (1.0 / reach)).abs()).clamp(min=0.0)
    inside = (columns >= first) & (columns < last)
    triangle = triangle * inside.double()
    shares = triangle / triangle.cumsum(1)[:, -1:]  # torch adds one after the other, too
    units = 2.0 ** torch.arange(1, 23, dtype=torch.float64)[None]
    fits = (shares.amax((0, 1), keepdim=True) * units + 0.5).floor() < 2**TAPS_PRECISION
    unit = torch.where(fits, units, torch.ones_like(units)).amax(1, keepdim=True)
    return (shares * unit + 0.5).floor(), unit


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
