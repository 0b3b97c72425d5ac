"""Time the steps from a clone to the first compared experiment. The environment is installed, the cache is empty.

python -m benchmarks.first_experiment [--json FILE]
"""

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import measuring, workspace

STEPS = {
    "make repro": ["make", "-o", ".venv/.installed", "repro"],
    "dvc exp run": ["dvc", "exp", "run", "-S", "mnist.optimizer=sgd"],
    "make compare": ["make", "-o", ".venv/.installed", "compare", "PROJECT=mnist"],
}


def main() -> dict[str, Any]:
    results: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder, "project")
        subprocess.run(["git", "clone", "--quiet", ".", project], check=True)
        (project / ".venv").symlink_to(Path(".venv").resolve())
        for name, command in STEPS.items():
            results[name] = round(workspace.seconds_of(command, project), 1)
            print(f"{name:14} {results[name]:6.1f} s", flush=True)
        page = (project / "reports/compare/index.html").stat().st_size
    print(f"{'total':14} {sum(results.values()):6.1f} s, a page of {page / 1e6:.1f} MB")
    return {"seconds": results}


if __name__ == "__main__":
    measuring.run(main)
