"""Build a container image that serves one exported model, with Docker or Podman.

    python -m stages.serving.image scones             # the image scones, with the working tree's export
    python -m stages.serving.image scones v1.0.0      # scones:v1.0.0, with that release's export
    python -m stages.serving.image scones --only-files

The image implements SageMaker's container contract, see `container`. Its packages are those of requirements.txt that the
container needs, with their hashes, and torch without CUDA. The build context stays in `reports/image/<project>`.
"""

import argparse
import importlib.metadata
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stages import projects
from stages.common import files
from stages.common.errors import InputError
from stages.common.models import bundle, registry
from stages.common.program import run
from stages.serving.process import CONTAINER

DOCKERFILE = Path(__file__).with_name("Dockerfile")
CONTEXTS = Path("reports/image")
BUILDERS = ("docker", "podman")

ROOTS = ("numpy", "pillow", "pillow-heif", "scipy", "torch", "starlette", "uvicorn", "httptools", "uvloop")
"""The packages that the container and the picture projects' `inference.py` import."""

CUDA = re.compile(r"nvidia-|cuda-|triton")

TORCH = """torch==2.13.0+cpu \\
    --hash=sha256:6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b
"""
"""For CPython 3.11 on Linux and x86-64. PyPI has no build without CUDA, so requirements.txt has no hash of one."""


def with_image() -> list[str]:
    """Return the projects that an image can serve: those whose model is a TorchScript file."""
    return [name for name in projects.names() if "torch" in projects.about(name).packages]


def needed(names: tuple[str, ...]) -> set[str]:
    """Return the packages ``names`` and their dependencies, without CUDA."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found or CUDA.match(name):
            continue
        found.add(name)
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def pinned() -> Iterator[tuple[str, str]]:
    """Yield each package of requirements.txt, with its lines."""
    text = Path("requirements.txt").read_text(encoding="utf-8")
    for block in re.findall(r"^[^ #\n].*\n(?:    [^#\n].*\n)*", text, re.MULTILINE):
        yield canonicalize_name(Requirement(block.partition("\\")[0].strip()).name), block


def requirements() -> str:
    """Return the packages of the image, each with its version and hashes."""
    wanted = needed(ROOTS) - {"torch"}
    return "".join(block for name, block in pinned() if name in wanted) + TORCH


def write_context(archive: Path, folder: Path) -> None:
    """Write the build context to ``folder``. Raise InputError if the ``archive`` can't be unpacked."""
    with files.new_folder(folder) as context:
        shutil.copyfile(DOCKERFILE, context / "Dockerfile")
        (context / "requirements.txt").write_text(requirements())
        shutil.copytree(CONTAINER, context / "container", ignore=shutil.ignore_patterns("__pycache__"))
        bundle.unpack(archive, context / "model")


def main(project: str, version: str | None, only_files: bool) -> None:
    archive, folder = Path("models", project, "export", "model.tar.gz"), CONTEXTS / project
    with registry.opened(project, version, [archive]) as root:
        write_context(files.require(root / archive, f"export@{project}"), folder)
    builder = next((name for name in BUILDERS if shutil.which(name)), None)
    image = f"{project}:{version or 'latest'}"
    command = ["build", "--platform", "linux/amd64", "--tag", image, str(folder)]
    if only_files:
        print(f"{folder} has the build context: docker {' '.join(command)}")
        return
    if builder is None:
        raise InputError(
            f"neither docker nor podman found: install one, or build {folder} where there is one: docker {' '.join(command)}"
        )
    if code := subprocess.run([builder, *command], check=False).returncode:
        raise InputError(f"{builder} {' '.join(command)} failed with exit code {code}: see above")
    print(f"Built {image}. Run it:  {builder} run --read-only --cap-drop ALL --publish 127.0.0.1:8080:8080 {image}")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", choices=with_image())
    parser.add_argument("version", nargs="?", help="a released version (default: the working tree's export)")
    parser.add_argument("--only-files", action="store_true", help="write the build context, and build nothing")


if __name__ == "__main__":
    run(main, arguments)
