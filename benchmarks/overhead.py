"""What the pipeline costs besides the work: DVC with nothing to do, and each light stage's start.

    python -m benchmarks.overhead [--runs 5] [--json FILE]

Run it where `dvc repro` has nothing to do. A stage's start is the wall time of `python -m stages.<project>.<verb> --help`:
the interpreter, all imports, the first line of work. Beside it stands the interpreter alone.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

STARTS = (
    "stages.check",
    *(f"stages.{project}.{verb}" for project in ("bikes", "mnist") for verb in ("prepare", "featurize")),
)


def wall(command: list[str], runs: int) -> dict[str, float]:
    """Minimum, median and maximum wall seconds of ``command``, after one run that doesn't count."""
    seconds = []
    for _ in range(runs + 1):
        begin = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - begin)
    counted = seconds[1:]
    return {"min": min(counted), "median": statistics.median(counted), "max": max(counted)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="a file for the figures")
    arguments = parser.parse_args()
    commands = {
        "dvc repro": ["dvc", "repro"],
        "dvc status": ["dvc", "status"],
        "python": [sys.executable, "-c", ""],
        **{module: [sys.executable, "-m", module, "--help"] for module in STARTS},
    }
    results = {name: wall(command, arguments.runs) for name, command in commands.items()}
    for name, figures in results.items():
        print(f"{name:26}" + "".join(f"  {key} {value:6.2f} s" for key, value in figures.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
