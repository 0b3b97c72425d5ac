"""Code shared by all charts. A chart can have its own figure, or share one with other charts."""

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
    """A chart: the function that draws it, and its texts."""

    name: str
    caption: str
    height: float
    """In inches, for a width of `WIDTH`."""
    paint: Callable[[FigureBase], None]
    note: str = ""
    """Below the chart: the variants it lacks."""


def figure(charts: list[Chart]) -> Figure:
    """Draw the charts below each other in one figure."""
    whole = plt.figure(figsize=(WIDTH, sum(chart.height for chart in charts)))
    parts = whole.subfigures(len(charts), 1, squeeze=False, height_ratios=[chart.height for chart in charts])
    for part, chart in zip(parts[:, 0], charts, strict=True):
        chart.paint(part)
        if chart.note:
            part.supxlabel(textwrap.fill(chart.note, 150), fontsize="small", color="dimgray")
    return whole


def save(whole: Figure, folder: Path, name: str, kinds: tuple[str, ...] = ("svg", "png")) -> None:
    """Write ``whole`` as PNG and, if ``kinds`` has it, SVG, and close it. The same figure gives the same bytes."""
    if "svg" in kinds:
        with files.new_file(folder / f"{name}.svg") as partial, plt.rc_context({"svg.hashsalt": name}):
            whole.savefig(partial, format="svg", metadata={"Date": None, "Creator": None})
    reporting.save(whole, folder / f"{name}.png")


def without(field: str, groups: Groups) -> str:
    """Name the variants that a chart lacks; empty if it has all."""
    variants = [variant for group in groups.values() for variant in group]
    lacking = [variant.label for variant in variants if not any(getattr(run, field) for run in variant.runs)]
    return f"Missing, because their data for this chart were not kept: {', '.join(lacking)}" if lacking else ""


def colours(number: int) -> list[str]:
    return [to_hex(plt.get_cmap("tab10" if number <= 10 else "tab20")(index % 20)) for index in range(number)]
