"""Find out which versions of torch load the exported models, and whether their answers are the same.

    python -m benchmarks.reach [--versions 2.4.0 2.6.0 2.8.0 2.9.0 newest] [--pictures 40]

Each version gets an environment of its own with torch, numpy and Pillow, in `torch-versions` of the user's cache folder,
where it stays for the next run. `benchmarks/loading.py` runs in it, with the exports of this folder and the first test
pictures of each project. Environments come from PyTorch's index of CPU builds (0.8 GB each) or, where that can't be
reached, from PyPI (4 GB).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks import measuring
from stages.common import config
from stages.common.models import bundle, torch_files
from stages.landmarks import export as landmarks
from stages.landmarks import photographs
from stages.scones.config import Deploy

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torch-versions"
OLDEST, NEWEST = "2.4.0", "newest"
LOADING = Path(__file__).with_name("loading.py")
UV = str(Path(sys.executable).with_name("uv"))


def newest() -> str:
    """Return the newest version of torch that the package index has."""
    options = ["--quiet", "--no-deps", "--no-header", "--no-annotate", "--python-version", "3.11"]
    command = [UV, "pip", "compile", *options, "-"]
    done = subprocess.run(command, input="torch", capture_output=True, text=True, check=True)
    return done.stdout.strip().removeprefix("torch==")


def environment(version: str) -> Path:
    """Return the Python of an environment with this version of torch, made on the first call."""
    folder = CACHE / version
    python, done = folder / "bin" / "python", folder / "complete"
    if done.exists():
        return python
    subprocess.run([UV, "venv", "--quiet", "--clear", "--python", "3.11", str(folder)], check=True)
    install = [UV, "pip", "install", "--quiet", "--python", str(python), f"torch=={version}", "numpy", "pillow"]
    from_pytorch = subprocess.run([*install, "--torch-backend", "cpu"], capture_output=True, check=False)
    if from_pytorch.returncode:
        without = folder / "override.txt"
        without.write_text('triton; sys_platform == "never"\n')  # a compiler for GPUs
        subprocess.run([*install, "--override", str(without)], check=True)
    done.touch()
    return python


def write_case(folder: Path, pictures: Iterable[Tensor]) -> None:
    """Write what `loading` needs beside ``folder``'s models: ``pictures``, as `model.pt` takes one, and its answers here."""
    model = torch_files.load_torchscript(folder / "model.pt")[0]
    given = list(pictures)
    with torch.no_grad():
        torch.save(torch.stack([model(picture)[0] for picture in given]), folder / "answers.pt")
    torch.save(given, folder / "pictures.pt")
    for index, picture in enumerate(given):
        pixels = picture[0].permute(1, 2, 0) if picture.shape[1] == 3 else picture[0]
        Image.fromarray(pixels.numpy()).save(folder / f"{index:04}.png")


def measure(version: str, folder: Path) -> dict[str, Any]:
    """Return what `loading` prints for ``folder`` in this version of torch."""
    command = [str(environment(version)), "-I", "-W", "ignore", str(LOADING), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def write_cases(folder: Path, count: int) -> None:
    """Write the exports of this folder with ``count`` of their test pictures."""
    pictures: dict[str, Iterable[Tensor]] = {}
    for project in ("mnist", "scones"):
        with np.load(f"data/{project}/features/test.npz") as test:
            pictures[project] = torch.from_numpy(test["images"][:count]).split(1)
    index = photographs.read_index(landmarks.RAW, "test")[:count]
    pictures["landmarks"] = (image[None].contiguous() for image in landmarks.originals(index))
    for project, given in pictures.items():
        shutil.copytree(Path("models", project, "export"), folder / project)
        bundle.unpack(folder / project / "model.tar.gz", folder / project / "archive")
        write_case(folder / project, given)


def main(versions: list[str], pictures: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        write_cases(Path(temporary), pictures)
        chosen = [newest() if version == NEWEST else version for version in versions]
        found = {version: measure(version, Path(temporary)) for version in chosen}
    for version, projects in found.items():
        for project, forms in projects.items():
            shown = (f"{form}: {value.get('error') or value['difference']}" for form, value in forms.items())
            print(version, project, *shown)
    return {"sagemaker": sagemaker(), "versions": found}


def sagemaker() -> str:
    """Return the version of torch in SageMaker's image."""
    return config.load("deploy.scones", Deploy).pytorch


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--versions", nargs="+", default=[OLDEST, sagemaker(), "2.8.0", "2.9.0", NEWEST])
    parser.add_argument("--pictures", type=int, default=40, help="of each project")


if __name__ == "__main__":
    measuring.run(main, arguments)
