"""Measure the speed of an exported model: one photograph at a time with decoding, and batches against single ones.

    python -m benchmarks.landmarks_serving --source ../data [--export models/landmarks/export] [--photographs 320]

`model.pt` runs in this process as it does in a server: `inference.input_fn` decodes a photograph's bytes and
`inference.predict_fn` returns its probabilities. For batches of 32, photographs of any sizes are decoded and cut to
squares one by one, and then classified together. Both ways process the same photographs in turns. The limit is the time in which the
cores of the threads compute as many operations as the network in matrix products; decoding comes on top.
"""

import argparse
import itertools
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import limits, measuring
from stages.common import files
from stages.common.training import torch_setup
from stages.landmarks import inference

BATCH = 32


def one_by_one(model: inference.Model, contents: list[bytes]) -> list[float]:
    """Return the seconds of each photograph."""
    seconds = []
    for content in contents:
        begin = time.perf_counter()
        inference.predict_fn(inference.input_fn(content, "image/jpeg"), model)
        seconds.append(time.perf_counter() - begin)
    return seconds


def in_batches(model: inference.Model, contents: list[bytes]) -> float:
    """Return the seconds of all photographs together."""
    begin = time.perf_counter()
    waiting = iter(contents)
    while batch := list(itertools.islice(waiting, BATCH)):
        squares = [inference.ready_fn(inference.input_fn(content, "image/jpeg"), model) for content in batch]
        inference.batch_fn(squares, model)
    return time.perf_counter() - begin


def main(source: Path, export: Path, photographs: int, rounds: int, threads: int) -> dict[str, Any]:
    about = limits.processor()
    torch_setup.deterministic(0, threads)  # also reuses memory, as the server does
    files.require(export, "export@landmarks")
    found = sorted((source / "landmarks" / "test").glob("*/*"))
    contents = [found[index].read_bytes() for index in measuring.spread(len(found), photographs)]
    model = inference.model_fn(str(export))
    ways = {
        "one": lambda: one_by_one(model, contents),
        "many": lambda: [in_batches(model, contents) / len(contents)],
        "limit": lambda: [limits.gflops()],
    }
    turns = measuring.in_turns(ways, rounds)
    single = [seconds for times in turns["one"] for seconds in times]
    p50, p95 = (1e3 * float(np.percentile(single, share)) for share in (50, 95))
    alone, together = 1e3 * statistics.mean(single), 1e3 * statistics.median(times[0] for times in turns["many"])
    print(f"one photograph, decoded and classified: p50 {p50:.1f} ms, p95 {p95:.1f} ms")
    print(f"each of many: one by one {alone:.1f} ms, in batches of {BATCH} {together:.1f} ms ({alone / together:.1f}x)")
    square = inference.ready_fn(inference.input_fn(contents[0], "image/jpeg"), model)
    work = limits.operations(lambda: inference.batch_fn([square], model)) / 1e9
    least = 1e3 * work / threads / statistics.median(speeds[0] for speeds in turns["limit"])
    print(f"limit {least:.1f} ms: {least / together:.1%} of the time in batches")
    return about | {
        "threads": threads,
        "photographs": len(contents),
        "rounds": rounds,
        "one_photograph_ms": {"p50": p50, "p95": p95},
        "each_of_many_ms": {"one by one": alone, f"batches of {BATCH}": together},
        "ratio": alone / together,
        "gigaoperations": work,
        "limit_ms": least,
        "fraction_of_limit": least / together,
    }


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", type=Path, required=True, help="a folder with landmarks/test/<class>/*")
    parser.add_argument("--export", type=Path, default=Path("models/landmarks/export"), help="%(default)s")
    parser.add_argument("--photographs", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="torch's threads")


if __name__ == "__main__":
    measuring.run(main, arguments)
