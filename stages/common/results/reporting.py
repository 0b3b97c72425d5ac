"""Figures in one style, drawn without a display. The same data gives the same bytes."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # before pyplot: no display

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from stages.common import files

plt.rcParams.update(
    {
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


def save(figure: Figure, path: Path) -> None:
    """Write ``figure`` as a PNG, atomically and without a date, and close it."""
    with files.new_file(path) as partial:
        figure.savefig(partial, format="png", metadata={"Software": None})
    plt.close(figure)
