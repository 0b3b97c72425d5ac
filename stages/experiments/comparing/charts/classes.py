"""Charts of classifiers: learning curves and confusion matrices."""

from typing import Any

import numpy as np

from stages.experiments.comparing.charts.chart import Chart, Spec, colour, whole, without
from stages.experiments.comparing.variants import Variant

MATRICES = 12
LABELS = 20
"""Above this number of classes a matrix has neither names nor counts."""


def curves(variants: list[Variant]) -> Chart | None:
    """Draw loss and accuracy over the epochs, all variants on the same axes."""
    rows: list[dict[str, Any]] = []
    for variant in variants:
        for number, run in enumerate(run for run in variant.runs if run.history):
            history = run.history or {}
            rows += [
                {
                    "variant": variant.label,
                    "seed": run.seed,
                    "later": number > 0,
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
    tooltip = [
        *({"field": name, "type": "nominal"} for name in ("variant", "seed", "part")),
        {"field": "epoch", "type": "quantitative"},
        {"field": what, "type": "quantitative", "format": form},
    ]
    return {
        "width": 460,
        "height": 280,
        "encoding": {
            "x": {"field": "epoch", "type": "quantitative", "axis": {"tickMinStep": 1, "format": "d", "grid": False}},
            "y": {"field": what, "type": "quantitative", "scale": scale, "axis": axis},
            "color": colour(variants, legend=True),
            "detail": {"field": "seed"},
        },
        "layer": [
            {
                "mark": {"type": "line"},
                "encoding": {
                    "strokeDash": {
                        "field": "part",
                        "type": "nominal",
                        "scale": {"domain": ["validation", "training"], "range": [[1, 0], [4, 3]]},
                        "legend": None,
                    },
                    "opacity": {"condition": {"test": "datum.later", "value": 0.35}, "value": 1},
                },
            },
            {
                "params": [
                    {
                        "name": f"near_{what}",
                        "select": {"type": "point", "on": "pointermove", "nearest": True, "clear": "pointerout"},
                    }
                ],
                "mark": {"type": "point", "filled": True, "size": 70},
                "encoding": {
                    "tooltip": tooltip,
                    "opacity": {"condition": {"param": f"near_{what}", "empty": False, "value": 1}, "value": 0},
                },
            },
        ],
    }


def confusions(variants: list[Variant]) -> Chart | None:
    """Draw the confusion matrix of each variant, summed over all seeds."""
    found = [(variant, _counts(variant)) for variant in variants]
    shown = [(variant, *counts) for variant, counts in found if counts]
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
    step = 24 if len(labels) > 4 else 60
    names = {"labelLimit": 110} if few else {"labels": False, "ticks": False}
    axis = {"type": "nominal", "sort": labels}
    layers: list[Spec] = [
        {
            "mark": "rect",
            "encoding": {
                "color": {
                    "field": "share",
                    "type": "quantitative",
                    "scale": {"scheme": "blues", "domain": [0, 1]},
                    "legend": None,
                },
                "tooltip": [{"field": name, "type": "nominal"} for name in ("variant", "actual", "predicted", "count")]
                + [{"field": "share", "type": "quantitative", "format": ".1%", "title": "of this class"}],
            },
        }
    ]
    if few:
        colours = {"condition": {"test": "datum.share > 0.5", "value": "white"}, "value": "black"}
        layers.append(
            {
                "transform": [{"filter": "datum.count > 0"}],
                "mark": {"type": "text", "fontSize": 9},
                "encoding": {"text": {"field": "count", "type": "quantitative"}, "color": colours},
            }
        )
    spec = {
        "facet": {"field": "title", "type": "nominal", "title": None, "sort": titles},
        "columns": 3,
        "spec": {
            "width": {"step": step} if few else 280,
            "height": {"step": step} if few else 280,
            "encoding": {
                "x": {"field": "predicted", **axis, "axis": names},
                "y": {"field": "actual", **axis, "axis": names},
            },
            "layer": layers,
        },
    }
    left = [variant.label for variant, *_ in shown[MATRICES:]]
    caption = "Rows: actual class. Columns: predicted class. Colour: fraction of the row. Counts are over all seeds."
    caption += f" Only {MATRICES} are drawn; left out: {', '.join(left)}." if left else ""
    return Chart("confusion", "Confusion", caption, whole(rows, spec), without("confusion", variants))


def _counts(variant: Variant) -> tuple[list[str], np.ndarray] | None:
    """Return the class names and the matrix, summed over the seeds; None if no run has one."""
    kept = [run.confusion for run in variant.runs if run.confusion]
    return (kept[0].labels, np.sum([one.counts for one in kept], axis=0)) if kept else None
