"""Where in a photograph the evidence for a class lies, as a network sees it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BATCH = 8
"""Photographs at once: all that lies between them and the last maps stays in memory."""


def saliency(network: nn.Module, inputs: Tensor, classes: Tensor) -> tuple[str, Tensor]:
    """How much each place of ``inputs`` (N, 3, H, W) speaks for its class, int64 (N): the method, float32 (N, H, W) in [0, 1].

    ``network`` is in eval mode. Grad-CAM (https://arxiv.org/abs/1610.02391) on its last maps; where it has none, as
    vision transformers, the largest gradient of a pixel's colours (https://arxiv.org/abs/1312.6034). Each photograph's
    strongest place is 1; all are 0 if nothing speaks for the class.
    """
    pairs = zip(inputs.split(BATCH), classes.split(BATCH), strict=True)
    methods, strengths = zip(*(_saliency(network, *pair) for pair in pairs), strict=True)
    return methods[0], torch.cat(strengths)


def _saliency(network: nn.Module, inputs: Tensor, classes: Tensor) -> tuple[str, Tensor]:
    inputs = inputs.detach().requires_grad_()  # else there is no gradient in a frozen network
    logits, maps = _logits_and_maps(network, inputs)
    evidence = logits.gather(1, classes[:, None]).sum()  # in eval mode photographs don't touch each other
    if maps is None:
        method, (gradient,) = "gradient of the pixels", torch.autograd.grad(evidence, inputs)
        strength = gradient.abs().amax(1)
    else:
        method, (gradient,) = "Grad-CAM", torch.autograd.grad(evidence, maps, retain_graph=True)
        weighted = (gradient.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).relu()
        strength = _enlarged(weighted, _offset(maps, inputs), inputs.shape)
    strongest = strength.amax((1, 2), keepdim=True)
    return method, (strength / strongest.where(strongest > 0, 1)).detach()


def _offset(maps: Tensor, inputs: Tensor) -> Tensor:
    """How far from their own place in the photograph the cells of ``maps`` look, down and right, as shares of its sides: (2).

    A convolution with stride 2 and padding 1 looks at the first of each two pixels; after five of them that is half a cell,
    by which evidence would be drawn too far down and right. Measured by the gradient of the cells in the middle.
    """
    middle = [slice((side - 1) // 2, side // 2 + 1) for side in maps.shape[2:]]
    (gradient,) = torch.autograd.grad(maps[:, :, middle[0], middle[1]].sum(), inputs)
    seen = gradient.square().sum((0, 1))
    centres = [
        (seen.sum(1 - axis) * (torch.arange(side) + 0.5)).sum() / seen.sum() / side
        for axis, side in enumerate(seen.shape)
    ]
    return torch.stack(centres).nan_to_num(0.5) - 0.5


def _enlarged(strength: Tensor, offset: Tensor, shape: torch.Size) -> Tensor:
    """``strength`` (N, 1, h, w) of cells as that of pixels, (N, H, W), each cell's where it looks."""
    down, right = (-2 * offset).tolist()  # a photograph's sides are 2 long here
    move = torch.tensor([[1.0, 0.0, right], [0.0, 1.0, down]]).expand(shape[0], 2, 3)
    grid = F.affine_grid(move, [shape[0], 1, *shape[2:]], align_corners=False)
    return F.grid_sample(strength, grid, padding_mode="border", align_corners=False)[:, 0]


def _logits_and_maps(network: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
    """The logits, and the last thing with more than one place in it that any layer gave, if that is maps (N, C, H, W).

    It may be a sequence (N, places, C) as well: a transformer's first layer alone gives maps, and they say little.
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
    return logits, last[0] if last and last[0].dim() == 4 else None
