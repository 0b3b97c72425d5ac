"""Sentences of the pages that are taken from docstrings: what a data source is, and what a plot shows."""

import ast
from pathlib import Path

FIGURES = Path("stages/common/results/figures.py")
"""The module with the plots that several projects have."""


def about_source(project: str, source: str) -> str:
    """Describe the data: the first paragraph of the module that makes or fetches them, or else their path."""
    module = Path(f"stages/{project}/sources/{source}.py")
    if source not in ("sample", "official") or not module.exists():
        return f"The data are your files at {source}."
    return _plain((ast.get_docstring(_read(module)) or "").split("\n\n")[0])


def of_plots(project: str) -> dict[str, str]:
    """Return the captions of a project's plots by file: the first sentence of the function with which a file's name begins."""
    drawn: dict[str, str] = {}
    for module in (FIGURES, *Path(f"stages/{project}").glob("pictures/*.py"), Path(f"stages/{project}/plot.py")):
        functions = [one for one in _read(module).body if isinstance(one, ast.FunctionDef)]
        drawn |= {one.name: ast.get_docstring(one) or "" for one in functions}
    captions = {}
    for path in sorted(Path(f"reports/{project}/plots").glob("*.png")):
        name = max((name for name in drawn if path.stem.startswith(name)), key=len, default="")
        captions[path.name] = _plain(drawn.get(name, "")).split(". ")[0].rstrip(".").removeprefix("Plot ")
    return captions


def _read(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8") if module.exists() else "")


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())
