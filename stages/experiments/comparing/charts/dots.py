"""Charts with a row of dots for each variant."""

from collections.abc import Callable

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from stages.common.results import reporting
from stages.common.results.metrics import Metric
from stages.experiments.comparing.charts.chart import Chart, Groups, colours
from stages.experiments.comparing.variants import Spread, Variant


def scores(groups: Groups, metrics: dict[str, Metric]) -> Chart | None:
    """Draw each metric that has a better direction: every seed, the mean, and the value published elsewhere."""
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

    caption = (
        "Small dots: one seed each. Large dots: mean. Diamonds: published elsewhere; hollow ones are not comparable."
    )
    return Chart("scores", caption, _height(groups), paint)


def costs(groups: Groups) -> Chart | None:
    """Draw what each variant costs: training time, parameters and, if measured, memory."""
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
                axis.set_xlabel(title, fontsize="small")
                if read is Variant.memory:
                    axis.set_xlim(left=0)
                else:
                    _logarithmic(axis)
            axes[0].set_title(f"data: {data}", loc="left")

    caption = "Training times are from the machine each variant ran on. Runs at the same time slow each other down."
    return Chart("costs", caption, _height(groups), paint)


def _height(groups: Groups) -> float:
    return 0.4 + sum(1.0 + 0.3 * len(variants) for variants in groups.values())


def _rows(part: FigureBase, groups: Groups, columns: int) -> list[list[Axes]]:
    """Create a row of axes for each group. Its height grows with the number of variants, listed from top to bottom."""
    heights = [1.0 + 0.3 * len(variants) for variants in groups.values()]
    grid = part.subplots(len(groups), columns, squeeze=False, height_ratios=heights, sharey="row")
    for axes, variants in zip(grid, groups.values(), strict=True):
        axes[0].set_yticks(range(len(variants)), [variant.label for variant in variants])
        axes[0].set_ylim(len(variants) - 0.5, -0.5)
    return [list(axes) for axes in grid]


def _dots(axis: Axes, variants: list[Variant], values: list[Spread | None], metric: str | None = None) -> None:
    """Draw each variant's mean, the range of its seeds, and each seed's ``metric``."""
    for place, (variant, found, colour) in enumerate(zip(variants, values, colours(len(variants)), strict=True)):
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


def _logarithmic(axis: Axes) -> None:
    """Make the axis logarithmic, from one power of ten to another: otherwise the scale may have no labels."""
    low, high = axis.dataLim.intervalx
    if not np.isfinite([low, high]).all():
        return
    axis.set_xscale("log")
    reporting.plain(axis.xaxis)
    axis.set_xlim(0.8 * 10 ** np.floor(np.log10(low)), 1.25 * 10 ** np.ceil(np.log10(high)))
    axis.set_xlabel(f"{axis.get_xlabel()}, logarithmic", fontsize="small")
    axis.xaxis.set_minor_formatter(NullFormatter())


def _legend(part: FigureBase, grid: list[list[Axes]]) -> None:
    """Draw one legend for all axes, with one entry per label."""
    entries: dict[str, Artist] = {}
    for axes in grid:
        for axis in axes:
            handles, labels = axis.get_legend_handles_labels()
            entries.update(zip(labels, handles, strict=True))
    if entries:
        part.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=3, fontsize="small")
