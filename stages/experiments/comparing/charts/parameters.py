"""Charts of parameters: a metric over each, and for many runs parallel coordinates with the parameters' importance."""

from typing import Any

from stages.common.results.importance import Axis, importance
from stages.common.results.metrics import Metric
from stages.experiments.comparing.charts.chart import INK, Chart, axis_format, colour, number, point, text, whole
from stages.experiments.comparing.variants import Variant

PANELS = 9
RUNS = 6
"""Fewest variants for parallel coordinates: from fewer, the importance means nothing."""


def _axes(variants: list[Variant], base: dict[str, Any]) -> list[Axis]:
    """Return the parameters that differ among ``variants``, those with the most values first."""
    names = sorted({name for variant in variants for name in variant.settings})
    axes = [Axis(name, [variant.settings.get(name, base.get(name)) for variant in variants]) for name in names]
    found = [axis for axis in axes if len(set(axis.texts())) > 1]
    return sorted(found, key=lambda axis: -len(set(axis.texts())))


def _judged(metrics: dict[str, Metric], variants: list[Variant]) -> dict[str, Metric]:
    """Return the metrics that have a better direction and that each variant has."""
    return {
        name: metric
        for name, metric in metrics.items()
        if metric.better and all(variant.spread(name) for variant in variants)
    }


def _mean(variant: Variant, name: str) -> float:
    found = variant.spread(name)
    assert found
    return found.mean


def scatter(variants: list[Variant], metrics: dict[str, Metric], base: dict[str, Any]) -> Chart | None:
    """Draw a metric, which the reader chooses, over each parameter that differs."""
    axes, judged = _axes(variants, base)[:PANELS], _judged(metrics, variants)
    if len(variants) < 3 or not axes or not judged:
        return None
    rows = [
        {"variant": variant.label, **{name: _mean(variant, name) for name in judged}}
        | {f"at{place}": (axis.values if axis.numeric else axis.texts())[index] for place, axis in enumerate(axes)}
        for index, variant in enumerate(variants)
    ]
    panels = []
    for place, axis in enumerate(axes):
        scale = {"scale": {"type": "log"} if axis.logarithmic else {"zero": False}} if axis.numeric else {}
        x = (number if axis.numeric else text)(f"at{place}", title=axis.name)
        tooltip = [{"field": "variant"}, x, number("chosen", format=".5~g")]
        panels.append(
            {
                "width": 270,
                "height": 170,
                "mark": point(70),
                "encoding": {
                    "x": x | scale,
                    "y": number("chosen", title=None, scale={"zero": False}),
                    "color": colour(variants),
                    "tooltip": tooltip,
                },
            }
        )
    choice = {
        "input": "select",
        "options": list(judged),
        "labels": [one.title for one in judged.values()],
        "name": "metric: ",
    }
    spec = {
        "params": [{"name": "metric", "value": next(iter(judged)), "bind": choice}],
        "transform": [{"calculate": "datum[metric]", "as": "chosen"}],
        "concat": panels,
        "columns": 3,
    }
    caption = "The chosen metric over each parameter that differs, one dot per variant (mean over its seeds)."
    return Chart("parameters", "Metric over parameter", caption, whole(rows, spec))


def parallel(variants: list[Variant], metrics: dict[str, Metric], base: dict[str, Any]) -> Chart | None:
    """Draw a line per variant across its parameters, coloured by the first metric, and the parameters' importance."""
    axes, judged = _axes(variants, base)[:PANELS], _judged(metrics, variants)
    if len(variants) < RUNS or len(axes) < 2 or not judged:
        return None
    name, metric = next(iter(judged.items()))
    scores = [_mean(variant, name) for variant in variants]
    goal = Axis(metric.title, scores)
    weights = importance(axes, scores)
    order = [axis.name for axis in axes] + [goal.name]
    rows = [
        {
            "variant": variant.label,
            "axis": axis.name,
            "position": position,
            "text": metric.write(score) if axis is goal else axis.texts()[place],
            "score": score,
        }
        for axis in [*axes, goal]
        for place, (variant, position, score) in enumerate(zip(variants, axis.positions(), scores, strict=True))
    ]
    rows += [
        {"variant": "", "bar": axis.name, "importance": round(weight, 4)}
        for axis, weight in zip(axes, weights, strict=True)
    ]
    shade = number(
        "score",
        title=metric.title,
        scale={"scheme": "viridis", "reverse": metric.better == "lower", "zero": False},
        legend={"format": axis_format(metric)},
    )
    lines = {
        "width": 640,
        "height": 280,
        "transform": [{"filter": "isValid(datum.axis)"}],
        "encoding": {
            "x": text("axis", sort=order, axis={"title": None, "labelAngle": -20, "labelLimit": 200}),
            "y": number("position", axis=None),
        },
        "layer": [
            {
                "mark": {"type": "line", "opacity": 0.75, "strokeWidth": 2},
                "encoding": {"detail": {"field": "variant"}, "color": shade},
            },
            {
                "mark": point(45, color=INK),
                "encoding": {"tooltip": [{"field": "variant"}, {"field": "axis"}, {"field": "text", "title": "value"}]},
            },
            {
                "transform": [{"aggregate": [{"op": "count"}], "groupby": ["axis", "position", "text"]}],
                "mark": {"type": "text", "align": "left", "dx": 6, "fontSize": 10, "color": INK},
                "encoding": {"text": {"field": "text"}},
            },
        ],
    }
    bars = {
        "width": 220,
        "height": {"step": 24},
        "transform": [{"filter": "isValid(datum.bar)"}],
        "mark": "bar",
        "encoding": {
            "y": text("bar", sort="-x", axis={"title": None, "labelLimit": 200}),
            "x": number("importance", axis={"title": "importance", "format": "~%"}),
            "tooltip": [{"field": "bar", "title": "parameter"}, {"field": "importance", "format": ".1%"}],
        },
    }
    caption = (
        f"A line per variant; colour: {metric.title}. Importance: how much a random forest of {metric.title} over the parameters, "
        f"from {len(variants)} variants, splits by each. It shows what mattered among these variants, not why."
    )
    return Chart("parallel", "Parallel coordinates", caption, whole(rows, {"hconcat": [lines, bars]}))
