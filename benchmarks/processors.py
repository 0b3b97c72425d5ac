"""Stages on other processors, emulated or limited, and whether they write the bytes that dvc.lock names.

    python -m benchmarks.processors --stages train@mnist evaluate@mnist [--json FILE]

`apt install qemu-user` first: Haswell (Intel) and EPYC (AMD) have AVX2 and no AVX-512, and carry the vendor's name, by which MKL
chooses its code; an emulated stage takes 30 to 60 times as long. `COMPATIBLE` is this processor with MKL's code for any processor
and without the fused multiply-add of the C library: what depends on either gives other bytes. Each stage runs in a fresh clone
with the results of this checkout as its inputs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from benchmarks import circumstances
from stages.common import clocks, files

EMULATORS = {
    "Haswell": ["qemu-x86_64", "-cpu", "Haswell"],
    "EPYC": ["qemu-x86_64", "-cpu", "EPYC"],
    "COMPATIBLE": ["env", "MKL_CBWR=COMPATIBLE"],
}


def clone(folder: Path) -> None:
    """This commit with its results, which are in DVC's cache."""
    subprocess.run(["git", "clone", "--quiet", ".", folder], check=True)
    cache = subprocess.check_output(["dvc", "cache", "dir"], text=True).strip()
    subprocess.run(["dvc", "config", "--quiet", "--local", "cache.dir", Path(cache).resolve()], cwd=folder, check=True)
    subprocess.run(["dvc", "checkout", "--quiet"], cwd=folder, check=True)


def differing(folder: Path, stage: str, emulator: list[str]) -> list[str]:
    """Run the ``stage`` in the clone. Returns its outputs whose hash is not that of dvc.lock."""
    verb, _, project = stage.partition("@")
    python = Path(sys.executable).resolve()  # an emulator does not follow the environment's link
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path[1:])])}
    command = [*emulator, str(python), "-m", f"stages.{project}.{verb}"]
    subprocess.run(
        command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    lock = yaml.safe_load((folder / "dvc.lock").read_text())
    outs = {out["path"]: out["md5"] for out in lock["stages"][stage]["outs"]}
    return [path for path, md5 in outs.items() if md5 != digest(folder / path)]


def digest(path: Path) -> str:
    return clocks.digest(path) if path.is_dir() else files.digest(path, "md5")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", nargs="+", required=True, help="such as train@mnist")
    parser.add_argument("--processors", nargs="+", choices=EMULATORS, default=list(EMULATORS))
    parser.add_argument("--json", type=Path, help="a file for the figures")
    arguments = parser.parse_args()
    rows = []
    for processor in arguments.processors:
        with tempfile.TemporaryDirectory() as folder:
            clone(Path(folder))
            for stage in arguments.stages:
                begin = time.perf_counter()
                found = differing(Path(folder), stage, EMULATORS[processor])
                rows.append({"processor": processor, "stage": stage, "differing": found})
                print(
                    f"{processor:10} {stage:20} {time.perf_counter() - begin:6.0f} s  {found or 'same bytes'}",
                    flush=True,
                )
                subprocess.run(["dvc", "checkout", "--quiet", "--force"], cwd=folder, check=True)
    if arguments.json:
        files.write_json(arguments.json, circumstances.now(threads=1) | {"runs": rows})
    if any(row["differing"] for row in rows):
        sys.exit("error: other processors gave other bytes")


if __name__ == "__main__":
    main()
