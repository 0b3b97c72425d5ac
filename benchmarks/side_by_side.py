"""Compare `make repro` with projects in parallel and one by one: the time from nothing to all results, and hashes.

    python -m benchmarks.side_by_side [--jobs 2] [--json FILE]

Each way runs in a fresh clone of this commit with an empty cache. The parallel run's seconds of each stage are saved:
`make repro` estimates its first run from them.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import measuring, workspace
from stages.common import config, files, program
from stages.experiments.running import progress


def build(folder: Path, jobs: int) -> tuple[float, dict[str, str]]:
    """Build everything. Returns the wall seconds, and the hash of every output."""
    subprocess.run(["git", "clone", "--quiet", ".", folder], check=True)
    command = [sys.executable, "-m", "stages.experiments.repro", "--jobs", str(jobs)]
    seconds = workspace.seconds_of(command, folder)
    lock = config.read(folder / "dvc.lock")
    outputs = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}
    return seconds, outputs


def main(jobs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        one, first = build(Path(folder, "one"), 1)
        several, second = build(Path(folder, "several"), jobs)
        kept = sorted(Path(folder, "several", program.DURATIONS).glob("*.json"))
        files.write_json(progress.TYPICAL, {path.stem: files.read_json(path)["seconds"] for path in kept})
    results = {
        "seconds_one_after_the_other": round(one, 1),
        "seconds_side_by_side": round(several, 1),
        "jobs": jobs,
        "ratio": round(one / several, 2),
        "outputs_compared": len(first),
        "outputs_differing": sorted(path for path in first if first[path] != second[path]),
    }
    print("\n".join(f"{name:30} {value}" for name, value in results.items()))
    return results


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=2)


if __name__ == "__main__" and measuring.run(main, arguments)["outputs_differing"]:
    sys.exit("error: the parallel run gave different results: see outputs_differing above")
