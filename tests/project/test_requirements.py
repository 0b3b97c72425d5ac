"""requirements.txt and requirements/*.txt: the groups agree, and each part of the code imports only what its group installs."""

import ast
import re
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from conftest import ROOT

from stages import projects
from stages.common.errors import InputError
from stages.common.program import requires

GROUPS = {path.stem: path for path in sorted((ROOT / "requirements").glob("*.txt"))}
FILES = [ROOT / "requirements.txt", *GROUPS.values()]

ELSEWHERE = {
    "mlflow": ("stages/experiments/running/tracking.py",),
    "ray": (
        "stages/cluster/nodes.py",
        "stages/engine/ray/",
        *(f"stages/experiments/sweeps/{name}.py" for name in ("asha", "sweep")),
    ),
    "serving": (
        *(f"stages/serving/{name}.py" for name in ("api", "guard", "measurements", "model", "models")),
        "stages/serving/page/",
        *(f"stages/{project}/page/" for project in projects.names()),
    ),
}
"""Where packages of a group are imported; all else has to run with requirements.txt alone."""


def pins(path: Path) -> dict[str, set[str]]:
    """A file's packages, with one version, or some for several Pythons."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", path.read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found


def imported(file: Path) -> set[str]:
    """The top-level packages that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_package_is_pinned_with_hashes(path: Path) -> None:
    blocks = [block for block in path.read_text().split("\n") if block and block[0] not in " #"]
    assert blocks
    assert all("==" in block and block.endswith("\\") for block in blocks)


def test_the_groups_agree_on_every_version() -> None:
    everywhere: dict[str, set[str]] = {}
    for path in FILES:
        for name, versions in pins(path).items():
            assert everywhere.setdefault(name, versions) == versions, f"{path}: {name}"


def test_the_pipeline_imports_only_what_requirements_txt_installs() -> None:
    distributions = {
        package: {re.sub(r"[._-]+", "-", name).lower() for name in names}
        for package, names in packages_distributions().items()
    }
    pipeline = pins(FILES[0]).keys()
    for file in sorted((ROOT / "stages").rglob("*.py")):
        place = file.relative_to(ROOT).as_posix()
        allowed = set(pipeline).union(
            *(pins(GROUPS[group]) for group, where in ELSEWHERE.items() if place.startswith(where))
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
