"""Measure the pipeline's overhead: DVC with nothing to do, DVC around an experiment, and the start of light stages.

    python -m benchmarks.overhead [--runs 5] [--json FILE]

Run it where `dvc repro` has nothing to do. It works in a clone. It reports an experiment's wall
time and the time of its stages alone, as if run by hand. A stage's start is the wall time of
`python -m stages.<project>.<verb> --help`: the interpreter and all imports, up to the first line of work. The time of the
interpreter alone is reported, too.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from stages.common import files
from stages.common.program import DURATIONS
from stages.experiments.records import circumstances

STARTS = (
    "stages.check",
    *(f"stages.{project}.{verb}" for project in ("bikes", "mnist") for verb in ("prepare", "featurize")),
)
EXPERIMENT = ["dvc", "exp", "run", "-S", "mnist.optimizer=sgd"]


def clone(folder: Path) -> Path:
    """Clone this commit, and check out its results. Returns the clone's folder.

    Its cache has the files of this checkout's cache but not its runs: DVC would restore an experiment that was run here.
    """
    project = folder / "project"
    subprocess.run(["git", "clone", "--quiet", ".", project], check=True)
    shutil.copytree(".dvc/cache/files", project / ".dvc/cache/files")
    subprocess.run(["dvc", "checkout", "--quiet"], cwd=project, check=True)
    return project


def seconds_of(command: list[str], project: Path) -> float:
    begin = time.perf_counter()
    subprocess.run(command, cwd=project, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


def spread(seconds: list[float]) -> dict[str, float]:
    """Return the minimum, median and maximum."""
    return {"min": min(seconds), "median": statistics.median(seconds), "max": max(seconds)}


def experiment(project: Path, runs: int) -> dict[str, dict[str, float]]:
    """Return an experiment's wall time, its stages' time, and the difference. Runs start from the committed results."""
    walls, stages = [], []
    for run in range(runs):
        for path in (project / DURATIONS).glob("*.json"):
            path.unlink()
        # Use another seed each time: otherwise DVC would restore the earlier run's results from its cache.
        walls.append(seconds_of([*EXPERIMENT, "-S", f"mnist.seed={run}"], project))
        stages.append(sum(files.read_json(path)["seconds"] for path in (project / DURATIONS).glob("*.json")))
        seconds_of(["git", "checkout", "."], project)
        seconds_of(["dvc", "checkout"], project)
    between = [wall - inside for wall, inside in zip(walls, stages, strict=True)]
    return {"dvc exp run": spread(walls), "its stages": spread(stages), "DVC around them": spread(between)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="a file for the results")
    arguments = parser.parse_args()
    commands = {
        "dvc repro": ["dvc", "repro"],
        "dvc status": ["dvc", "status"],
        "dvc metrics diff": ["dvc", "metrics", "diff"],
        "python": [sys.executable, "-c", ""],
        **{module: [sys.executable, "-m", module, "--help"] for module in STARTS},
    }
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        project = clone(Path(folder))
        for name, command in commands.items():
            seconds_of(command, project)  # the first run warms the disk cache
            results[name] = spread([seconds_of(command, project) for _ in range(arguments.runs)])
        results |= experiment(project, arguments.runs)
    for name, figures in results.items():
        print(f"{name:26}" + "".join(f"  {key} {value:6.2f} s" for key, value in figures.items()))
    if arguments.json:
        files.write_json(arguments.json, circumstances.now(threads=1) | results)


if __name__ == "__main__":
    main()
