"""dvc.yaml: the whole grid is there, and every stage depends on just the modules that it imports."""

import ast
import itertools
import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo
from dvc.stage import PipelineStage
from imports import imports

VERBS = ["prepare", "featurize", "train", "evaluate", "plot", "export", "deploy"]
PROJECTS = list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["vars"][1]["projects"])


def stages() -> dict[str, PipelineStage]:
    return {stage.addressing: stage for stage in Repo(str(ROOT)).index.stages if isinstance(stage, PipelineStage)}


STAGES = stages()


def module_file(name: str) -> Path | None:
    """The file of a module of this project; packages count only where their __init__ holds something."""
    path = ROOT / Path(*name.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if name.startswith("stages") and file.is_file() and file.stat().st_size:
            return file
    return None


@cache
def needs(file: Path) -> set[Path]:
    """The project's modules that a file imports, at its top or inside a function, or names as a text, file or program beside it."""
    if file.suffix != ".py":
        return set()
    if file == ROOT / "stages/projects.py":  # it imports what each project has by that name
        return {*ROOT.glob("stages/*/about.py"), *ROOT.glob("stages/*/config.py"), ROOT / "stages/common/facts.py"}
    names = {name for module, inner in imports(file) for name in (module, f"{module}.{inner}")}
    texts: set[Path] = set()
    package = ".".join(file.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Constant) and re.fullmatch(r"\w+\.py", str(node.value)):
            names |= {f"{package}.{str(node.value).removesuffix('.py')}"}
        elif isinstance(node, ast.Constant) and re.fullmatch(r"\w+\.md", str(node.value)):
            texts |= {path for path in [file.with_name(str(node.value))] if path.is_file()}
        elif isinstance(node, ast.List):  # a command: `python -m container`
            values = [one.value if isinstance(one, ast.Constant) else None for one in node.elts]
            names |= {f"{package}.{after!s}.__main__" for one, after in itertools.pairwise(values) if one == "-m"}
    return texts | {found for name in names if (found := module_file(name))}


VALUES = re.compile(r"(stages/common/config|stages/common/training_settings|stages/\w+/config)\.py")
"""What a stage learns of params.yaml DVC tracks by value, and `check`, which all stages depend on, has validated it."""

CARRIERS = ("stages/engine/ray/", "stages/engine/sagemaker/")
"""They carry a stage's work to other machines: what it computes is in the stage's own modules."""


def closure(file: Path, with_values: bool = False) -> set[str]:
    """The files that a stage's results depend on: what its module imports, what that imports, and so on."""
    seen: set[Path] = set()
    todo = {file, ROOT / "stages/__init__.py"}  # which importing any module of the package runs
    while todo:
        seen |= todo
        todo = {found for known in todo for found in needs(known) if with_values or not is_left_out(found)} - seen
    return {path.relative_to(ROOT).as_posix() for path in seen}


def is_left_out(file: Path) -> bool:
    path = file.relative_to(ROOT).as_posix()
    return bool(VALUES.fullmatch(path)) or path.startswith(CARRIERS)


def test_every_step_of_every_project_is_a_stage() -> None:
    assert set(STAGES) == {"check"} | {f"{verb}@{project}" for verb in VERBS for project in PROJECTS}


@pytest.mark.parametrize("name", sorted(STAGES))
def test_deps_are_the_closure_of_the_imports(name: str) -> None:
    verb, _, project = name.partition("@")
    module = ROOT / "stages" / project / f"{verb}.py"
    code = {dep.def_path for dep in STAGES[name].deps if dep.def_path.startswith("stages/")}
    imported = closure(module, with_values=name == "check")
    folders = {path for path in code if (ROOT / path).is_dir()}
    assert {path for path in imported if not any(path.startswith(f"{folder}/") for folder in folders)} == code - folders
    for folder in folders:  # a package counts as a whole, but some of it must be imported
        assert any(path.startswith(f"{folder}/") for path in imported), folder


@pytest.mark.parametrize("name", sorted(set(STAGES) - {"check"}))
def test_every_stage_depends_on_check(name: str) -> None:
    assert "reports/parameters.txt" in {dep.def_path for dep in STAGES[name].deps}


@pytest.mark.parametrize("name", sorted(STAGES))
def test_a_stage_reads_only_its_own_projects_parameters_and_those_of_deploy_only_deploy(name: str) -> None:
    verb, _, project = name.partition("@")
    keys = {key for dep in STAGES[name].deps for key in getattr(dep, "params", [])}
    own = {project, f"data.{project}", f"data.{project}.source", f"data.{project}.photographs", f"evaluate.{project}"}
    deploy = {"deploy.target", f"deploy.{project}"} if verb == "deploy" else set()
    assert keys <= own | deploy | {"data.source", "engine", "engine.storage"}


def test_nothing_persists_between_runs() -> None:
    assert "persist" not in (ROOT / "dvc.yaml").read_text()


def test_the_lock_lists_just_the_dependencies_of_each_stage() -> None:
    """DVC runs no stage for an edit of its list alone, and rewrites the list where the stage runs next: on another machine."""
    locked = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    assert set(locked) == set(STAGES)
    for name, stage in STAGES.items():
        files = [dependency.def_path for dependency in stage.deps if not isinstance(dependency, ParamsDependency)]
        assert sorted(entry["path"] for entry in locked[name]["deps"]) == sorted(files), name
