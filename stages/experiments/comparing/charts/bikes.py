"""Charts of the bikes variants: their scores, and the models of each."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import FigureBase

from stages.experiments.comparing.charts.chart import Chart, Groups, without
from stages.experiments.comparing.variants import Variant

MODELS = 8  # drawn per leaderboard


def story(groups: Groups) -> Chart | None:
    """Draw the validation score and Kaggle's score of each bikes variant, with the published ones."""
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

    caption = (
        "Kaggle's score is the RMSLE on the test hours, or on the validation days if the test answers are unknown."
    )
    return Chart("story", caption, 3.6 * len(groups), paint) if groups else None


def _story_lines(variants: list[Variant]) -> Iterator[tuple[str, str, str, list[float]]]:
    """Yield (unit, style, label, values) of each line with at least one value; missing values are NaN."""

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
    """Draw the validation scores of each bikes variant's models, for its first seed."""
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

    caption = f"The best {MODELS} models of each variant. The ensemble counts as a model."
    return Chart("leaderboards", caption, 2.8 * rows, paint, without("leaderboard", groups))
