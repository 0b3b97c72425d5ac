"""Figures in one style, drawn without a display. The same data gives the same bytes."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # before pyplot: no display

import matplotlib.pyplot as plt
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from stages.common import files

plt.rcParams.update(
    {
        "text.parse_math": False,  # a class may be called $x_1$
        "figure.constrained_layout.use": True,
        "figure.dpi": 120,
        "axes.grid": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": "medium",
        "grid.alpha": 0.3,
        "legend.frameon": False,
    }
)


class Plain(LogFormatter):
    """Labels of a logarithmic axis without markup. matplotlib's own ones are formulas."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def plain(axis: Axis) -> None:
    """Label ``axis``, which is already logarithmic, with `Plain`."""
    axis.set_major_formatter(Plain())
    axis.set_minor_formatter(Plain())


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` as a PNG, atomically and without a date, and close it."""
    with files.new_file(path) as partial:
        FigureCanvasAgg(figure).print_png(partial, metadata={"Software": None})  # savefig draws twice, for the layout
    plt.close(figure)
