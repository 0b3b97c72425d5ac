"""The limit of a processor core, a large matrix product's speed in float32, and how much of it a network needs.

Times are the processor's, so other programs affect them little.
"""

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

SIDE, PRODUCTS = 1024, 10
"""Rows and columns of the product, and products that are measured together."""


def seconds(work: Callable[[], object]) -> float:
    """Return the processor's seconds for ``work``."""
    began = time.process_time()
    work()
    return time.process_time() - began


def products() -> float:
    """Return the processor's seconds for `PRODUCTS` products."""
    matrix = torch.randn(SIDE, SIDE)
    return seconds(lambda: [matrix @ matrix for _ in range(PRODUCTS)])


def gflops(taken: float) -> float:
    """Return the speed in 10^9 operations a second if `products` took ``taken`` seconds."""
    return PRODUCTS * 2 * SIDE**3 / taken / 1e9


def multiplications(work: Callable[[], object]) -> int:
    """Return the multiplications in the matrix products and convolutions of ``work``; each comes with an addition."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops()) // 2
