"""requirements.txt and requirements/*.txt: the groups agree, and each part of the code imports only what its group installs."""

import re
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from conftest import ROOT
from imports import imports

from stages import projects
from stages.common.errors import InputError
from stages.common.program import requires

GROUPS = {path.stem: path for path in sorted((ROOT / "requirements").glob("*.txt"))}
FILES = [ROOT / "requirements.txt", *GROUPS.values()]

ELSEWHERE = {
    "kaggle": ("stages/experiments/submit.py",),
    "mlflow": ("stages/experiments/running/tracking.py",),
    "ray": (
        "stages/cluster/nodes.py",
        "stages/engine/ray/",
        *(f"stages/experiments/sweeps/{name}.py" for name in ("asha", "sweep")),
    ),
    "serving": (
        *(f"stages/serving/{name}.py" for name in ("access", "api", "measurements", "model", "models")),
        "stages/serving/page/",
        "stages/feedback/labelling.py",
        *(f"stages/{project}/page/" for project in projects.names()),
    ),
}
"""Where packages of a group are imported; all else has to run with requirements.txt alone."""


def pins(path: Path) -> list[tuple[str, str]]:
    """A file's packages and their versions."""
    return re.findall(r"^([\w.-]+)==([^\s;]+)", path.read_text(), re.MULTILINE)


def imported(file: Path) -> set[str]:
    """The top-level packages that a module imports, anywhere in it."""
    return {module.partition(".")[0] for module, _ in imports(file)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_package_is_pinned_with_hashes(path: Path) -> None:
    blocks = [block for block in path.read_text().split("\n") if block and block[0] not in " #"]
    assert blocks
    assert all("==" in block and block.endswith("\\") for block in blocks)


def test_every_package_has_one_version_in_all_groups_and_for_all_versions_of_python() -> None:
    versions: dict[str, str] = {}
    for path in FILES:
        for name, version in pins(path):
            assert versions.setdefault(name, version) == version, f"{path}: {name}"


def test_the_pipeline_imports_only_what_requirements_txt_installs() -> None:
    distributions = {
        package: {re.sub(r"[._-]+", "-", name).lower() for name in names}
        for package, names in packages_distributions().items()
    }
    pipeline = dict(pins(FILES[0])).keys()
    for file in sorted((ROOT / "stages").rglob("*.py")):
        place = file.relative_to(ROOT).as_posix()
        allowed = set(pipeline).union(
            *(dict(pins(GROUPS[group])) for group, where in ELSEWHERE.items() if place.startswith(where))
        )
        for package in imported(file) & distributions.keys():
            assert distributions[package] & allowed, f"{place} imports {package}"


def test_a_missing_package_is_named_with_its_group() -> None:
    said = r"^the page needs the package nowhere, .*: make env GROUPS=serving$"
    with pytest.raises(InputError, match=said), requires("serving", "the page"):
        import nowhere  # type: ignore[import-not-found]  # noqa: F401


def test_a_module_of_this_project_that_is_missing_is_a_defect() -> None:
    with pytest.raises(ModuleNotFoundError), requires("serving", "the page"):
        import stages.nowhere  # type: ignore[import-not-found]  # noqa: F401
