"""Run stages on other processors, simulated or emulated, and check that they write the bytes recorded in dvc.lock.

    python -m benchmarks.processors [--json FILE]                     # all stages, one after the other
    python -m benchmarks.processors --processors Haswell EPYC --stages train@mnist evaluate@mnist

MKL, a part of torch's libraries, chooses its code by the processor's vendor. `Intel` and `AMD` run on this processor,
but MKL is given that vendor. This needs a C compiler to replace two of MKL's functions; Intel's code then gives the
same bytes as on an emulated Haswell. `COMPATIBLE` is MKL's code for any processor. These three run at full speed.
`Haswell` and `EPYC` are fully emulated by qemu (`apt install qemu-user`), including their vendors' names, and take 30
to 60 times as long. Processes that a stage starts, such as the served model, are not emulated. Each stage runs in a
fresh clone with the results of this checkout as its inputs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import measuring, workspace
from stages.common import clocks, config, files

NATIVE = ("Intel", "AMD", "COMPATIBLE")
EMULATED = ("Haswell", "EPYC")

VENDOR = "int mkl_serv_intel_cpu(void) { return INTEL; } int mkl_serv_intel_cpu_true(void) { return INTEL; }"
"""C replacements for the two MKL functions that tell whether the processor is Intel's."""


def on(processor: str, folder: Path) -> list[str]:
    """Return the start of a command that runs on ``processor``. Files that it needs are written to ``folder``."""
    if processor in EMULATED:
        return ["qemu-x86_64", "-cpu", processor]
    if processor == "COMPATIBLE":
        return ["env", "MKL_CBWR=COMPATIBLE"]
    library = folder / f"{processor}.so"
    compiler = ["cc", "-shared", "-fPIC", f"-DINTEL={int(processor == 'Intel')}", "-x", "c", "-", "-o", str(library)]
    subprocess.run(compiler, input=VENDOR, text=True, check=True)
    return ["env", f"LD_PRELOAD={library}"]


def differing(folder: Path, stage: str, beginning: list[str]) -> list[str]:
    """Run the ``stage`` in the clone. Returns its outputs whose hash differs from dvc.lock."""
    verb, _, project = stage.partition("@")
    # The emulator does not follow the environment's link. Processes that a stage starts need it to find their packages.
    python = Path(sys.executable).resolve() if beginning[0].startswith("qemu") else Path(sys.executable)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path[1:])])}
    command = [*beginning, str(python), "-m", f"stages.{project}.{verb}"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} ended with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    lock = config.read(folder / "dvc.lock")
    outs = {out["path"]: out["md5"] for out in lock["stages"][stage]["outs"]}
    return [path for path, md5 in outs.items() if md5 != digest(folder / path)]


def digest(path: Path) -> str:
    return clocks.digest(path) if path.is_dir() else files.digest(path, "md5")


def main(stages: list[str], processors: list[str]) -> dict[str, Any]:
    rows = []
    for processor in processors:
        with tempfile.TemporaryDirectory() as temporary:
            folder, beginning = Path(temporary) / "clone", on(processor, Path(temporary))
            workspace.clone(folder)
            for stage in stages:
                begin = time.perf_counter()
                found = differing(folder, stage, beginning)
                rows.append({"processor": processor, "stage": stage, "differing": found})
                seconds = time.perf_counter() - begin
                print(f"{processor:10} {stage:20} {seconds:6.0f} s  {found or 'same bytes'}", flush=True)
                subprocess.run(["dvc", "checkout", "--quiet", "--force"], cwd=folder, check=True)
    return {"runs": rows}


def arguments(parser: argparse.ArgumentParser) -> None:
    stages = [name for name in config.read(Path("dvc.lock"))["stages"] if "@" in name]
    parser.add_argument("--stages", nargs="+", default=stages, help="such as train@mnist (default: all)")
    parser.add_argument("--processors", nargs="+", choices=(*NATIVE, *EMULATED), default=NATIVE)


if __name__ == "__main__" and any(row["differing"] for row in measuring.run(main, arguments)["runs"]):
    sys.exit("error: other processors gave different bytes, see above")
