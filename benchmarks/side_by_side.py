"""Compare `make repro` with projects in parallel and one by one: the time from nothing to all results, and hashes.

    python -m benchmarks.side_by_side [--jobs 2] [--json FILE]

Each way runs in a fresh clone of this commit with an empty cache. With --json, the parallel run's seconds of each stage
are saved, too: `make repro` estimates its first run from them.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stages.common import config, files, program
from stages.experiments.records import circumstances
from stages.experiments.running import progress


def build(folder: Path, jobs: int) -> tuple[float, dict[str, str]]:
    """Build everything. Returns the wall seconds, and the hash of every output."""
    subprocess.run(["git", "clone", "--quiet", ".", folder], check=True)
    command = [sys.executable, "-m", "stages.experiments.repro", "--jobs", str(jobs)]
    begin = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - begin
    lock = config.parse((folder / "dvc.lock").read_text())
    outputs = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}
    return seconds, outputs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, help="a file for the results")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        one, first = build(Path(folder, "one"), 1)
        several, second = build(Path(folder, "several"), arguments.jobs)
        kept = sorted(Path(folder, "several", program.DURATIONS).glob("*.json"))
        durations = {path.stem: files.read_json(path)["seconds"] for path in kept}
    differing = sorted(path for path in first if first[path] != second[path])
    results = {
        "seconds_one_after_the_other": round(one, 1),
        "seconds_side_by_side": round(several, 1),
        "jobs": arguments.jobs,
        "ratio": round(one / several, 2),
        "outputs_compared": len(first),
        "outputs_differing": differing,
    }
    print("\n".join(f"{name:30} {value}" for name, value in results.items()))
    if arguments.json:
        files.write_json(arguments.json, circumstances.now(threads=1) | results)
        files.write_json(progress.TYPICAL, durations)
    if differing:
        sys.exit("error: the parallel run gave different results: see outputs_differing above")


if __name__ == "__main__":
    main()
