"""Saliency maps: which parts of a photograph are a network's evidence for a class.

Exported models include this file, so it imports only torch.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BATCH = 8
"""Photographs per batch. All activations up to the last maps stay in memory."""


Look = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Returns the logits and the last maps of inputs, see `logits_and_maps`."""


def saliency(network: nn.Module, inputs: Tensor, classes: Tensor) -> tuple[str, Tensor]:
    """Return the method's name and, for each pixel of ``inputs`` (N, 3, H, W), the evidence for its class in ``classes``, int64 (N).

    The evidence is float32 (N, H, W) in [0, 1]. ``network`` must be in eval mode. The method is HiResCAM
    (https://arxiv.org/abs/2011.08891) on the last maps: what each position adds to the class. Of a network with attention
    these are the values, and their gradients contain the attention. A network without maps, such as a vision transformer, gets the
    largest gradient of a pixel's colours (https://arxiv.org/abs/1312.6034). Each photograph's maximum is 1; without any
    evidence all values are 0.
    """
    pairs = zip(inputs.split(BATCH), classes.split(BATCH), strict=True)
    methods, strengths = zip(*(evidence(partial(logits_and_maps, network), *pair) for pair in pairs), strict=True)
    return methods[0], torch.cat(strengths)


def evidence(look: Look, inputs: Tensor, classes: Tensor) -> tuple[str, Tensor]:
    """Return what `saliency` returns, computed in one batch by the function ``look``."""
    inputs = inputs.detach().requires_grad_()  # a frozen network has no gradients otherwise
    logits, maps = look(inputs)
    total = logits.gather(1, classes[:, None]).sum()  # in eval mode photographs are independent
    if not maps.numel():
        method, (gradient,) = "gradient of the pixels", torch.autograd.grad(total, inputs)
        strength = gradient.abs().amax(1)
    else:
        method, (gradient,) = "HiResCAM", torch.autograd.grad(total, maps, retain_graph=True)
        weighted = (gradient * maps).sum(1, keepdim=True).relu()
        strength = _enlarged(weighted, _offset(maps, inputs), inputs.shape)
    strongest = strength.amax((1, 2), keepdim=True)
    return method, (strength / strongest.where(strongest > 0, 1)).detach()


def _offset(maps: Tensor, inputs: Tensor) -> Tensor:
    """Return how far the cells of ``maps`` look from their own position, down and right, as fractions of the photograph's sides: (2).

    A convolution with stride 2 and padding 1 is centred on the first pixel of each pair. After five of them the offset
    is half a cell. Without correction, evidence would be plotted too far down and right. The offset is measured from
    the gradient of the middle cells.
    """
    middle = [slice((side - 1) // 2, side // 2 + 1) for side in maps.shape[2:]]
    (gradient,) = torch.autograd.grad(maps[:, :, middle[0], middle[1]].sum(), inputs)
    seen = gradient.square().sum((0, 1))
    lines = [(seen.sum(1 - axis), torch.arange(side) + 0.5, side) for axis, side in enumerate(seen.shape)]
    centres = [(line * place).sum() / seen.sum() / side for line, place, side in lines]
    return torch.stack(centres).nan_to_num(0.5) - 0.5


def _enlarged(strength: Tensor, offset: Tensor, shape: torch.Size) -> Tensor:
    """Resize ``strength`` (N, 1, h, w) of cells to pixels (N, H, W), corrected by ``offset``."""
    down, right = (-2 * offset).tolist()  # in these coordinates the sides have length 2
    move = torch.tensor([[1.0, 0.0, right], [0.0, 1.0, down]]).expand(shape[0], 2, 3)
    # The products with 1 and 0 are exact, so the grid is the same whatever multiplies the matrices.
    grid = F.affine_grid(move, [shape[0], 1, *shape[2:]], align_corners=False)
    return F.grid_sample(strength, grid, padding_mode="border", align_corners=False)[:, 0]


def logits_and_maps(network: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits, and the last layer output with more than one position if it is maps (N, C, H, W), or else nothing (0).

    In a transformer that output is a sequence (N, positions, C): only its first layer gives maps, and they are not
    informative.
    """
    last: list[Tensor] = []

    def keep(_layer: nn.Module, _arguments: object, output: object) -> None:
        if isinstance(output, Tensor) and output.shape[2:].numel() > 1:
            last[:] = [output]

    hooks = [layer.register_forward_hook(keep) for layer in network.modules()]
    try:
        logits = network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return logits, last[0] if last and last[0].dim() == 4 else logits.new_empty(0)
