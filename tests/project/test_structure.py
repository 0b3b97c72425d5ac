"""The structure of `stages`: what may import what, and how much a folder and a file hold."""

import graphlib
from pathlib import Path

from conftest import ROOT
from imports import imports

from stages import projects

LAYERS = [
    ["stages"],
    ["common"],
    ["common.results", "common.sources", "common.training"],
    ["common.models", "common.vision"],
    ["engine"],
    ["projects", "cluster"],
    ["serving"],
    list(projects.names()),
    ["check"],
    ["experiments"],
    ["feedback"],
    ["loop"],
]
"""Rooms from the lowest to the highest. One may import from itself and from those in layers below it."""

MOST_FILES = 16
MOST_LINES = 300


def modules() -> dict[str, Path]:
    """Every module of `stages` by its dotted name."""
    paths = sorted((ROOT / "stages").rglob("*.py"))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


MODULES = modules()


def imported(path: Path) -> set[str]:
    """The modules of `stages` that a file imports."""
    found = ((f"{module}.{name}", module) for module, name in imports(path))
    return {whole if whole in MODULES else module for whole, module in found} & MODULES.keys()


GRAPH = {name: imported(path) - {name} for name, path in MODULES.items()}


def room(module: str) -> str:
    """`common.vision` for a module in a folder of `common`, else the part after `stages`."""
    parts = module.split(".")[1:]
    if not parts:
        return "stages"
    return ".".join(parts[:2]) if parts[0] == "common" and len(parts) > 2 else parts[0]


def test_no_module_imports_itself_in_a_circle() -> None:
    list(graphlib.TopologicalSorter(GRAPH).static_order())


def test_a_room_imports_only_from_lower_ones() -> None:
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    upward = {
        f"{importing} imports {imported}"
        for importing, names in GRAPH.items()
        for imported in names
        if room(importing) != room(imported) and level[room(imported)] >= level[room(importing)]
    }
    assert not upward


def test_folders_and_files_are_small_enough_to_read() -> None:
    folders = {path.parent for path in MODULES.values()}
    full = {folder: len([path for path in folder.iterdir() if path.is_file()]) for folder in folders}
    assert not {str(folder): count for folder, count in full.items() if count > MOST_FILES}
    long = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert not {name: count for name, count in long.items() if count > MOST_LINES}
