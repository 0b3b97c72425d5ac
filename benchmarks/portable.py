"""Measure the cost of the same bytes on every processor: trainings with `engine.portable` against trainings without it.

    python -m benchmarks.portable [--source DATA] [--projects mnist scones] [--runs 3] [--json FILE]

Runs each project's train with its default parameters in a temporary folder, the two ways in turn. On a processor
without AVX-512 both ways use the same instructions, so only the linear layers differ.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import measuring, workspace

PROJECTS = ("bikes", "mnist", "landmarks", "scones")


def main(source: str, projects: list[str], runs: int) -> dict[str, Any]:
    data, rows = workspace.absolute(source), {}
    for project in projects:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            workspace.create(folder, {"data": {"source": data}})
            workspace.run(folder, project, "prepare", "featurize")
            ways = [{"data": {"source": data}, "engine": {"portable": portable}} for portable in (True, False)]
            clocks = ([workspace.train(folder, project, way) for way in ways] for _ in range(runs))
            pairs = [tuple(float(clock["seconds"]) for clock in pair) for pair in clocks]
        ratio = statistics.median(portable / free for portable, free in pairs)
        rows[project] = {"seconds_portable_and_not": pairs, "ratio": round(ratio, 3)}
        print(f"{project:10} {ratio:.2f} times as long, pairs of seconds: {pairs}", flush=True)
    return {"source": source} | rows


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", default="sample")
    parser.add_argument("--projects", nargs="+", choices=PROJECTS, default=PROJECTS)
    parser.add_argument("--runs", type=int, default=3, help="pairs of trainings")


if __name__ == "__main__":
    measuring.run(main, arguments)
