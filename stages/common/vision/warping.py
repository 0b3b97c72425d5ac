"""Rotate, scale, shear and shift images, each by a matrix of its own."""

import torch
from torch import Tensor
from torch.nn import functional as F


def warp(images: Tensor, matrices: Tensor, height: int, width: int, padding: str = "zeros") -> Tensor:
    """Return images (N, C, ``height``, ``width``): each pixel is that of ``images`` (N, C, H, W) where its matrix leads.

    ``matrices``, float32 (N, 2, 3), map positions of the result to positions in ``images``; sides reach from -1 to 1.
    ``padding``: what is outside, as `torch.nn.functional.grid_sample` names it. torch's own `affine_grid` multiplies
    matrices with MKL, which rounds differently on processors of Intel with AVX-512.
    """
    across, down = (
        (2 * torch.arange(side, device=images.device, dtype=torch.float32) + 1) / side - 1 for side in (width, height)
    )
    parts = matrices.flatten(1).T[..., None, None]  # (6, N, 1, 1)
    grid = torch.stack([parts[row] * across + parts[row + 1] * down[:, None] + parts[row + 2] for row in (0, 3)], 3)
    return F.grid_sample(images, grid, padding_mode=padding, align_corners=False)
