"""Pictures of variants side by side. A chart is drawn into a figure of its own, or above another one.

Each takes the variants by their data, and is None where there is nothing to draw. Data are never mixed in one axis.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import FuncFormatter, MaxNLocator

from stages.common import files, reporting
from stages.experiments.metrics import Metric
from stages.experiments.variants import Spread, Variant

WIDTH = 11.0  # inches
MATRICES = 6
MODELS = 8  # of a leaderboard

Groups = dict[str, list[Variant]]


@dataclass(frozen=True)
class Chart:
    """What draws a picture, and what it says."""

    name: str
    caption: str
    height: float
    """in inches, where it is `WIDTH` wide"""
    paint: Callable[[FigureBase], None]


def figure(charts: list[Chart]) -> Figure:
    """The charts one above the other."""
    whole = plt.figure(figsize=(WIDTH, sum(chart.height for chart in charts)))
    parts = whole.subfigures(len(charts), 1, squeeze=False, height_ratios=[chart.height for chart in charts])
    for part, chart in zip(parts[:, 0], charts, strict=True):
        chart.paint(part)
    return whole


def _without(field: str, groups: Groups) -> str:
    """Which variants a picture has to do without."""
    variants = [variant for group in groups.values() for variant in group]
    lacking = [variant.label for variant in variants if not any(getattr(run, field) for run in variant.runs)]
    return f" Missing: {', '.join(lacking)}." if lacking else ""


def _colours(number: int) -> list[str]:
    return [to_hex(plt.get_cmap("tab10" if number <= 10 else "tab20")(index % 20)) for index in range(number)]


def scores(groups: Groups, metrics: dict[str, Metric]) -> Chart | None:
    """Each headline figure: every seed, their mean, and what was published elsewhere."""
    shown = {
        name: metric
        for name, metric in metrics.items()
        if metric.better and any(variant.spread(name) for variants in groups.values() for variant in variants)
    }
    if not shown:
        return None

    def paint(part: FigureBase) -> None:
        grid = _rows(part, groups, len(shown))
        for axes, (data, variants) in zip(grid, groups.items(), strict=True):
            for axis, (name, metric) in zip(axes, shown.items(), strict=True):
                _dots(axis, variants, [variant.spread(name) for variant in variants], name)
                _published(axis, variants, name, metric)
                if metric.format.endswith("%"):
                    axis.set_xlim(right=min(axis.get_xlim()[1], 1.002))
                    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
                axis.set_xlabel(f"{metric.title}\n({metric.better} is better)", fontsize="small")
            axes[0].set_title(f"data: {data}", loc="left")
        _legend(part, grid)

    caption = "Small dots: one seed each. Large dots: their mean. Diamonds: published elsewhere; hollow ones are not comparable."
    return Chart("scores", caption, _height(groups), paint)


def costs(groups: Groups) -> Chart | None:
    """What each variant takes: training time, parameters and, where it was measured, memory."""
    measures: dict[str, Callable[[Variant], Spread | None]] = {
        "training [s]": Variant.seconds,
        "parameters": lambda variant: variant.spread("parameters"),
        "memory [GB]": Variant.memory,
    }
    everything = [variant for variants in groups.values() for variant in variants]
    shown = {title: read for title, read in measures.items() if any(read(variant) for variant in everything)}
    if not shown:
        return None

    def paint(part: FigureBase) -> None:
        grid = _rows(part, groups, len(shown))
        for axes, (data, variants) in zip(grid, groups.items(), strict=True):
            for axis, (title, read) in zip(axes, shown.items(), strict=True):
                _dots(axis, variants, [read(variant) for variant in variants])
                axis.set_xscale("log")
                axis.set_xlabel(f"{title}, logarithmic", fontsize="small")
                _wide_enough(axis)
            axes[0].set_title(f"data: {data}", loc="left")

    caption = "Training time is of the machine that each variant ran on; several at a time slow each other down."
    return Chart("costs", caption, _height(groups), paint)


def _height(groups: Groups) -> float:
    return 0.4 + sum(1.0 + 0.3 * len(variants) for variants in groups.values())


def _rows(part: FigureBase, groups: Groups, columns: int) -> list[list[Axes]]:
    """Axes of a row for each group, as high as it has variants, which stand from top to bottom."""
    heights = [1.0 + 0.3 * len(variants) for variants in groups.values()]
    grid = part.subplots(len(groups), columns, squeeze=False, height_ratios=heights, sharey="row")
    for axes, variants in zip(grid, groups.values(), strict=True):
        axes[0].set_yticks(range(len(variants)), [variant.label for variant in variants])
        axes[0].set_ylim(len(variants) - 0.5, -0.5)
    return [list(axes) for axes in grid]


def _dots(axis: Axes, variants: list[Variant], values: list[Spread | None], metric: str | None = None) -> None:
    """A mean for each variant, its seeds' range, and each seed's ``metric``."""
    for place, (variant, found, colour) in enumerate(zip(variants, values, _colours(len(variants)), strict=True)):
        if found is None:
            continue
        axis.plot([found.lowest, found.highest], [place, place], color=colour, alpha=0.5)
        if metric and found.number > 1:
            seeds = [run.metrics[metric] for run in variant.runs]
            axis.plot(seeds, [place] * len(seeds), "o", color=colour, markersize=3.5, alpha=0.7)
        axis.plot(found.mean, place, "o", color=colour, markersize=8, alpha=0.85)
    axis.xaxis.set_major_locator(MaxNLocator(3))
    axis.tick_params(axis="x", labelsize="small")


def _published(axis: Axes, variants: list[Variant], name: str, metric: Metric) -> None:
    label = f"published elsewhere{f', {metric.elsewhere}' if metric.elsewhere else ''}"
    for place, variant in enumerate(variants):
        if name in variant.elsewhere and not variant.on_sample:
            face = "none" if metric.elsewhere else "black"
            axis.plot(
                variant.elsewhere[name], place, "D", color="black", markerfacecolor=face, markersize=6, label=label
            )


def _wide_enough(axis: Axes) -> None:
    """At least a power of ten, so that a logarithmic axis has labels."""
    low, high = axis.get_xlim()
    axis.set_xlim(min(low, 10 ** np.floor(np.log10(low))), max(high, 10 ** np.ceil(np.log10(high))))


def _legend(part: FigureBase, grid: list[list[Axes]]) -> None:
    """One legend for all the axes, a line for each label."""
    entries: dict[str, Artist] = {}
    for axes in grid:
        for axis in axes:
            handles, labels = axis.get_legend_handles_labels()
            entries.update(zip(labels, handles, strict=True))
    if entries:
        part.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=3, fontsize="small")


def curves(groups: Groups) -> Chart | None:
    """Loss and accuracy over the epochs, all variants in one axis for each data."""
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
            colours = dict(zip((one.label for one in groups[data]), _colours(len(groups[data])), strict=True))
            for variant in variants:
                for number, history in enumerate(run.history for run in variant.runs if run.history):
                    for axis, what in zip(axes, ("loss", "accuracy"), strict=True):
                        _curve(axis, history, what, colours[variant.label], "" if number else variant.label)
            axes[0].set(title=f"data: {data}", xlabel="epoch", ylabel="cross-entropy [nats]", yscale="log")
            axes[1].set(xlabel="epoch", ylabel="share of right answers [1]")
            for axis in axes:
                axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes[1].legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))

    caption = "Solid: on the validation part, after each epoch. Dashed: on the training part, while it is learnt. Further seeds are pale."
    return Chart("curves", caption + _without("history", groups), 3.4 * len(shown), paint)


def _curve(axis: Axes, history: dict[str, list[float]], what: str, colour: str, label: str) -> None:
    alpha = 1.0 if label else 0.35
    marker = "o" if len(history["epoch"]) == 1 else ""
    axis.plot(history["epoch"], history[f"train_{what}"], f"{marker}--", color=colour, alpha=0.6 * alpha, linewidth=1)
    axis.plot(history["epoch"], history[f"valid_{what}"], f"{marker}-", color=colour, alpha=alpha, label=label or None)


def confusions(groups: Groups) -> Chart | None:
    """Which class was taken for which, over all seeds."""
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
                f"{variant.label}\n{np.trace(counts):,} of {counts.sum():,} right, data: {data}", fontsize="small"
            )

    left = [variant.label for _, variant, _ in shown[MATRICES:]]
    caption = "Rows: the actual class. Columns: what it was taken for. The colour is the share of the row; counts over all seeds."
    caption += f" Left out, as only {MATRICES} are drawn: {', '.join(left)}." if left else ""
    return Chart("confusion", caption + _without("confusion", groups), 3.9 * rows, paint)


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


def story(groups: Groups) -> Chart | None:
    """bikes: the validation score and Kaggle's score from variant to variant, beside the published ones."""
    groups = {data: variants for data, variants in groups.items() if len(variants) > 1}

    def paint(part: FigureBase) -> None:
        grid = part.subplots(len(groups), 2, squeeze=False)
        for axes, (data, variants) in zip(grid, groups.items(), strict=True):
            names = [variant.label.removeprefix("bikes-") for variant in variants]
            lines = list(_story_lines(variants))
            for axis, side in zip(axes, ("RMSE [riders an hour]", "RMSLE [1]"), strict=True):
                for unit, style, label, values in lines:
                    if unit == side:
                        axis.plot(names, values, style, label=label)
                axis.set(xlabel="variant", ylabel=side, ylim=(0, None))
                axis.tick_params(axis="x", labelsize="small", rotation=20 if len(names) > 6 else 0)
                axis.legend(fontsize="small")
            axes[0].set_title(f"best validation score, data: {data}")
            axes[1].set_title(f"Kaggle's score, data: {data}")

    caption = "Kaggle's score is the RMSLE on the test hours; the validation days stand for them where their answers are not known."
    return Chart("story", caption, 3.6 * len(groups), paint) if groups else None


def _story_lines(variants: list[Variant]) -> Iterator[tuple[str, str, str, list[float]]]:
    """Lines (unit, style, label, values with NaN where there is none) that have a value at least."""

    def means(metric: str) -> list[float]:
        return [found.mean if (found := variant.spread(metric)) else np.nan for variant in variants]

    def elsewhere(metric: str) -> list[float]:
        return [np.nan if variant.on_sample else variant.elsewhere.get(metric, np.nan) for variant in variants]

    rmse, rmsle = "RMSE [riders an hour]", "RMSLE [1]"
    for line in (
        (rmse, "o-", "ours, whole days held out", means("rmse_valid")),
        (rmse, "s--", "published, shuffled hours", elsewhere("rmse_valid")),
        (rmsle, "o-", "ours, validation days", means("rmsle_valid")),
        (rmsle, "^-", "ours, test hours", means("rmsle_test")),
        (rmsle, "s--", "published, test hours", elsewhere("rmsle_test")),
    ):
        if not np.isnan(line[3]).all():
            yield line


def leaderboards(groups: Groups) -> Chart | None:
    """bikes: the validation score of each model of each variant, of the first seed."""
    shown = [
        (data, variant, board)
        for data, variants in groups.items()
        for variant in variants
        if (board := variant.runs[0].leaderboard)
    ]
    if not shown:
        return None
    rows = -(-len(shown) // 2)

    def paint(part: FigureBase) -> None:
        grid = part.subplots(rows, 2, squeeze=False)
        for axis in grid.flat[len(shown) :]:
            axis.set_axis_off()
        for axis, (data, variant, board) in zip(grid.flat, shown, strict=False):
            best = sorted(board, key=lambda row: float(row["rmsle_valid"]))[:MODELS]
            bars = axis.barh([str(row["model"]) for row in best], [float(row["rmsle_valid"]) for row in best])
            axis.bar_label(bars, fmt="%.4f", fontsize="x-small", padding=2)
            axis.invert_yaxis()
            axis.set_title(f"{variant.label}, data: {data}", fontsize="medium")
            axis.set_xlabel("RMSLE on the validation days [1], lower is better", fontsize="small")
            axis.tick_params(labelsize="small")
            axis.grid(axis="y", visible=False)

    caption = f"The best {MODELS} models of each variant, the ensemble among them."
    return Chart("leaderboards", caption + _without("leaderboard", groups), 2.8 * rows, paint)


def of(project: str, groups: Groups, metrics: dict[str, Metric]) -> list[Chart]:
    """The charts of a project that there is something for."""
    own = [story(groups), leaderboards(groups)] if project == "bikes" else [curves(groups), confusions(groups)]
    charts = [scores(groups, metrics), *own, costs(groups)]
    return [chart for chart in charts if chart]


def save(whole: Figure, folder: Path, name: str) -> None:
    """Write ``whole`` as PNG and SVG, the same bytes each time, and close it."""
    with files.new_file(folder / f"{name}.svg") as partial, plt.rc_context({"svg.hashsalt": name}):
        whole.savefig(partial, format="svg", metadata={"Date": None, "Creator": None})
    reporting.save(whole, folder / f"{name}.png")
