"""Measure training on Ray: the speed of two workers against one, and Ray's overhead.

    python -m benchmarks.ray_training [--json FILE]

throughput   images per second of the training alone: landmarks' published layers, image size and batches, 0.3 times as
             wide (at full width a step takes a core half a minute), on the sample, one core per worker, two lengths
overhead     the whole stage on Ray with one worker against the local stage, in turn, three times; the median. Trains
             mnist's cnn for about a minute

Each stage on Ray starts its own cluster. `fractions_of_limit` compare the network's operations with a matrix product's, a core each.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import limits, measuring, workspace
from stages.common.vision import classifiers

SCRATCH: dict[str, Any] = {
    "network": "scratch",
    "scratch": {"image_size": 224, "width": 0.3, "dropout": 0.4, "weights": "none"},
    "batch_size": 32,
    "precision": "float32",
    "log_every": 1000,
}
"""Image size, layers and batches are those of the recipe landmarks-scratch-published; the width is smaller."""
LENGTHS = (1, 2)  # epochs
CNN = {"network": "cnn", "epochs": 42, "augment": True}
PAIRS = 3
CLASSES = 12  # of the sample


def engine(workers: int) -> dict[str, Any]:
    """Return the parameters for ``workers`` workers on Ray; 0 means the local engine."""
    return {"engine": {"kind": "ray", "workers": workers} if workers else {"kind": "local"}}


def timed(project: str, folder: Path, changes: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """Run the stage train. Returns its seconds and the clock readings it reports."""
    began = time.perf_counter()
    clock = workspace.train(folder, project, changes)
    return time.perf_counter() - began, clock


def throughput(folder: Path) -> dict[str, Any]:
    workspace.create(folder, {})
    workspace.run(folder, "landmarks", "prepare", "featurize")
    rows, rates = [], {}
    for epochs in LENGTHS:
        for workers in (1, 2):
            whole, clock = timed("landmarks", folder, {"landmarks": SCRATCH | {"epochs": epochs}} | engine(workers))
            rates[workers] = clock["images_per_second"]
            seen = round(clock["images_per_second"] * clock["seconds"])
            start = whole - clock["seconds"]
            rows.append({"images": seen, "workers": workers, "seconds": whole, "start_seconds": start})
    print(f"two workers: {rates[2] / rates[1]:.2f} times as fast")
    near = {workers: round(rate * operations() / workers / 1e9 / limits.gflops(), 3) for workers, rate in rates.items()}
    return {"rows": rows, "images_per_second": rates, "ratio": rates[2] / rates[1], "fractions_of_limit": near}


def operations() -> int:
    """Return the operations of a training step, per photograph."""
    network = classifiers.build("scratch", SCRATCH["scratch"], CLASSES).network
    side = SCRATCH["scratch"]["image_size"]
    return limits.of_training(network, torch.randn(2, 3, side, side))


def overhead(folder: Path) -> dict[str, Any]:
    workspace.create(folder, {})
    workspace.run(folder, "mnist", "prepare", "featurize")
    pairs, more = [], []
    for _ in range(PAIRS):
        local, ray = (
            {"stage": whole, "training": clock["seconds"]}
            for whole, clock in (timed("mnist", folder, {"mnist": CNN} | engine(workers)) for workers in (0, 1))
        )
        pairs.append({"local": local, "ray": ray})
        more.append(ray["stage"] - local["stage"])
    median = statistics.median(more)
    print(f"Ray takes {median:.1f} s more, median of {[round(one, 1) for one in more]}")
    return {"pairs": pairs, "overheads": more, "overhead": median}


def main() -> dict[str, Any]:
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("TQDM_MININTERVAL", "10")
    results = {}
    for part in (throughput, overhead):
        busy = round(os.getloadavg()[0], 2)
        with tempfile.TemporaryDirectory() as name:
            results[part.__name__] = {"load_before": busy, **part(Path(name))}
    return results


if __name__ == "__main__":
    measuring.run(main)
