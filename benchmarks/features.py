"""Measure how fast a frozen backbone computes its features, and how near that is to the processor's limit.

    python -m benchmarks.features [--backbone tf_efficientnet_lite0] [--size 192] [--pictures 192] [--runs 3] [--json FILE]

One thread, so the results are for one core. The limit is the speed of a large matrix product in float32, in turn with the backbone.
Times are the processor's, so other programs affect them little.
"""

import argparse
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import limits, measuring
from stages.common.vision import backbones

WAYS: dict[str, tuple[torch.memory_format, bool, int]] = {
    "channels first, 64 at a time": (torch.contiguous_format, False, 64),
    "channels last, 64 at a time": (torch.channels_last, False, 64),
    "channels last, 16 at a time": (torch.channels_last, False, 16),
    "channels last, 16 at a time, fused batch norms": (torch.channels_last, True, 16),
}
"""Memory layout, whether batch norms are part of the convolutions, and pictures per batch."""


def features(network: nn.Module, batches: list[Tensor]) -> None:
    with torch.no_grad():
        for images in batches:
            network(images)


def main(backbone: str, size: int, pictures: int, runs: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    images = torch.randn(pictures, 3, size, size, generator=torch.Generator().manual_seed(0))
    contestants = {"limit": limits.gflops}
    for way, (layout, fused, count) in WAYS.items():
        network = backbones.build(backbone, "none", [], size).network.to(memory_format=layout)
        batches = [batch.contiguous(memory_format=layout) for batch in images.split(count)]
        chosen = backbones.fused(network, batches[0][:1]) if fused else network
        contestants[way] = partial(limits.seconds, partial(features, chosen, batches))
    medians = measuring.medians(contestants, runs)
    limit = medians.pop("limit")
    work = limits.operations(partial(features, network, [images[:1]]))
    rows = {}
    for way, took in medians.items():
        speed = work * pictures / took / 1e9
        rows[way] = {"images_per_second": round(pictures / took, 1), "gflops": round(speed, 1)}
        rows[way] |= {"fraction_of_limit": round(speed / limit, 3)}
        print(way, rows[way], flush=True)
    return {
        "backbone": backbone,
        "size": size,
        "multiplications": work // 2,
        "limit_gflops": round(limit, 1),
        "ways": rows,
    }


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--size", type=int, default=192, help="side of the pictures in pixels")
    parser.add_argument("--pictures", type=int, default=192)
    parser.add_argument("--runs", type=int, default=3, help="of each way, in turns; the medians are compared")


if __name__ == "__main__":
    measuring.run(main, arguments)
