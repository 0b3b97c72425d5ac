"""Measure featurize@landmarks on Ray: the speed of two workers against one.

    python -m benchmarks.ray_featurize --source ../data [--photographs 120000] [--runs 3] [--folder /dev/shm] [--json FILE]

The real photographs are repeated up to the requested number, packed as `prepare` packs them. The stage runs unchanged
and starts Ray itself, in turn with one and with two workers of one core each. A first run isn't counted; the results
are medians. `stage` is the time of the whole program. `work` is the time from the start of the first shard to the end
of the last one. Each photograph is written as about 50 KB of pixels, so with two fast cores an ordinary disk is the
bottleneck. Use `--folder /dev/shm`, which is in memory, to measure the workers.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks import measuring, workspace
from stages.landmarks import photographs
from stages.landmarks.photographs import Landmark, Packed, Photograph


def write_raw(source: Path, count: int, folder: Path) -> None:
    """Write ``count`` training photographs, those in ``source`` repeated, and one for testing, in prepare's raw form."""
    found = [(path, path.parent.name) for path in sorted(source.glob("*/*")) if not path.name.startswith(".")]
    if not found:
        raise SystemExit(f"{source}: found no photographs, expected <class>/<name>")
    names = sorted({name for _, name in found})
    sizes = {path: Image.open(path).size for path, _ in found}
    packed = []
    for split, number in [*(("train", number) for number in range(count)), ("test", 0)]:
        path, name = found[number % len(found)]
        one = Photograph(split, f"{name}/{number:07}", names.index(name), *sizes[path])
        packed.append(Packed(one, path, b"", path.stat().st_size, ""))
    folder.mkdir(parents=True)
    photographs.write(folder, packed, [Landmark(name, None, None, "") for name in names], [], "repeated")


def featurize(folder: Path, workers: int) -> dict[str, float]:
    """Run the stage. Returns the seconds of the `stage` and of the `work` in it."""
    workspace.create(folder, {"engine": {"kind": "ray", "address": None, "workers": workers, "cpus_per_worker": 1}})
    shutil.rmtree(folder / "data/landmarks/features", ignore_errors=True)
    unfinished = folder / "data/landmarks/.features.partial"
    begun, started = 0.0, time.time()
    with workspace.start(["-m", "stages.landmarks.featurize"], folder) as stage:
        while stage.poll() is None:
            if not begun and unfinished.is_dir() and any(unfinished.iterdir()):
                begun = time.time()
            time.sleep(0.02)
    if stage.returncode:
        raise subprocess.CalledProcessError(stage.returncode, stage.args)
    ended = max(path.stat().st_mtime for path in (folder / "data/landmarks/features").glob("*.tar"))
    return {"stage": time.time() - started, "work": ended - begun}


def main(source: Path, photographs: int, runs: int, folder: Path | None) -> dict[str, Any]:
    os.environ["OMP_NUM_THREADS"] = "1"
    busy = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=folder) as name:
        write_raw(source / "landmarks" / "train", photographs, Path(name, "data/landmarks/raw"))
        # The first round isn't counted: a run that uses so much memory waits for the system to provide it.
        done = measuring.in_turns({str(workers): partial(featurize, Path(name), workers) for workers in (1, 2)}, runs)
    seconds = {
        workers: {part: statistics.median(one[part] for one in found) for part in ("work", "stage")}
        for workers, found in done.items()
    }
    rates = {workers: photographs / one["work"] for workers, one in seconds.items()}
    ratios = {part: seconds["1"][part] / seconds["2"][part] for part in ("work", "stage")}
    for workers, rate in rates.items():
        took = seconds[workers]
        print(f"{workers} workers{rate:>8.0f} images/s, {took['work']:.1f} s, {took['stage']:.1f} s in total")
    print(f"{ratios['work']:.2f} times as fast, {ratios['stage']:.2f} including the start")
    return {
        "load_before": round(busy, 2),
        "folder": str(folder or tempfile.gettempdir()),
        "photographs": photographs,
        "runs": done,
        "seconds": seconds,
        "images_per_second": rates,
        "ratios": ratios,
    }


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", type=Path, required=True, help="a folder with landmarks/train/<class>/*")
    parser.add_argument("--photographs", type=int, default=120_000, help="how many (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="per number of workers (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="the working folder (default: the folder for temporary files)")


if __name__ == "__main__":
    measuring.run(main, arguments)
