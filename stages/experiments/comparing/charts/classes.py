"""Charts of classifiers: learning curves and confusion matrices."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from stages.common.results import reporting
from stages.experiments.comparing.charts.chart import Chart, Groups, colours, without
from stages.experiments.comparing.variants import Variant

MATRICES = 6


def curves(groups: Groups) -> Chart | None:
    """Draw loss and accuracy over the epochs. All variants on the same data share an axis."""
    shown = {
        data: [variant for variant in variants if any(run.history for run in variant.runs)]
        for data, variants in groups.items()
    }
    shown = {data: variants for data, variants in shown.items() if variants}
    if not shown:
        return None

    def paint(part: FigureBase) -> None:
        grid = part.subplots(len(shown), 2, squeeze=False)
        for axes, (data, variants) in zip(grid, shown.items(), strict=True):
            own = dict(zip((one.label for one in groups[data]), colours(len(groups[data])), strict=True))
            for variant in variants:
                for number, history in enumerate(run.history for run in variant.runs if run.history):
                    for axis, what in zip(axes, ("loss", "accuracy"), strict=True):
                        _curve(axis, history, what, own[variant.label], "" if number else variant.label)
            axes[0].set(title=f"data: {data}", xlabel="epoch", ylabel="cross-entropy [nats]", yscale="log")
            reporting.plain(axes[0].yaxis)
            axes[1].set(xlabel="epoch", ylabel="accuracy [1]")
            for axis in axes:
                axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes[1].legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))

    caption = "Solid: validation part, after each epoch. Dashed: training part, during the epoch. Later seeds are pale."
    return Chart("curves", caption, 3.4 * len(shown), paint, without("history", groups))


def _curve(axis: Axes, history: dict[str, list[int | float]], what: str, colour: str, label: str) -> None:
    alpha = 1.0 if label else 0.35
    marker = "o" if len(history["epoch"]) == 1 else ""
    axis.plot(history["epoch"], history[f"train_{what}"], f"{marker}--", color=colour, alpha=0.6 * alpha, linewidth=1)
    axis.plot(history["epoch"], history[f"valid_{what}"], f"{marker}-", color=colour, alpha=alpha, label=label or None)


def confusions(groups: Groups) -> Chart | None:
    """Draw the confusion matrix of each variant, summed over all seeds."""
    shown = [
        (data, variant, counts)
        for data, variants in groups.items()
        for variant in variants
        if (counts := _counts(variant)) is not None
    ]
    if not shown:
        return None
    drawn = shown[:MATRICES]
    columns = min(len(drawn), 3)
    rows = -(-len(drawn) // columns)

    def paint(part: FigureBase) -> None:
        grid = part.subplots(rows, columns, squeeze=False)
        for axis in grid.flat[len(drawn) :]:
            axis.set_axis_off()
        for axis, (data, variant, counts) in zip(grid.flat, drawn, strict=False):
            labels = next(run.confusion.labels for run in variant.runs if run.confusion)
            _matrix(axis, counts, labels)
            axis.set_title(
                f"{variant.label}\n{np.trace(counts):,} of {counts.sum():,} correct, data: {data}", fontsize="small"
            )

    left = [variant.label for _, variant, _ in shown[MATRICES:]]
    caption = "Rows: actual class. Columns: predicted class. Colour: fraction of the row. Counts are over all seeds."
    caption += f" Only {MATRICES} are drawn; left out: {', '.join(left)}." if left else ""
    return Chart("confusion", caption, 3.9 * rows, paint, without("confusion", groups))


def _counts(variant: Variant) -> np.ndarray | None:
    kept = [np.array(run.confusion.counts) for run in variant.runs if run.confusion]
    return np.sum(kept, axis=0) if kept else None


def _matrix(axis: Axes, counts: np.ndarray, labels: list[str]) -> None:
    shares = counts / counts.sum(1, keepdims=True).clip(1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axis.grid(False)
    axis.set(xlabel="predicted", ylabel="actual")
    if len(labels) > 20:
        return
    size = 7 if len(labels) <= 12 else 5
    names = [label if len(label) < 14 else f"{label[:12]}…" for label in labels]
    long = max(map(len, names)) > 3
    axis.set_xticks(range(len(names)), names, rotation=90 if long and len(names) > 3 else 0, fontsize=size)
    axis.set_yticks(range(len(names)), names, fontsize=size)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axis.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=size - 1)
