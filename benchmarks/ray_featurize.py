"""featurize@landmarks on Ray: two workers against one, one core each, and what a worker needs of memory for many photographs.

    python -m benchmarks.ray_featurize --source ../shared/data [--photographs 120000] [--runs 3] [--memory 100000] [--folder /dev/shm]

The real photographs are repeated to so many, as `prepare` would pack them, and the stage runs as it is, on a Ray that it starts by
itself, in turn with one and with two workers, after a run that isn't counted; the figures are medians. Its seconds are those of the whole program; those of the work begin when a worker begins the first shard, and end with the
last one. Memory is the resident set of each process in which Ray works, once a second: it is flat if the last quarter of the run
needs no more than the one after the first. Each photograph is written as some 50 KB of pixels, so two fast cores wait for an
ordinary disk: with `--folder /dev/shm`, in memory, it is the workers that are measured.
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
from stages.landmarks.photographs import Packed, Photograph, Place

RESULT = Path("benchmarks/results/ray_featurize.json")
INTERVAL = 1.0  # seconds
SPEED, MEMORY = 1.7, 1.0  # demanded: times as fast; GB at most


def write_raw(source: Path, count: int, folder: Path) -> None:
    """The raw form of ``count`` photographs for training, those in ``source`` again and again, and as few as may be to test."""
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
    photographs.write(folder, packed, [Place(name, None, None, "") for name in names], [], "repeated")


def featurize(folder: Path, workers: int) -> tuple[dict[str, float], dict[int, list[float]]]:
    """Seconds of the stage and of the work in it, and the GB of each process that packs, every second."""
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
    """What Ray calls each process in which it works, of those that the process has started, and the GB of it."""
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
    """GB by which the median of a run's last quarter is above that of its second one."""
    quarter = len(sizes) // 4
    return statistics.median(sizes[-quarter:]) - statistics.median(sizes[quarter : 2 * quarter])


def measured_memory(memory: dict[int, list[float]]) -> dict[str, Any]:
    """Of the processes that were there for at least half of the run."""
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
    parser.add_argument("--photographs", type=int, default=120_000, help="for the speed (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="of each (default: %(default)s)")
    parser.add_argument("--memory", type=int, default=100_000, help="photographs for the memory (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where to work (default: the folder for temporary files)")
    parser.add_argument("--output", type=Path, default=RESULT, help="%(default)s")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    busy = os.getloadavg()[0]
    source = arguments.source / "landmarks" / "train"
    runs: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        write_raw(source, arguments.photographs, folder / "data/landmarks/raw")
        featurize(folder, 2)  # the first one to use so much of this machine's memory waits for it
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
            f"{workers} workers{rate:>8.0f} images/s, {seconds[workers]['work']:.1f} s, {seconds[workers]['stage']:.1f} s in all"
        )
    print(f"{ratios['work']:.2f} times as fast (expected at least {SPEED}), {ratios['stage']:.2f} with the start")
    print(f"{arguments.memory} photographs: {held['peak_gb']} GB a worker at most (expected below {MEMORY})")
    print(f"and {held['growth_gb']} GB more in the last quarter of {lasted['work']:.0f} s than in the second")
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
