"""Compare two ways to train the folds of bikes' models: in parallel on a Ray cluster of this machine, or one by one.

    python -m benchmarks.ray_bikes --source ../data/bikes [--folds 5] [--workers 2] [--rounds 8000] [--json FILE]

One run measures both ways. It runs the stage itself with the default models, or with --rounds CatBoost alone, so that a
fold can take long. Each worker has one core. Seconds are those of train@bikes without its imports; on Ray they include
the cluster's start and end. `busy` is the load average of the last minute before each training.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import workspace
from stages.common import files
from stages.experiments.records import circumstances

EVALUATION = Path("reports/bikes/evaluation")


def measure(folder: Path, changes: dict[str, Any]) -> tuple[dict[str, float], dict[str, bytes]]:
    """Run train and evaluate. Returns the training's seconds and load, and the files that evaluate wrote."""
    workspace.create(folder, changes)
    busy = os.getloadavg()[0]
    workspace.run("train", folder, "bikes")
    clock = workspace.clock(folder, "bikes")
    workspace.run("evaluate", folder, "bikes")
    said = {path.name: path.read_bytes() for path in (folder / EVALUATION).iterdir()}
    return {"seconds": clock["seconds"], "busy": round(busy, 2)}, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, help="a folder with Kaggle's files")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--rounds", type=int, help="train CatBoost alone for this many rounds, on both kinds of riders together"
    )
    parser.add_argument("--json", type=Path, help="a file for the results")
    arguments = parser.parse_args()
    changes: dict[str, Any] = {
        "data": {"bikes": {"source": workspace.place(arguments.source)}},
        "bikes": {"bag_folds": arguments.folds},
    }
    if arguments.rounds:
        alone = {"models": ["catboost"], "riders": "together", "catboost": {"rounds": arguments.rounds}}
        changes["bikes"] |= alone
    engines = {"local": {"kind": "local"}, "ray": {"kind": "ray", "address": None, "workers": arguments.workers}}
    found: dict[str, dict[str, float]] = {}
    said: dict[str, dict[str, bytes]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workspace.create(folder, changes)
        for verb in ("prepare", "featurize"):
            workspace.run(verb, folder, "bikes")
        for kind, engine in engines.items():
            found[kind], said[kind] = measure(folder, changes | {"engine": engine})
    results = {
        "folds": arguments.folds,
        "rounds": arguments.rounds,
        "workers": arguments.workers,
        **found,
        "ratio": round(found["local"]["seconds"] / found["ray"]["seconds"], 2),
        "same_leaderboard": said["local"] == said["ray"],
    }
    print("\n".join(f"{key:18} {value}" for key, value in results.items()))
    if arguments.json:
        files.write_json(arguments.json, circumstances.now(threads=1) | results)


if __name__ == "__main__":
    main()
