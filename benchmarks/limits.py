"""Measure what a core of this processor can do at most, so that a benchmark can state how near it is.

Both limits are those of programs that do nothing else: a large matrix product in float32, and a copy of an array that
is larger than the caches. Times are the processor's, summed over threads, so other programs affect them little.
"""

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

SIDE, PRODUCTS = 1024, 10
"""Rows and columns of the matrices, and how often they are multiplied."""

COPIED = 2**28
"""Bytes of the array that is copied."""


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time of ``work``."""
    began = time.process_time()
    work()
    return time.process_time() - began


def gflops() -> float:
    """Multiply matrices. Returns 1e9 operations per second and core; a multiplication and an addition are two."""
    matrix = torch.randn(SIDE, SIDE)
    return PRODUCTS * 2 * SIDE**3 / seconds(lambda: [matrix @ matrix for _ in range(PRODUCTS)]) / 1e9


def gigabytes() -> float:
    """Copy an array. Returns 1e9 bytes per second and core, read and written."""
    source = np.ones(COPIED, np.uint8)
    target = np.zeros_like(source)
    return 2 * COPIED / seconds(lambda: np.copyto(target, source)) / 1e9


def _backward(gradient: list[int], images: list[int], weights: list[int], *rest: Any, out_shape: Any, **_: Any) -> int:
    """Each gradient of a convolution, by its inputs or by its weights, takes as many operations as the convolution."""
    transposed, wanted = rest[4], rest[7]
    return int(sum(wanted[:2]) * conv_flop_count(images, weights, gradient, transposed))


BACKWARD = {torch.ops.aten.convolution_backward: _backward}
"""Instead of torch's own formula, which counts a convolution in groups as often as there are groups."""


def operations(work: Callable[[], object]) -> int:
    """Return the operations of ``work``'s matrix products and convolutions in torch; a multiplication and an addition are two."""
    with FlopCounterMode(display=False, custom_mapping=BACKWARD) as counter:
        work()
    return int(counter.get_total_flops())


def of_training(network: nn.Module, images: Tensor) -> int:
    """Return the operations of a training step of ``network``, per image."""
    labels = torch.zeros(len(images), dtype=torch.int64)
    return operations(lambda: F.cross_entropy(network(images), labels).backward()) // len(images)


def processor() -> dict[str, Any]:
    """Return the instructions that torch's own code uses, the cores that this process may use, and how busy they are."""
    cores, busy = sorted(os.sched_getaffinity(0)), round(os.getloadavg()[0], 1)
    return {"instructions": torch.backends.cpu.get_cpu_capability(), "cores": cores, "load_before": busy}
