"""Measure how much memory landmarks' stages need for many photographs, beyond what torch alone needs. Linux only.

    python -m benchmarks.landmarks_memory [--photographs 20000]

The photographs are made in a temporary folder: coloured clouds of 128 x 160 pixels in five classes, all different. The
stages prepare, featurize and train run there unchanged. Memory is measured every 0.2 s for a stage and all processes it
starts. It is the sum of their proportional set sizes (PSS: a shared page is divided among its processes). The anonymous
part excludes pages of files, which the system can drop at any time. The baseline is a process that imports torch and
takes one training step of a tiny network. The result is the difference of the peaks.
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import workspace
from stages.common import files
from stages.experiments.records import circumstances

RESULT = Path("benchmarks/results/landmarks_memory.json")
CLASSES = 5
INTERVAL = 0.2  # seconds
DEMAND = 2.0  # GB above torch alone, at most

TORCH_ALONE = """
import time
import torch
network = torch.nn.Linear(4, 2)
optimizer = torch.optim.AdamW(network.parameters())
network(torch.zeros(8, 4)).sum().backward()
optimizer.step()
time.sleep(1)  # long enough to be measured
"""

CHANGES = {
    "data": {"source": "photographs", "landmarks": {"size": 128}},
    "landmarks": {"network": "residual", "residual": {"width": 8, "image_size": 32}, "epochs": 1, "device": "cpu"},
}


def make_photographs(folder: Path, count: int) -> None:
    """Write ``folder``/<class>/<number>.jpg: 8 x 10 random colours each, blurred to 128 x 160 pixels."""
    generator = np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / f"class{label}").mkdir(parents=True)
    for number in range(count):
        colours = Image.fromarray(generator.integers(0, 256, (8, 10, 3), np.uint8))
        picture = colours.resize((160, 128), Image.Resampling.BILINEAR)
        picture.save(folder / f"class{number % CLASSES}" / f"{number:06}.jpg", quality=85)


def with_children(pid: int) -> list[int]:
    """Return the process and all its running descendants."""
    found = [pid]
    for process in found:  # the list grows in the loop
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:  # it has just ended
                continue
    return found


def memory(pid: int) -> dict[str, float]:
    """Return the GB of the process and its descendants: all, and the anonymous part."""
    totals = {"Pss": 0.0, "Pss_Anon": 0.0}
    for process in with_children(pid):
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
        except OSError:
            continue
        sizes = {name: int(size.split()[0]) for name, size in (line.split(":") for line in lines)}
        totals = {name: total + sizes.get(name, 0) * 1024 / 1e9 for name, total in totals.items()}
    return {"all": totals["Pss"], "anonymous": totals["Pss_Anon"]}


def peak(arguments: list[str], folder: Path) -> dict[str, float]:
    """Run `python ARGUMENTS` in ``folder``. Returns peak `memory` and seconds; raises CalledProcessError if it fails."""
    begin = time.perf_counter()
    greatest = {"all": 0.0, "anonymous": 0.0}
    with workspace.start(arguments, folder) as process:
        while process.poll() is None:
            now = memory(process.pid)
            greatest = {kind: max(size, now[kind]) for kind, size in greatest.items()}
            time.sleep(INTERVAL)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return greatest | {"seconds": time.perf_counter() - begin}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=int, default=20_000)
    parser.add_argument("--output", type=Path, default=RESULT, help="%(default)s")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_photographs(folder / "photographs" / "landmarks", arguments.photographs)
        workspace.create(folder, CHANGES)
        alone = peak(["-c", TORCH_ALONE], folder)
        stages = {verb: peak(["-m", f"stages.landmarks.{verb}"], folder) for verb in ("prepare", "featurize", "train")}

    above = {verb: {kind: sizes[kind] - alone[kind] for kind in ("all", "anonymous")} for verb, sizes in stages.items()}
    print(f"\n{'GB':12}{'all':>8}{'above torch':>14}{'anonymous':>12}{'above torch':>14}")
    print(f"{'torch alone':12}{alone['all']:>8.2f}{'':14}{alone['anonymous']:>12.2f}")
    for verb, sizes in stages.items():
        more = above[verb]
        print(f"{verb:12}{sizes['all']:>8.2f}{more['all']:>14.2f}{sizes['anonymous']:>12.2f}{more['anonymous']:>14.2f}")
    print(f"expected of featurize and train: less than {DEMAND} above torch")
    figures = {
        "circumstances": circumstances.now(torch.get_num_threads()),
        "photographs": arguments.photographs,
        "torch_alone_gb": alone,
        "stages_gb": stages,
        "above_torch_gb": above,
    }
    files.write_json(arguments.output, figures)


if __name__ == "__main__":
    main()
