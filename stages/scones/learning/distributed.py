"""Training by several processes that end as one would: `torchrun --nproc_per_node 2 -m stages.scones.train`.

Each process computes its share of every batch; gradients, the statistics of batch norm and what dropout leaves out are
those of the whole batch.
"""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present
from torch.nn.parallel import DistributedDataParallel
from torchvision.ops import StochasticDepth

from stages.common import training
from stages.common.program import InputError

PREFIX = "module."
"""Before the names of parameters in a shared network."""


@contextmanager
def group() -> Iterator[None]:
    """Join the other processes, if torchrun has started any."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's number; 0 writes the results."""
    return dist.get_rank() if dist.is_initialized() else 0


def share_of(batch_size: int) -> int:
    """How many pictures of a batch are this process's. Raises InputError unless all get as many, and batch norm its two."""
    if batch_size % size() or batch_size < 2 * size():
        raise InputError(
            f"scones.batch_size = {batch_size} is not allowed with {size()} processes: expected a multiple, twice as many at least"
        )
    return batch_size // size()


def shared(batches: training.Epoch) -> training.Epoch:
    """Of each batch this process's share."""
    for inputs, labels in batches:
        yield inputs[rank() :: size()], labels[rank() :: size()]


def wrapped(network: nn.Module) -> nn.Module:
    """``network`` as one that learns the same in all processes; alone, as it is."""
    if size() == 1:
        return network
    for layer in network.modules():
        if isinstance(layer, _BatchNorm):
            # Not torch's SyncBatchNorm: it needs GPUs.
            layer.forward = functools.partial(_normalised, layer)  # type: ignore[method-assign]
        elif isinstance(layer, nn.Dropout | StochasticDepth):
            layer.forward = functools.partial(_thinned, layer)  # type: ignore[method-assign]
    return DistributedDataParallel(network)


def unwrapped(weights: training.Weights) -> training.Weights:
    """The weights of a network that may have been `wrapped`, by its own names."""
    consume_prefix_in_state_dict_if_present(weights, PREFIX)
    return weights


def _normalised(layer: _BatchNorm, inputs: Tensor) -> Tensor:
    """Batch norm's forward with the mean and variance over the shares of all processes."""
    if not layer.training:
        return type(layer).forward(layer, inputs)
    over = [dimension for dimension in range(inputs.ndim) if dimension != 1]
    count = size() * inputs.numel() / inputs.shape[1]
    values = inputs.float()
    sums = _Sum.apply(torch.stack([values.sum(over), values.square().sum(over)]))
    mean = sums[0] / count
    variance = (sums[1] / count - mean.square()).clamp(min=0)  # a channel that is all one value may come out below
    with torch.no_grad():
        assert layer.running_mean is not None
        assert layer.running_var is not None
        assert layer.momentum is not None
        layer.running_mean.lerp_(mean, layer.momentum)
        layer.running_var.lerp_(variance * count / (count - 1), layer.momentum)
        if layer.num_batches_tracked is not None:
            layer.num_batches_tracked += 1
    shape = [1, -1, *(1 for _ in over[1:])]
    result = (values - mean.view(shape)) * (variance + layer.eps).rsqrt().view(shape)
    return torch.addcmul(layer.bias.view(shape), result, layer.weight.view(shape)) if layer.affine else result


def _thinned(layer: nn.Dropout | StochasticDepth, inputs: Tensor) -> Tensor:
    """Dropout's forward: all processes have the same seed, draw for the whole batch, and take their share."""
    if not layer.training:
        return inputs
    # What the layer makes of ones is what it multiplies by. `cat` keeps the layout in memory, in whose order is drawn.
    factors: Tensor = type(layer).forward(layer, torch.ones_like(torch.cat([inputs.detach()] * size())))
    return inputs * factors[rank() :: size()]


class _Sum(torch.autograd.Function):
    """The sum over all processes; so is its gradient."""

    @staticmethod
    def forward(_: object, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: object, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total
