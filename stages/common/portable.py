"""Matrix products that round the same on every x86-64 processor with AVX2.

torch computes linear layers with MKL, which always chooses its code by the processor's vendor: no setting prevents it.
OpenBLAS, limited to one kind of code (`stages/__init__.py`), gives the same bytes everywhere. So do oneDNN's
convolutions, but on one thread torch computes 1x1 convolutions of fewer than 16 images with MKL.
"""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import stages

SMALL_BATCH = 16
"""From this number of images, torch computes 1x1 convolutions with oneDNN on one thread, too."""


def is_portable(device: torch.device, precision: str, threads: int | None, compiled: bool = False) -> bool:
    """Return whether results are the same bytes everywhere. Splitting a sum among threads changes its rounding."""
    return stages.portable() and device.type == "cpu" and precision == "float32" and threads == 1 and not compiled


class Computing(NamedTuple):
    """The settings of a training that affect the network's results."""

    precision: str
    """float32 or bfloat16, as given or as `auto` chose."""
    threads: int | None
    """None: one per core."""
    portable: bool
    """Whether the results are the same bytes on every x86-64 processor with AVX2."""

    def repeat(self, network: nn.Module) -> None:
        """Make this process compute with ``network`` as training did."""
        if self.threads:
            torch.set_num_threads(self.threads)
        if self.portable and stages.portable():
            make_portable(network)


def make_portable(network: nn.Module) -> None:
    """Make linear layers and 1x1 convolutions of ``network`` use OpenBLAS. Parameters and their names stay the same."""
    for layer in network.modules():
        if type(layer) is nn.Linear:
            layer.forward = partial(_linear, layer)  # type: ignore[method-assign]
        elif isinstance(layer, nn.Conv2d) and _is_pointwise(layer):
            layer._conv_forward = partial(_convolve, layer)  # type: ignore[method-assign]


def _is_pointwise(layer: nn.Conv2d) -> bool:
    return layer.kernel_size == layer.stride == (1, 1) and layer.groups == 1 and layer.padding in ((0, 0), 0, "same")


class _Product(torch.autograd.Function):
    """float32 inputs (N, in) times weights (out, in), plus a bias (out) or None: (N, out).

    All in one function: for a small network torch's own steps around it take as long as the product.
    """

    @staticmethod
    def forward(context: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        context.save_for_backward(inputs, weight)
        rows = torch.from_numpy(inputs.numpy() @ weight.numpy().T)
        return rows if bias is None else rows.add_(bias)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        inputs, weight = context.saved_tensors
        rows = gradient.numpy()
        by_inputs = torch.from_numpy(rows @ weight.numpy()) if context.needs_input_grad[0] else None
        by_weight = torch.from_numpy(rows.T @ inputs.numpy()) if context.needs_input_grad[1] else None
        return by_inputs, by_weight, gradient.sum(0) if context.needs_input_grad[2] else None


def _linear(layer: nn.Linear, inputs: Tensor) -> Tensor:
    if inputs.dim() == 2:
        return _Product.apply(inputs, layer.weight, layer.bias)  # type: ignore[no-any-return]
    rows: Tensor = _Product.apply(inputs.reshape(-1, layer.in_features), layer.weight, layer.bias)
    return rows.view(*inputs.shape[:-1], layer.out_features)


def _convolve(layer: nn.Conv2d, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if len(inputs) >= SMALL_BATCH:
        maps: Tensor = nn.Conv2d._conv_forward(layer, inputs, weight, bias)
        return maps
    count, channels, height, width = inputs.shape
    pixels = inputs.permute(0, 2, 3, 1).reshape(-1, channels)
    rows: Tensor = _Product.apply(pixels, weight.flatten(1), bias)
    return rows.view(count, height, width, -1).permute(0, 3, 1, 2)
