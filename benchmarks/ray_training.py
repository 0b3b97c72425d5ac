"""Measure training on Ray: the speed of two workers against one, Ray's overhead, and the accuracy with two workers.

    python -m benchmarks.ray_training [--source ../shared/data] [--only throughput overhead accuracy]

throughput   images per second of the training alone: landmarks' published layers, image size and batches, 0.3 times as
             wide (at full width a step takes a core half a minute), on the sample, one core per worker, two lengths
overhead     the whole stage on Ray with one worker against the local stage, in turn, three times; the median. Trains
             mnist's cnn for about a minute
accuracy     the test accuracy with one and two workers for three seeds: mnist with params.yaml, on the data in --source

Each stage on Ray starts its own cluster. The result file keeps the parts that are not measured.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import workspace
from stages.common import files
from stages.experiments.records import circumstances

RESULT = Path("benchmarks/results/ray_training.json")
SCRATCH = {
    "network": "scratch",
    "scratch": {"image_size": 224, "width": 0.3, "dropout": 0.4},
    "batch_size": 32,
    "precision": "float32",
    "log_every": 1000,
}
"""Image size, layers and batches are those of the recipe landmarks-scratch-published; the width is smaller."""
LENGTHS = (1, 2)  # epochs
CNN = {"network": "cnn", "epochs": 42, "augment": True}
PAIRS = 3
SPEED, OVERHEAD, POINTS = 1.6, 15.0, 0.3
"""Required: times as fast, at least; seconds, at most; points of accuracy by which two workers may differ, at most."""


def engine(workers: int) -> dict[str, Any]:
    """Return the parameters for ``workers`` workers on Ray; 0 means the local engine."""
    return {"engine": {"kind": "ray", "workers": workers} if workers else {"kind": "local"}}


def timed(project: str, folder: Path, changes: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """Run the stage train. Returns its seconds and the clock readings it reports."""
    workspace.create(folder, changes)
    began = time.perf_counter()
    workspace.run("train", folder, project)
    return time.perf_counter() - began, workspace.clock(folder, project)


def throughput(folder: Path) -> dict[str, Any]:
    for verb in ("prepare", "featurize"):
        workspace.create(folder, {})
        workspace.run(verb, folder)
    rows, rates = [], {}
    for epochs in LENGTHS:
        for workers in (1, 2):
            whole, said = timed("landmarks", folder, {"landmarks": SCRATCH | {"epochs": epochs}} | engine(workers))
            rates[workers] = said["images_per_second"]
            seen = round(said["images_per_second"] * said["seconds"])
            rows.append(
                {"images": seen, "workers": workers, "seconds": whole, "start_seconds": whole - said["seconds"]}
            )
    print(f"two workers: {rates[2] / rates[1]:.2f} times as fast (expected at least {SPEED})")
    return {
        "rows": rows,
        "images_per_second": {str(count): rate for count, rate in rates.items()},
        "ratio": rates[2] / rates[1],
    }


def overhead(folder: Path) -> dict[str, Any]:
    for verb in ("prepare", "featurize"):
        workspace.create(folder, {})
        workspace.run(verb, folder, "mnist")
    pairs, more = [], []
    for _ in range(PAIRS):
        here, said = timed("mnist", folder, {"mnist": CNN} | engine(0))
        there, said_there = timed("mnist", folder, {"mnist": CNN} | engine(1))
        local, ray = {"stage": here, "training": said["seconds"]}, {"stage": there, "training": said_there["seconds"]}
        pairs.append({"local": local, "ray": ray})
        more.append(there - here)
    median = statistics.median(more)
    print(f"Ray takes {median:.1f} s more, median of {[round(one, 1) for one in more]} (expected at most {OVERHEAD})")
    return {"pairs": pairs, "overheads": more, "overhead": median}


def accuracy(folder: Path, source: str) -> dict[str, Any]:
    found: dict[int, list[float]] = {1: [], 2: []}
    for seed in (0, 1, 2):
        for workers, scores in found.items():
            changes = {"data": {"source": source}, "mnist": {"seed": seed}} | engine(workers)
            workspace.create(folder, changes)
            for verb in () if (folder / "data/mnist/features").exists() else ("prepare", "featurize"):
                workspace.run(verb, folder, "mnist")
            timed("mnist", folder, changes)
            workspace.run("evaluate", folder, "mnist")
            scores.append(files.read_json(folder / "reports/mnist/metrics.json")["accuracy"])
    points = [100 * (two - one) for one, two in zip(found[1], found[2], strict=True)]
    print(
        f"two workers: {statistics.mean(points):+.3f} points, {[round(one, 3) for one in points]} (expected within {POINTS})"
    )
    return {"one": found[1], "two": found[2], "points": points, "mean_points": statistics.mean(points)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="sample", help="the data for the accuracy (default: %(default)s)")
    parser.add_argument(
        "--only", nargs="+", choices=["throughput", "overhead", "accuracy"], help="parts to measure (default: all)"
    )
    parser.add_argument("--output", type=Path, default=RESULT, help="%(default)s")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("TQDM_MININTERVAL", "10")
    parts: dict[str, Callable[[Path], dict[str, Any]]] = {
        "throughput": throughput,
        "overhead": overhead,
        "accuracy": lambda folder: accuracy(folder, workspace.place(arguments.source)),
    }
    figures = files.read_json(arguments.output) if arguments.output.exists() else {}
    for part in arguments.only or parts:
        busy = round(os.getloadavg()[0], 2)
        with tempfile.TemporaryDirectory() as name:
            measured = parts[part](Path(name))
        figures[part] = {"circumstances": circumstances.now(1) | {"load_before": busy}} | measured
        files.write_json(arguments.output, figures)


if __name__ == "__main__":
    main()
