"""The parts that all charts share: colours, and parameters by which the reader hides a variant."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vl_convert

from stages.common import files
from stages.common.results.metrics import Metric
from stages.experiments.comparing.variants import Variant
from stages.experiments.pages.page import VEGA_LITE

Spec = dict[str, Any]

PARAMETERS: list[Spec] = [{"name": "hidden", "value": []}, {"name": "ink", "value": "#1c2430"}]
"""Parameters that the page sets in each chart: the hidden variants, and the colour of marks that belong to no variant."""


@dataclass(frozen=True)
class Chart:
    """A Vega-Lite specification, and its texts."""

    name: str
    title: str
    caption: str
    spec: Spec
    note: str = ""
    """A sentence about variants without data for this chart."""


def number(field: str, **more: Any) -> Spec:
    """Return the encoding of a field with numbers."""
    return {"field": field, "type": "quantitative", **more}


def text(field: str, **more: Any) -> Spec:
    """Return the encoding of a field with names."""
    return {"field": field, "type": "nominal", **more}


def point(size: int, **more: Any) -> Spec:
    return {"type": "point", "filled": True, "size": size, **more}


INK: Spec = {"expr": "ink"}


def whole(rows: Iterable[dict[str, Any]], body: Spec) -> Spec:
    """Return the specification of a chart of ``rows``, with `PARAMETERS`."""
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": list(rows)},
        "params": [*PARAMETERS, *body.pop("params", [])],
        "transform": [{"filter": "indexof(hidden, datum.variant) < 0"}, *body.pop("transform", [])],
        **body,
    }


def colour(variants: list[Variant], legend: bool = False) -> Spec:
    """Return the encoding of a variant's colour, the same in each chart of the same ``variants``."""
    labels = [variant.label for variant in variants]
    scheme = "tableau10" if len(labels) <= 10 else "tableau20"
    shown = {"title": None, "orient": "bottom", "columns": 4, "labelLimit": 260} if legend else None
    return text("variant", scale={"domain": labels, "scheme": scheme}, legend=shown)


def axis_format(metric: Metric) -> str:
    """Return how an axis writes a metric: as the table, but without zeros at the end."""
    return metric.format.replace("%", "~%").replace("f", "~f")


def without(field: str, variants: list[Variant]) -> str:
    """Return a sentence that names the variants without data for a chart; empty if all have them."""
    lacking = [variant.label for variant in variants if not any(getattr(run, field) for run in variant.runs)]
    return f"Missing, because their data for this chart were not kept: {', '.join(lacking)}." if lacking else ""


def _titled(chart: Chart) -> Spec:
    part = {key: value for key, value in chart.spec.items() if key not in ("$schema", "params")}
    return part | {"title": {"text": chart.title, "subtitle": chart.caption}}


def save(charts: list[Chart], path: Path) -> None:
    """Write the charts below each other as one PNG. The same charts give the same bytes."""
    spec = {
        "$schema": charts[0].spec["$schema"],
        "background": "white",
        "padding": 16,
        "params": PARAMETERS,
        "vconcat": [_titled(chart) for chart in charts],
        "resolve": {"scale": {"color": "independent"}},
        "config": {"font": "Liberation Sans", "title": {"anchor": "start"}},
    }
    with files.new_file(path) as partial:
        partial.write_bytes(vl_convert.vegalite_to_png(spec, vl_version=VEGA_LITE, scale=1))
