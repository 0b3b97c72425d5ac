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

from benchmarks import workspace
from stages.common import files
from stages.experiments.records import circumstances

PROJECTS = ("bikes", "mnist", "landmarks", "scones")


def seconds(folder: Path, project: str, source: str, portable: bool) -> float:
    """Return the seconds of the training itself, as it reports them."""
    changes: dict[str, Any] = {"data": {"source": source}, "engine": {"portable": portable}}
    workspace.create(folder, changes)
    workspace.run("train", folder, project)
    return float(workspace.clock(folder, project)["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="sample")
    parser.add_argument("--projects", nargs="+", choices=PROJECTS, default=PROJECTS)
    parser.add_argument("--runs", type=int, default=3, help="pairs of trainings")
    parser.add_argument("--json", type=Path, help="a file for the results")
    arguments = parser.parse_args()
    source, rows = workspace.place(arguments.source), {}
    for project in arguments.projects:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            workspace.create(folder, {"data": {"source": source}})
            for verb in ("prepare", "featurize"):
                workspace.run(verb, folder, project)
            pairs = [
                tuple(seconds(folder, project, source, way) for way in (True, False)) for _ in range(arguments.runs)
            ]
        ratio = statistics.median(portable / free for portable, free in pairs)
        rows[project] = {"seconds_portable_and_not": pairs, "ratio": round(ratio, 3)}
        print(f"{project:10} {ratio:.2f} times as long, pairs of seconds: {pairs}", flush=True)
    if arguments.json:
        files.write_json(arguments.json, circumstances.now(threads=1) | {"source": arguments.source} | rows)


if __name__ == "__main__":
    main()
