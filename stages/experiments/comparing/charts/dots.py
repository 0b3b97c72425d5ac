"""Charts with a row for each variant: metrics, costs, and the models of a leaderboard."""

from collections.abc import Callable, Iterator
from typing import Any

from stages.common.results.metrics import Metric
from stages.experiments.comparing.charts.chart import (
    INK,
    Chart,
    Spec,
    axis_format,
    colour,
    number,
    point,
    text,
    whole,
    without,
)
from stages.experiments.comparing.variants import Spread, Variant

MODELS = 8  # drawn per leaderboard

SHOWN = {
    "rmsle_valid": ("RMSLE", ".4f"),
    "stack_level": ("stack level", "d"),
    "fit_seconds": ("fit [s]", ".3~g"),
    "predict_seconds": ("predict [s]", ".3~g"),
}
"""Columns of a leaderboard in a chart, with their titles and formats."""

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
    panels: list[Spec] = []
    for name, metric in shown.items():
        title, form = f"{metric.title} ({metric.better} is better)", axis_format(metric)
        along = {"scale": {"zero": False, "nice": True}, "axis": {"title": title, "format": form, "labelOverlap": True}}
        panels.append(_panel(variants, rows, len(panels), name, along))
    caption = (
        "Small dots: one seed each. Large dots: mean. Diamonds: published elsewhere; hollow ones are not comparable."
    )
    return Chart("scores", "Metrics", caption, whole(rows, {"concat": panels, "columns": 3, "resolve": SAME_ROWS}))


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


def _panel(variants: list[Variant], rows: list[dict[str, Any]], place: int, name: str, along: Spec) -> Spec:
    """Return a panel with the rows whose `panel` is ``name``. Only each third one names the variants."""
    own = {"color": colour(variants)}
    layers = [
        ("mean", {"type": "rule", "opacity": 0.6}, own | {"x": number("lowest"), "x2": {"field": "highest"}}),
        ("mean", point(110), own),
        ("seed", point(25), own),
        ("elsewhere", point(80, shape="diamond", color=INK), {}),
        ("not comparable", point(80, shape="diamond", color=INK) | {"filled": False}, {}),
    ]
    tooltip = {"tooltip": [text("variant"), text("text", title="value")]}
    kinds = {row["kind"] for row in rows if row["panel"] == name}
    labels = {"labelLimit": 240} if place % 3 == 0 else {"labels": False, "ticks": False}
    axis = {"title": None, "grid": True, **labels}
    return {
        "width": 270,
        "height": {"step": 22},
        "transform": [{"filter": f"datum.panel == '{name}'"}],
        "encoding": {
            "x": number("value", **along),
            "y": text("variant", sort=[variant.label for variant in variants], axis=axis),
        },
        "layer": [
            {
                "transform": [{"filter": f"datum.kind == '{kind}'"}],
                "mark": mark,
                "encoding": encoding if mark["type"] == "rule" else encoding | tooltip,
            }
            for kind, mark, encoding in layers
            if kind in kinds or mark["type"] == "rule"
        ],
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
    axis = {"format": "~s", "tickCount": 4}
    panels = [
        _panel(variants, rows, place, title, {"scale": {"type": "log"}, "axis": {"title": title, **axis}})
        for place, title in enumerate(shown)
    ]
    caption = "Training times are from the machine each variant ran on. Runs at the same time slow each other down."
    return Chart("costs", "Costs", caption, whole(rows, {"concat": panels, "columns": 3, "resolve": SAME_ROWS}))


def leaderboards(variants: list[Variant]) -> Chart | None:
    """Draw the validation scores of each variant's models, for its first seed."""
    rows = []
    for variant in variants:
        board = [row for row in variant.runs[0].leaderboard or [] if "rmsle_valid" in row]
        best = sorted(board, key=lambda row: float(row["rmsle_valid"]))[:MODELS]
        rows += [{"variant": variant.label, **{name: row.get(name) for name in ("model", *SHOWN)}} for row in best]
    if not rows:
        return None
    score, *others = (number(name, title=title, format=form) for name, (title, form) in SHOWN.items())
    spec = {
        "facet": text("variant", title=None, sort=[variant.label for variant in variants]),
        "columns": 2,
        "resolve": {"scale": {"y": "independent"}},
        "spec": {
            "width": 300,
            "height": {"step": 20},
            "encoding": {
                "y": text("model", sort="x", axis={"title": None, "labelLimit": 220}),
                "x": number("rmsle_valid", axis={"title": "RMSLE on the validation days, lower is better"}),
            },
            "layer": [
                {
                    "mark": "bar",
                    "encoding": {"color": colour(variants), "tooltip": [{"field": "model"}, score, *others]},
                },
                {"mark": {"type": "text", "align": "left", "dx": 3, "color": INK}, "encoding": {"text": score}},
            ],
        },
    }
    caption = f"The best {MODELS} models of each variant. The ensemble counts as a model."
    return Chart("leaderboards", "Models", caption, whole(rows, spec), without("leaderboard", variants))
