"""Variants as rows of tables, one table for each data set. A cell has a text and, for sorting, its value."""

import json
from pathlib import Path
from typing import Any

from stages import projects
from stages.common.results.metrics import Metric
from stages.experiments.comparing.variants import Spread, Variant

ABSENT = {"text": "-", "value": None}
"""A cell without a value."""


def table(data: str, group: list[Variant], shown: dict[str, Metric]) -> dict[str, Any]:
    """Return the table of one data set."""
    figures = {name: metric for name, metric in shown.items() if any(one.spread(name) for one in group)}
    best = {name: _best(name, metric, group) for name, metric in figures.items()}
    rows = [row(variant, shown, figures, best) for variant in group]
    return {
        "data": data,
        "sample": data == "sample",
        "figures": figures,
        "rows": rows,
        "has_elsewhere": any(line["elsewhere"] for line in rows),
        "has_expected": any(line["expected"] for line in rows),
        "has_parameters": any(line["parameters"] != ABSENT for line in rows),
    }


def _best(name: str, metric: Metric, group: list[Variant]) -> float | None:
    """Return the best mean on one data set; None if fewer than two variants have the metric."""
    means = [found.mean for variant in group if (found := variant.spread(name))]
    return (max if metric.better == "higher" else min)(means) if len(means) > 1 else None


def row(
    variant: Variant, shown: dict[str, Metric], figures: dict[str, Metric], best: dict[str, float | None]
) -> dict[str, Any]:
    """Return one variant as a row of the page's table."""
    cells = []
    for name, metric in figures.items():
        found = variant.spread(name)
        cell = {"text": metric.write(found.mean), "value": found.mean} if found else ABSENT
        is_best = found is not None and found.mean == best[name]
        cells.append(cell | {"best": is_best, "spread": between(metric, found)})
    seconds, parameters = variant.seconds(), variant.spread("parameters")
    return {
        "label": variant.label,
        "names": [name for name in variant.names if name != variant.label],
        "origin": variant.origin,
        "description": variant.recipe.description if variant.recipe else "",
        "settings": [f"{name}={_value(value)}" for name, value in sorted(variant.settings.items())],
        "other_code": variant.other_code,
        "figures": cells,
        "elsewhere": [elsewhere(variant, *one, shown) for one in variant.elsewhere.items() if one[0] in shown],
        "expected": expectations(variant, shown),
        "seconds": {"text": f"{seconds.mean:,.1f}", "value": seconds.mean} if seconds else ABSENT,
        "parameters": {"text": f"{parameters.mean:,.0f}", "value": parameters.mean} if parameters else ABSENT,
        "seeds": ", ".join(str(run.seed) for run in variant.runs),
    }


def between(metric: Metric, found: Spread | None) -> list[str]:
    """Describe the range from the lowest to the highest seed; for three or more seeds, also the standard deviation."""
    if found is None or found.number == 1:
        return []
    deviation = [f"sd {metric.write(found.deviation)}"] if found.deviation is not None else []
    return [f"{metric.write(found.lowest)} to {metric.write(found.highest)}", *deviation]


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def elsewhere(variant: Variant, name: str, value: float, known: dict[str, Metric]) -> dict[str, Any]:
    """Describe a metric published elsewhere, and how ours differs if both are on the same data."""
    metric = known[name]
    found = variant.spread(name)
    gain = 0.0
    if variant.on_sample:
        difference = "not comparable: other data"
    elif metric.elsewhere:
        difference = f"not comparable: {metric.elsewhere}"
    elif found is None:
        difference = "not measured"
    else:
        gain = metric.gain(value, found.mean)
        difference = format(found.mean - value, f"+{metric.format}").replace("%", " points")
    return {
        "text": f"{metric.title} {metric.write(value)}",
        "difference": difference,
        "judged": "better" if gain > 0 else "worse" if gain < 0 else "",
    }


def expectations(variant: Variant, known: dict[str, Metric]) -> list[dict[str, Any]]:
    """List the recipe's bounds, which apply to the real data, and whether the mean reaches each."""
    if variant.recipe is None or variant.on_sample:
        return []
    found = []
    for name, bound in variant.recipe.expected.items():
        if name not in known or (reached := variant.spread(name)) is None:
            continue
        metric = known[name]
        text = f"{metric.title} {'≥' if metric.better == 'higher' else '≤'} {metric.write(bound)}"
        found.append({"text": text, "reached": metric.gain(bound, reached.mean) >= 0})
    return found


MISSING = {
    "baseline": ("in DVC's cache", "dvc pull, or dvc repro at that commit"),
    "workspace": ("in the working tree", "dvc repro"),
    "experiment": ("in DVC's cache", "dvc pull, or the same dvc exp run again"),
}
"""Where a file of each origin is missing, and the command that brings it back."""


def missing(project: str, variant: Variant) -> list[str]:
    """List the missing files of a variant that charts need, with the commands that bring them back."""
    lines = []
    for field, path in projects.about(project).tables.items():
        without = [str(run.seed) for run in variant.runs if getattr(run, field) is None]
        if not without:
            continue
        if variant.origin == "published":
            recipe, name = variant.label.split(" ")[0], Path(path).name
            remedy = f"python -m stages.experiments.publish {recipe}"
            lines.append(f"{recipe}: published without {name}; to add it: {remedy}")
        else:
            where, remedy = MISSING[variant.origin]
            lines.append(f"{variant.label}, seed {', '.join(without)}: {path} is not {where}; to get it, run {remedy}")
    return lines
