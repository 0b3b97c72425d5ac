"""Measure the speed of an exported model: one photograph at a time with decoding, and batches against single ones.

    python -m benchmarks.landmarks_serving --source ../shared/data [--export models/landmarks/export] [--photographs 320]

`model.pt` runs in this process as it does in a server: `inference.input_fn` decodes a photograph's bytes and
`inference.predict_fn` returns its probabilities. For batches of 32, photographs of any sizes are decoded and cut to
squares one by one, and then classified together. Both ways process the same photographs in turns.
"""

import argparse
import itertools
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from stages.common import files
from stages.common.training import torch_setup
from stages.experiments.records import circumstances
from stages.landmarks import inference

RESULT = Path("benchmarks/results/landmarks_serving.json")
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="a folder with landmarks/test/<class>/*")
    parser.add_argument("--export", type=Path, default=Path("models/landmarks/export"), help="%(default)s")
    parser.add_argument("--photographs", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="torch's threads")
    parser.add_argument("--output", type=Path, default=RESULT, help="%(default)s")
    arguments = parser.parse_args()
    torch_setup.deterministic(0, arguments.threads)  # also reuses memory, as the server does
    files.require(arguments.export, "export@landmarks")
    found = sorted((arguments.source / "landmarks" / "test").glob("*/*"))
    spread = np.linspace(0, len(found) - 1, min(arguments.photographs, len(found))).astype(int)
    contents = [found[index].read_bytes() for index in spread]
    model = inference.model_fn(str(arguments.export))
    single: list[float] = []
    batched: list[float] = []
    for turn in range(arguments.rounds + 1):
        one, many = one_by_one(model, contents), in_batches(model, contents)
        if turn:  # the first turn warms up
            single += one
            batched.append(many / len(contents))

    p50, p95 = (1e3 * float(np.percentile(single, share)) for share in (50, 95))
    alone, together = 1e3 * statistics.mean(single), 1e3 * statistics.median(batched)
    print(f"one photograph, decoded and classified: p50 {p50:.1f} ms, p95 {p95:.1f} ms")
    print(f"each of many: one by one {alone:.1f} ms, in batches of {BATCH} {together:.1f} ms ({alone / together:.1f}x)")
    figures = {
        "circumstances": circumstances.now(torch.get_num_threads()),
        "photographs": len(contents),
        "rounds": arguments.rounds,
        "one_photograph_ms": {"p50": p50, "p95": p95},
        "each_of_many_ms": {"one by one": alone, f"batches of {BATCH}": together},
        "ratio": alone / together,
    }
    files.write_json(arguments.output, figures)


if __name__ == "__main__":
    main()
