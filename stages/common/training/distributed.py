"""Train in several processes with the result of one.

torchrun (`torchrun --nproc_per_node 2 -m stages.scones.train`) or Ray starts the processes. Each computes its part of
every batch. Gradients, batch norm's statistics, dropout and random changes of images are computed for the whole batch.
"""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

Value = TypeVar("Value")

_joined: dist.ProcessGroup | None = None
"""The processes that share batches. None: there is only this one."""


def sharers(batch_size: int, processes: int) -> int:
    """Return how many of ``processes`` can share a batch: equal parts, each of at least 2 images for batch norm."""
    return next(
        count for count in range(processes, 0, -1) if (not batch_size % count and batch_size >= 2 * count) or count == 1
    )


@contextmanager
def group(batch_size: int) -> Iterator[bool]:
    """Join the other processes, if torchrun or Ray started any. Yields False if this one is left over (`sharers`)."""
    global _joined
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield True
        return
    began = not dist.is_initialized()  # Ray initializes it
    if began:
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    members = range(sharers(batch_size, dist.get_world_size()))
    chosen = dist.new_group(members)
    taking_part = dist.get_rank() in members
    try:
        if taking_part and len(members) > 1:
            _joined = chosen  # type: ignore[assignment]  # a member gets a group
        yield taking_part
    finally:
        _joined = None
        if began:
            dist.destroy_process_group()


@contextmanager
def alone() -> Iterator[None]:
    """Let this process work without the others inside the block."""
    global _joined
    others, _joined = _joined, None
    try:
        yield
    finally:
        _joined = others


def size() -> int:
    """Return how many processes train together."""
    return dist.get_world_size(_joined) if _joined else 1


def rank() -> int:
    """Return this process's number. Process 0 writes the results."""
    return dist.get_rank(_joined) if _joined else 0


def whole(count: int) -> int:
    """Return the number of images in all processes when this one has ``count``."""
    return count * size()


def share(values: Tensor, dimension: int = 0) -> Tensor:
    """Return this process's part, along ``dimension``, of values made for the whole batch."""
    if size() == 1:
        return values
    return values.index_select(dimension, torch.arange(rank(), values.shape[dimension], size(), device=values.device))


def total(values: Tensor) -> Tensor:
    """Return the sum of ``values`` over all processes."""
    if size() > 1:
        values = values.clone()
        work = dist.all_reduce(values, group=_joined, async_op=True)
        while not (values.is_cuda or work.is_completed()):
            os.sched_yield()  # waking a sleeping core takes longer than this sum
        work.wait()
    return values


def of_first(value: Value) -> Value:
    """Return the first process's ``value`` in all processes."""
    if size() > 1:
        values = [value]
        dist.broadcast_object_list(values, src=0, group=_joined)
        value = values[0]
    return value


def in_turns(parts: Sequence[Tensor], compute: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply ``compute`` to each of ``parts`` and join the resulting rows in order, on the CPU.

    The processes divide the parts among themselves, and each gets all rows.
    """
    if size() == 1:
        return torch.cat([compute(part) for part in parts])
    found: list[dict[int, Tensor]] = [{}] * size()
    mine = {index: compute(parts[index]).cpu() for index in range(rank(), len(parts), size())}
    dist.all_gather_object(found, mine, group=_joined)
    rows = {index: part for answers in found for index, part in answers.items()}
    return torch.cat([rows[index] for index in range(len(parts))])


def wrapped(network: nn.Module) -> nn.Module:
    """Return ``network`` wrapped so that all processes learn the same. A single process gets the network itself."""
    if size() == 1:
        return network
    from torchvision.ops import StochasticDepth  # 1.5 s, which a single process can save

    for layer in network.modules():
        if isinstance(layer, _BatchNorm):
            # Not torch's SyncBatchNorm: it needs GPUs.
            layer.forward = functools.partial(_normalised, layer)  # type: ignore[method-assign]
        elif isinstance(layer, nn.Dropout | StochasticDepth):
            layer.forward = functools.partial(_thinned, layer)  # type: ignore[method-assign]
    # Gradients are summed in place. Batch norm's buffers need no sync: they are the same in all processes.
    return DistributedDataParallel(
        network, process_group=_joined, gradient_as_bucket_view=True, forward_sync_buffers=False
    )


def _normalised(layer: _BatchNorm, inputs: Tensor) -> Tensor:
    """Batch norm's forward with the mean and variance over all processes."""
    if not layer.training:
        return type(layer).forward(layer, inputs)
    result: Tensor
    result, mean, variance = _Normalised.apply(inputs.float(), layer.weight, layer.bias, layer.eps)
    count = whole(inputs.numel() // inputs.shape[1])
    with torch.no_grad():
        assert layer.running_mean is not None
        assert layer.running_var is not None
        assert layer.momentum is not None
        layer.running_mean.lerp_(mean, layer.momentum)
        layer.running_var.lerp_(variance * count / (count - 1), layer.momentum)
        if layer.num_batches_tracked is not None:
            layer.num_batches_tracked += 1
    for step in ("drop", "act"):  # timm's batch norm includes the activation
        if isinstance(following := getattr(layer, step, None), nn.Module):
            result = following(result)
    return result


class _Normalised(torch.autograd.Function):
    """Normalises float32 (N, channels, ...) by the statistics of all processes. Uses torch's kernels."""

    @staticmethod
    def forward(
        context: Any, inputs: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = torch.batch_norm_update_stats(inputs, None, None, 0.0)
        moments = total(torch.stack([mean, variance + mean.square()])) / size()
        mean = moments[0]
        variance = (moments[1] - mean.square()).clamp(min=0)  # rounding can make a constant channel's negative
        context.save_for_backward(inputs, weight, mean, (variance + eps).rsqrt())
        context.mark_non_differentiable(mean, variance)
        return F.batch_norm(inputs, mean, variance, weight, bias, False, 0.0, eps), mean, variance

    @staticmethod
    def backward(context: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, mean, deviation = context.saved_tensors  # `deviation` is 1 / std
        _, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, inputs, weight, None, None, mean, deviation, True, 0.0, [False, True, True]
        )
        sums = total(torch.stack([by_bias, by_weight])) / whole(inputs.numel() // inputs.shape[1])
        # weight / std * (gradient - mean(gradient) - normalised * mean(gradient * normalised)), as factors of gradient
        # and inputs
        factor = deviation if weight is None else deviation * weight
        slope = -factor * deviation * sums[1]
        shape = [1, -1] + [1] * (inputs.ndim - 2)
        constant = (-factor * sums[0] - slope * mean).view(shape)
        result = torch.addcmul(constant, gradient, factor.view(shape)).addcmul_(inputs, slope.view(shape))
        return result, *((None, None) if weight is None else (by_weight, by_bias)), None


def _thinned(layer: nn.Module, inputs: Tensor) -> Tensor:
    """Dropout's forward. All processes have the same seed, draw for the whole batch, and use their own part."""
    if not layer.training:
        return inputs
    # Applied to ones, the layer returns its factors. They are drawn in memory order, and `cat` keeps the layout.
    factors: Tensor = type(layer).forward(layer, torch.ones_like(torch.cat([inputs.detach()] * size())))
    return inputs * factors[rank() :: size()]
