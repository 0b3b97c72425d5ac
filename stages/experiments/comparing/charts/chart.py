"""What the pictures have in common: a chart is drawn into a figure of its own, or above another one."""

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.figure import Figure, FigureBase

from stages.common import files
from stages.common.results import reporting
from stages.experiments.comparing.variants import Variant

WIDTH = 11.0  # inches

Groups = dict[str, list[Variant]]


@dataclass(frozen=True)
class Chart:
    """What draws a picture, and what it says."""

    name: str
    caption: str
    height: float
    """in inches, where it is `WIDTH` wide"""
    paint: Callable[[FigureBase], None]
    note: str = ""
    """below the picture: whom it lacks"""


def figure(charts: list[Chart]) -> Figure:
    """The charts one above the other."""
    whole = plt.figure(figsize=(WIDTH, sum(chart.height for chart in charts)))
    parts = whole.subfigures(len(charts), 1, squeeze=False, height_ratios=[chart.height for chart in charts])
    for part, chart in zip(parts[:, 0], charts, strict=True):
        chart.paint(part)
        if chart.note:
            part.supxlabel(textwrap.fill(chart.note, 150), fontsize="small", color="dimgray")
    return whole


def save(whole: Figure, folder: Path, name: str, kinds: tuple[str, ...] = ("svg", "png")) -> None:
    """Write ``whole`` as PNG and, where asked for, SVG: the same bytes each time; and close it."""
    if "svg" in kinds:
        with files.new_file(folder / f"{name}.svg") as partial, plt.rc_context({"svg.hashsalt": name}):
            whole.savefig(partial, format="svg", metadata={"Date": None, "Creator": None})
    reporting.save(whole, folder / f"{name}.png")


def without(field: str, groups: Groups) -> str:
    """Which variants a picture has to do without."""
    variants = [variant for group in groups.values() for variant in group]
    lacking = [variant.label for variant in variants if not any(getattr(run, field) for run in variant.runs)]
    return f"Missing, as nothing of it was kept: {', '.join(lacking)}" if lacking else ""


def colours(number: int) -> list[str]:
    return [to_hex(plt.get_cmap("tab10" if number <= 10 else "tab20")(index % 20)) for index in range(number)]
