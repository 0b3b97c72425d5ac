"""Charts of classifiers: learning curves and confusion matrices."""

from typing import Any

import numpy as np

from stages.experiments.comparing.charts.chart import Chart, Spec, colour, number, point, text, whole, without
from stages.experiments.comparing.variants import Variant

MATRICES = 12
LABELS = 20
"""Above this number of classes a matrix has neither names nor counts."""


def curves(variants: list[Variant]) -> Chart | None:
    """Draw loss and accuracy over the epochs, all variants on the same axes."""
    rows: list[dict[str, Any]] = []
    for variant in variants:
        for place, run in enumerate(run for run in variant.runs if run.history):
            history = run.history or {}
            rows += [
                {
                    "variant": variant.label,
                    "seed": run.seed,
                    "later": place > 0,
                    "part": part,
                    "epoch": epoch,
                    "loss": history[f"{short}_loss"][index],
                    "accuracy": history[f"{short}_accuracy"][index],
                }
                for short, part in (("valid", "validation"), ("train", "training"))
                for index, epoch in enumerate(history["epoch"])
            ]
    if not rows:
        return None
    panels = [
        _curve(variants, "loss", {"type": "log"}, {"title": "cross-entropy [nats]"}, ".4f"),
        _curve(variants, "accuracy", {"zero": False}, {"title": "accuracy", "format": "~%"}, ".2%"),
    ]
    caption = "Solid: validation part, after each epoch. Dashed: training part, during the epoch. Later seeds are pale."
    return Chart("curves", "Learning curves", caption, whole(rows, {"hconcat": panels}), without("history", variants))


def _curve(variants: list[Variant], what: str, scale: Spec, axis: Spec, form: str) -> Spec:
    """Return a panel of curves. The point next to the pointer shows its values."""
    tooltip = [text("variant"), text("seed"), text("part"), number("epoch"), number(what, format=form)]
    dashes = {"domain": ["validation", "training"], "range": [[1, 0], [4, 3]]}
    pointer = {"type": "point", "on": "pointermove", "nearest": True, "clear": "pointerout"}
    return {
        "width": 460,
        "height": 280,
        "encoding": {
            "x": number("epoch", axis={"tickMinStep": 1, "format": "d", "grid": False}),
            "y": number(what, scale=scale, axis=axis),
            "color": colour(variants, legend=True),
            "detail": {"field": "seed"},
        },
        "layer": [
            {
                "mark": {"type": "line"},
                "encoding": {
                    "strokeDash": text("part", scale=dashes, legend=None),
                    "opacity": {"condition": {"test": "datum.later", "value": 0.35}, "value": 1},
                },
            },
            {
                "params": [{"name": f"near_{what}", "select": pointer}],
                "mark": point(70),
                "encoding": {
                    "tooltip": tooltip,
                    "opacity": {"condition": {"param": f"near_{what}", "empty": False, "value": 1}, "value": 0},
                },
            },
        ],
    }


def confusions(variants: list[Variant]) -> Chart | None:
    """Draw the confusion matrix of each variant, summed over all seeds."""
    kept = [(variant, [run.confusion for run in variant.runs if run.confusion]) for variant in variants]
    shown = [(one, found[0].labels, np.sum([each.counts for each in found], axis=0)) for one, found in kept if found]
    if not shown:
        return None
    rows, titles = [], []
    for variant, labels, counts in shown[:MATRICES]:
        titles.append(f"{variant.label}: {np.trace(counts):,} of {counts.sum():,} correct")
        shares = counts / counts.sum(1, keepdims=True).clip(1)
        rows += [
            {
                "variant": variant.label,
                "title": titles[-1],
                "actual": labels[row],
                "predicted": labels[column],
                "count": int(count),
                "share": round(float(shares[row, column]), 4),
            }
            for (row, column), count in np.ndenumerate(counts)
        ]
    labels = shown[0][1]
    few = len(labels) <= LABELS
    size = {"step": 24 if len(labels) > 4 else 60} if few else 280
    axis = {"sort": labels, "axis": {"labelLimit": 110} if few else {"labels": False, "ticks": False}}
    share = number("share", scale={"scheme": "blues", "domain": [0, 1]}, legend=None)
    tooltip = [*map(text, ("variant", "actual", "predicted", "count"))]
    tooltip.append(number("share", format=".1%", title="of this class"))
    layers: list[Spec] = [{"mark": "rect", "encoding": {"color": share, "tooltip": tooltip}}]
    if few:
        colours = {"condition": {"test": "datum.share > 0.5", "value": "white"}, "value": "black"}
        layers.append(
            {
                "transform": [{"filter": "datum.count > 0"}],
                "mark": {"type": "text", "fontSize": 9},
                "encoding": {"text": number("count"), "color": colours},
            }
        )
    spec = {
        "facet": text("title", title=None, sort=titles),
        "columns": 3,
        "spec": {
            "width": size,
            "height": size,
            "encoding": {"x": text("predicted", **axis), "y": text("actual", **axis)},
            "layer": layers,
        },
    }
    left = [variant.label for variant, *_ in shown[MATRICES:]]
    caption = "Rows: actual class. Columns: predicted class. Colour: fraction of the row. Counts are over all seeds."
    caption += f" Only {MATRICES} are drawn; left out: {', '.join(left)}." if left else ""
    return Chart("confusion", "Confusion", caption, whole(rows, spec), without("confusion", variants))
