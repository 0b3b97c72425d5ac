"""Draws docs/grid.svg, the pipeline as DVC knows it: a column for each verb, a row for each project, an arrow for each dependency.

python -m stages.experiments.grid_picture
"""

from pathlib import Path
from typing import Any

from dvc.repo import Repo
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from stages.common import files
from stages.common.program import run

PICTURE = Path("docs/grid.svg")
VERBS = ("prepare", "featurize", "train", "evaluate", "plot", "export", "deploy")
GUARD = "check"
INK, LINE, FILL = "#1f2933", "#7b8794", "#eaf1f8"

Edges = set[tuple[str, str]]


def edges() -> Edges:
    """Pairs of stages by name: the first one reads what the second one writes."""
    with Repo() as repo:
        return {(reader.addressing, writer.addressing) for reader, writer in repo.index.graph.edges}


def draw(found: Edges) -> Figure:
    """The stages of ``found`` and what leads from one to another. The guard, on which all depend, is one bar on the left."""
    names = {name for edge in found for name in edge}
    projects = list(dict.fromkeys(sorted(name.partition("@")[2] for name in names - {GUARD})))
    unguarded = {name for name in names - {GUARD} if (name, GUARD) not in found}
    figure, axis = plt.subplots(figsize=(11, 1.35 * len(projects) + 0.9))
    axis.set(xlim=(-1.55, len(VERBS) - 0.4), ylim=(len(projects) - 0.4, -0.95))
    axis.set_axis_off()
    axis.text(-1.05, -0.72, GUARD, ha="center", va="center", color=INK, weight="bold")
    for column, verb in enumerate(VERBS):
        axis.text(column, -0.72, verb, ha="center", va="center", color=INK, weight="bold")
    _box(axis, -1.05, (len(projects) - 1) / 2, 0.62, len(projects) - 0.44, "params\nvalid")
    places = {
        f"{verb}@{project}": (column, row) for row, project in enumerate(projects) for column, verb in enumerate(VERBS)
    }
    for name in sorted(names - {GUARD}):
        column, row = places[name]
        _box(axis, column, row, 0.72, 0.34, name.partition("@")[2])
    for row in range(len(projects)):
        whole = not unguarded & {f"{verb}@{projects[row]}" for verb in VERBS}
        _arrow(axis, (-0.74, row), (-0.36, row), 0.0, "-" if whole else "--")
    for reader, writer in sorted((reader, writer) for reader, writer in found if writer != GUARD):
        (start, row), (end, _) = places[writer], places[reader]
        span = end - start
        if span == 1:
            _arrow(axis, (start + 0.36, row), (end - 0.36, row), 0.0)
        else:  # around the cells between: short ways above them, long ones below
            side = -1 if span < 4 else 1
            _arrow(
                axis,
                (start + 0.05 * span, row + 0.17 * side),
                (end - 0.05 * span, row + 0.17 * side),
                side * (0.25 + (0.12 if side < 0 else 0.07) * span) / span,
            )
    return figure


def _box(axis: Any, x: float, y: float, width: float, height: float, text: str) -> None:
    corner = (x - width / 2, y - height / 2)
    style = "round,pad=0,rounding_size=0.06"
    axis.add_patch(FancyBboxPatch(corner, width, height, boxstyle=style, facecolor=FILL, edgecolor=LINE, zorder=3))
    axis.text(x, y, text, ha="center", va="center", color=INK, fontsize=9, zorder=4)


def _arrow(axis: Any, start: tuple[float, float], end: tuple[float, float], bend: float, line: str = "-") -> None:
    style = f"arc3,rad={bend}"
    arrow = FancyArrowPatch(
        start, end, connectionstyle=style, arrowstyle="-|>", mutation_scale=7, color=LINE, linestyle=line, linewidth=0.8
    )
    arrow.set_zorder(2)
    axis.add_patch(arrow)


def write(path: Path) -> None:
    """The picture of the pipeline as an SVG on white, the same bytes each time."""
    settings = {"svg.hashsalt": "grid", "svg.fonttype": "none", "font.family": "sans-serif"}
    # Whatever else this process draws in another style.
    with plt.style.context(["default", settings]), files.new_file(path) as partial:
        figure = draw(edges())
        metadata = {"Date": None, "Creator": None}
        figure.savefig(partial, format="svg", metadata=metadata, facecolor="white", bbox_inches="tight")
        plt.close(figure)


def main() -> None:
    write(PICTURE)


if __name__ == "__main__":
    run(main)
