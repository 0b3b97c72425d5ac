"""Charts that compare variants on the same data, as Vega-Lite specifications.

Each function takes variants on one data set and returns None if there is nothing to draw. A browser draws them on the
page of `make compare`, vl-convert in the pictures of the documents.
"""

from typing import Any

from stages.common.results.metrics import Metric
from stages.experiments.comparing.charts import classes, dots, parameters
from stages.experiments.comparing.charts.chart import Chart
from stages.experiments.comparing.variants import Variant


def of(variants: list[Variant], metrics: dict[str, Metric], base: dict[str, Any]) -> list[Chart]:
    """Return the charts of ``variants``, without empty ones. ``base`` is params.yaml by dotted names."""
    tried = [variant for variant in variants if variant.origin != "published"]
    charts = [
        dots.scores(variants, metrics),
        parameters.scatter(tried, metrics, base),
        parameters.parallel(tried, metrics, base),
        dots.leaderboards(variants),
        classes.curves(variants),
        classes.confusions(variants),
        dots.costs(variants),
    ]
    return [chart for chart in charts if chart]
