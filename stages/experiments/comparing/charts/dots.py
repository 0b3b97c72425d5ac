"""Charts with a row for each variant: metrics, costs, and the models of a leaderboard."""

from collections.abc import Callable, Iterator
from typing import Any

from stages.common.results.metrics import Metric
from stages.experiments.comparing.charts.chart import Chart, Spec, colour, whole, without
from stages.experiments.comparing.variants import Spread, Variant

MODELS = 8  # drawn per leaderboard

SAME_ROWS: Spec = {"scale": {"y": "shared"}}
"""All panels have the same rows, even if a variant has no value there, because only the first panel names the rows."""


def scores(variants: list[Variant], metrics: dict[str, Metric]) -> Chart | None:
    """Draw each metric that has a better direction: every seed, the mean, and the value published elsewhere."""
    shown = {
        name: metric
        for name, metric in metrics.items()
        if metric.better and any(variant.spread(name) for variant in variants)
    }
    if not shown:
        return None
    rows = [row for name, metric in shown.items() for row in _scores(variants, name, metric)]
    panels = []
    for number, (name, metric) in enumerate(shown.items()):
        axis = {"title": f"{metric.title} ({metric.better} is better)", "format": _format(metric), "labelOverlap": True}
        panels.append(_panel(variants, rows, number, name, {"scale": {"zero": False, "nice": True}, "axis": axis}))
    caption = (
        "Small dots: one seed each. Large dots: mean. Diamonds: published elsewhere; hollow ones are not comparable."
    )
    return Chart("scores", "Metrics", caption, whole(rows, {"concat": panels, "columns": 3, "resolve": SAME_ROWS}))


def _format(metric: Metric) -> str:
    """Return how an axis writes a metric: as the table, but without zeros at the end."""
    return metric.format.replace("%", "~%").replace("f", "~f")


def _scores(variants: list[Variant], name: str, metric: Metric) -> Iterator[dict[str, Any]]:
    for variant in variants:
        common = {"variant": variant.label, "panel": name}
        if found := variant.spread(name):
            yield common | _mean(found, metric.write)
            if found.number > 1:
                for run in variant.runs:
                    value = run.metrics[name]
                    yield common | {"kind": "seed", "value": value, "text": f"{metric.write(value)}, seed {run.seed}"}
        if name in variant.elsewhere and not variant.on_sample:
            value = variant.elsewhere[name]
            why = f", not comparable: {metric.elsewhere}" if metric.elsewhere else ""
            kind = "not comparable" if metric.elsewhere else "elsewhere"
            yield common | {"kind": kind, "value": value, "text": f"{metric.write(value)}, published elsewhere{why}"}


def _mean(found: Spread, write: Callable[[float], str]) -> dict[str, Any]:
    seeds = f", mean of {found.number} seeds" if found.number > 1 else ""
    ends = {"lowest": found.lowest, "highest": found.highest}
    return {"kind": "mean", "value": found.mean, "text": f"{write(found.mean)}{seeds}", **ends}


def _panel(variants: list[Variant], rows: list[dict[str, Any]], number: int, name: str, along: Spec) -> Spec:
    """Return a panel with the rows whose `panel` is ``name``. Only each third one names the variants."""
    marks = {
        "mean": {"type": "point", "filled": True, "size": 110},
        "seed": {"type": "point", "filled": True, "size": 25},
        "elsewhere": {"type": "point", "shape": "diamond", "filled": True, "size": 80, "color": {"expr": "ink"}},
        "not comparable": {"type": "point", "shape": "diamond", "filled": False, "size": 80, "color": {"expr": "ink"}},
    }
    labels = {"labelLimit": 240} if number % 3 == 0 else {"labels": False, "ticks": False}
    layers: list[Spec] = [
        {
            "transform": [{"filter": "datum.kind == 'mean'"}],
            "mark": {"type": "rule", "opacity": 0.6},
            "encoding": {"x": {"field": "lowest", "type": "quantitative"}, "x2": {"field": "highest"}},
        }
    ]
    kinds = {row["kind"] for row in rows if row["panel"] == name}
    for kind, mark in [(kind, mark) for kind, mark in marks.items() if kind in kinds]:
        encoding = {"color": colour(variants)} if "color" not in mark else {}
        tooltip = [{"field": "variant", "type": "nominal"}, {"field": "text", "type": "nominal", "title": "value"}]
        layers.append(
            {
                "transform": [{"filter": f"datum.kind == '{kind}'"}],
                "mark": mark,
                "encoding": encoding | {"tooltip": tooltip},
            }
        )
    layers[0]["encoding"]["color"] = colour(variants)
    return {
        "width": 270,
        "height": {"step": 22},
        "transform": [{"filter": f"datum.panel == '{name}'"}],
        "encoding": {
            "x": {"field": "value", "type": "quantitative", **along},
            "y": {
                "field": "variant",
                "type": "nominal",
                "sort": [variant.label for variant in variants],
                "axis": {"title": None, "grid": True, **labels},
            },
        },
        "layer": layers,
    }


def costs(variants: list[Variant]) -> Chart | None:
    """Draw what each variant costs: training time, parameters and, if measured, memory."""
    measures: dict[str, Callable[[Variant], Spread | None]] = {
        "training [s]": Variant.seconds,
        "parameters": lambda variant: variant.spread("parameters"),
        "memory [GB]": Variant.memory,
    }
    shown = {title: read for title, read in measures.items() if any(read(variant) for variant in variants)}
    if not shown:
        return None
    rows = [
        {"variant": variant.label, "panel": title, **_mean(found, lambda value: f"{value:,.6g}")}
        for title, read in shown.items()
        for variant in variants
        if (found := read(variant)) and found.lowest > 0
    ]
    panels = [
        _panel(
            variants,
            rows,
            number,
            title,
            {"scale": {"type": "log"}, "axis": {"title": title, "format": "~s", "tickCount": 4}},
        )
        for number, title in enumerate(shown)
    ]
    caption = "Training times are from the machine each variant ran on. Runs at the same time slow each other down."
    return Chart("costs", "Costs", caption, whole(rows, {"concat": panels, "columns": 3, "resolve": SAME_ROWS}))


def leaderboards(variants: list[Variant]) -> Chart | None:
    """Draw the validation scores of each variant's models, for its first seed."""
    rows = []
    for variant in variants:
        board = variant.runs[0].leaderboard or []
        best = sorted(board, key=lambda row: float(row["rmsle_valid"]))[:MODELS]
        rows += [{"variant": variant.label, "model": row["model"], "rmsle": row["rmsle_valid"]} for row in best]
    if not rows:
        return None
    model = {"field": "model", "type": "nominal", "sort": "x", "axis": {"title": None, "labelLimit": 220}}
    length = {
        "field": "rmsle",
        "type": "quantitative",
        "axis": {"title": "RMSLE on the validation days, lower is better"},
    }
    text = {"field": "rmsle", "type": "quantitative", "format": ".4f"}
    spec = {
        "facet": {
            "field": "variant",
            "type": "nominal",
            "title": None,
            "sort": [variant.label for variant in variants],
        },
        "columns": 2,
        "resolve": {"scale": {"y": "independent"}},
        "spec": {
            "width": 300,
            "height": {"step": 20},
            "encoding": {"y": model, "x": length},
            "layer": [
                {"mark": "bar", "encoding": {"color": colour(variants), "tooltip": [{"field": "model"}, text]}},
                {
                    "mark": {"type": "text", "align": "left", "dx": 3, "color": {"expr": "ink"}},
                    "encoding": {"text": text},
                },
            ],
        },
    }
    caption = f"The best {MODELS} models of each variant. The ensemble counts as a model."
    return Chart("leaderboards", "Models", caption, whole(rows, spec), without("leaderboard", variants))
