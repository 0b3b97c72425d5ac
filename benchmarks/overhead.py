"""Measure the pipeline's overhead: DVC with nothing to do, DVC around an experiment, and the start of light stages.

    python -m benchmarks.overhead [--runs 5] [--json FILE]

Run it where `dvc repro` has nothing to do. It works in a clone. It reports an experiment's wall
time and the time of its stages alone, as if run by hand. A stage's start is the wall time of
`python -m stages.<project>.<verb> --help`: the interpreter and all imports, up to the first line of work. The time of the
interpreter alone is reported, too.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import measuring, workspace
from stages.common import files
from stages.common.program import DURATIONS

STARTS = (
    "stages.check",
    *(f"stages.{project}.{verb}" for project in ("bikes", "mnist") for verb in ("prepare", "featurize")),
)
EXPERIMENT = ["dvc", "exp", "run", "-S", "mnist.optimizer=sgd"]


def spread(seconds: list[float]) -> dict[str, float]:
    """Return the minimum, median and maximum."""
    return {"min": min(seconds), "median": statistics.median(seconds), "max": max(seconds)}


def experiment(project: Path, runs: int) -> dict[str, dict[str, float]]:
    """Return an experiment's wall time, its stages' time, and the difference. Runs start from the committed results."""
    walls, stages = [], []
    for run in range(runs):
        for path in (project / DURATIONS).glob("*.json"):
            path.unlink()
        # Use another interval of the loss curve each time: otherwise DVC would restore the earlier run's results from its cache.
        walls.append(workspace.seconds_of([*EXPERIMENT, "-S", f"mnist.log_every={251 + run}"], project))
        stages.append(sum(files.read_json(path)["seconds"] for path in (project / DURATIONS).glob("*.json")))
        workspace.seconds_of(["git", "checkout", "."], project)
        workspace.seconds_of(["dvc", "checkout"], project)
    between = [wall - inside for wall, inside in zip(walls, stages, strict=True)]
    return {"dvc exp run": spread(walls), "its stages": spread(stages), "DVC around them": spread(between)}


def main(runs: int) -> dict[str, Any]:
    commands = {
        "dvc repro": ["dvc", "repro"],
        "dvc status": ["dvc", "status"],
        "dvc metrics diff": ["dvc", "metrics", "diff"],
        "python": [sys.executable, "-c", ""],
        **{module: [sys.executable, "-m", module, "--help"] for module in STARTS},
    }
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "project")
        workspace.clone(project)
        for name, command in commands.items():
            workspace.seconds_of(command, project)  # the first run warms the disk cache
            results[name] = spread([workspace.seconds_of(command, project) for _ in range(runs)])
        results |= experiment(project, runs)
    for name, figures in results.items():
        print(f"{name:26}" + "".join(f"  {key} {value:6.2f} s" for key, value in figures.items()))
    return results


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=5)


if __name__ == "__main__":
    measuring.run(main, arguments)
