"""Measure featurize@landmarks on Ray: the speed of two workers against one, and a worker's memory for many photographs.

    python -m benchmarks.ray_featurize --source ../shared/data [--photographs 120000] [--runs 3] [--memory 100000] [--folder /dev/shm]

The real photographs are repeated up to the requested number, packed as `prepare` packs them. The stage runs unchanged
and starts Ray itself, in turn with one and with two workers of one core each. A first run isn't counted; the results
are medians. `stage` is the time of the whole program. `work` is the time from the start of the first shard to the end
of the last one. Memory is the resident set of each Ray worker process, once a second. It is flat if the last quarter of
the run needs no more than the second. Each photograph is written as about 50 KB of pixels, so with two fast cores an
ordinary disk is the bottleneck. Use `--folder /dev/shm`, which is in memory, to measure the workers.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from benchmarks import workspace
from stages.common import files
from stages.experiments.records import circumstances
from stages.landmarks import photographs
from stages.landmarks.photographs import Landmark, Packed, Photograph

RESULT = Path("benchmarks/results/ray_featurize.json")
INTERVAL = 1.0  # seconds
SPEED, MEMORY = 1.7, 1.0  # required: times as fast, at least; GB at most


def write_raw(source: Path, count: int, folder: Path) -> None:
    """Write ``count`` training photographs, those in ``source`` repeated, and one for testing, in prepare's raw form."""
    found = [(path, path.parent.name) for path in sorted(source.glob("*/*")) if not path.name.startswith(".")]
    if not found:
        raise SystemExit(f"{source}: found no photographs, expected <class>/<name>")
    names = sorted({name for _, name in found})
    sizes = {path: Image.open(path).size for path, _ in found}
    again = [found[number % len(found)] for number in range(count)]
    train = [("train", f"{name}/{number:07}", path, name) for number, (path, name) in enumerate(again)]
    test = [("test", f"{name}/{number:07}", path, name) for number, (path, name) in enumerate(found[:1])]
    packed = [
        Packed(Photograph(split, inside, names.index(name), *sizes[path]), path, path.stat().st_size, "")
        for split, inside, path, name in (*train, *test)
    ]
    folder.mkdir(parents=True)
    photographs.write(folder, packed, [Landmark(name, None, None, "") for name in names], [], "repeated")


def featurize(folder: Path, workers: int) -> tuple[dict[str, float], dict[int, list[float]]]:
    """Run the stage. Returns its seconds, those of the work in it, and the GB of each packing process, once a second."""
    workspace.create(folder, {"engine": {"kind": "ray", "address": None, "workers": workers, "cpus_per_worker": 1}})
    partial = folder / "data/landmarks/.features.partial"
    memory: dict[int, list[float]] = defaultdict(list)
    packers: set[int] = set()
    begun, started, looked = 0.0, time.time(), 0.0
    with workspace.start(["-m", "stages.landmarks.featurize"], folder) as stage:
        while stage.poll() is None:
            if not begun and partial.is_dir() and any(partial.iterdir()):
                begun = time.time()
            if time.time() - looked > INTERVAL:
                looked = time.time()
                for pid, (called, size) in resident(stage.pid).items():
                    memory[pid].append(size)
                    packers.update([pid] if "Map" in called else [])
            time.sleep(0.02)
    if stage.returncode:
        raise subprocess.CalledProcessError(stage.returncode, stage.args)
    ended = max(path.stat().st_mtime for path in (folder / "data/landmarks/features").glob("*.tar"))
    return {"stage": time.time() - started, "work": ended - begun}, {pid: memory[pid] for pid in packers}


def resident(pid: int) -> dict[int, tuple[str, float]]:
    """Return Ray's title and the GB of each Ray worker process below the process ``pid``."""
    found = {}
    for one in psutil.Process(pid).children(recursive=True):
        try:
            called = " ".join(one.cmdline()[:1])
            if called.startswith("ray::"):
                found[one.pid] = called, one.memory_info().rss / 1e9
        except psutil.NoSuchProcess:
            continue
    return found


def growth(sizes: Sequence[float]) -> float:
    """Return the GB by which the median of a run's last quarter exceeds that of its second quarter."""
    quarter = len(sizes) // 4
    return statistics.median(sizes[-quarter:]) - statistics.median(sizes[quarter : 2 * quarter])


def measured_memory(memory: dict[int, list[float]]) -> dict[str, Any]:
    """Return peak and growth of the processes that ran for more than half of the time."""
    longest = max(map(len, memory.values()))
    workers = [sizes for sizes in memory.values() if len(sizes) > longest / 2 and len(sizes) >= 4]
    return {
        "peak_gb": [round(max(sizes), 3) for sizes in workers],
        "growth_gb": [round(growth(sizes), 3) for sizes in workers],
        "every_second_gb": [[round(size, 3) for size in sizes] for sizes in workers],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="a folder with landmarks/train/<class>/*")
    parser.add_argument(
        "--photographs", type=int, default=120_000, help="photographs for the speed (default: %(default)s)"
    )
    parser.add_argument("--runs", type=int, default=3, help="per number of workers (default: %(default)s)")
    parser.add_argument("--memory", type=int, default=100_000, help="photographs for the memory (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="the working folder (default: the folder for temporary files)")
    parser.add_argument("--output", type=Path, default=RESULT, help="%(default)s")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    busy = os.getloadavg()[0]
    source = arguments.source / "landmarks" / "train"
    runs: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        write_raw(source, arguments.photographs, folder / "data/landmarks/raw")
        featurize(folder, 2)  # not counted: the first run that uses so much memory waits for the system to provide it
        for _ in range(arguments.runs):
            for workers, done in runs.items():
                shutil.rmtree(folder / "data/landmarks/features")
                done.append(featurize(folder, workers)[0])
    seconds = {
        workers: {part: statistics.median(one[part] for one in done) for part in ("work", "stage")}
        for workers, done in runs.items()
    }
    rates = {workers: arguments.photographs / one["work"] for workers, one in seconds.items()}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        write_raw(source, arguments.memory, folder / "data/landmarks/raw")
        lasted, memory = featurize(folder, 2)
    ratios = {part: seconds[1][part] / seconds[2][part] for part in ("work", "stage")}
    held = measured_memory(memory)
    for workers, rate in rates.items():
        print(
            f"{workers} workers{rate:>8.0f} images/s, {seconds[workers]['work']:.1f} s, {seconds[workers]['stage']:.1f} s in total"
        )
    print(f"{ratios['work']:.2f} times as fast (expected at least {SPEED}), {ratios['stage']:.2f} including the start")
    print(f"{arguments.memory} photographs: peak {held['peak_gb']} GB per worker (expected below {MEMORY})")
    print(f"growth from the second to the last quarter of {lasted['work']:.0f} s: {held['growth_gb']} GB per worker")
    figures = {
        "circumstances": circumstances.now(1) | {"load_before": round(busy, 2)},
        "folder": str(arguments.folder or tempfile.gettempdir()),
        "photographs": arguments.photographs,
        "runs": {str(workers): done for workers, done in runs.items()},
        "seconds": {str(workers): one for workers, one in seconds.items()},
        "images_per_second": {str(workers): rate for workers, rate in rates.items()},
        "ratios": ratios,
        "memory": {"photographs": arguments.memory, "seconds": lasted} | held,
    }
    files.write_json(arguments.output, figures)


if __name__ == "__main__":
    main()
