"""Pictures of variants side by side.

Each chart takes the variants by their data, and is None where there is nothing to draw. Data are never mixed in one axis.
"""

from stages.common.results.metrics import Metric
from stages.experiments.comparing.charts import bikes, classes, dots
from stages.experiments.comparing.charts.chart import Chart, Groups


def of(project: str, groups: Groups, metrics: dict[str, Metric]) -> list[Chart]:
    """The charts of a project that there is something for."""
    own = (
        [bikes.story(groups), bikes.leaderboards(groups)]
        if project == "bikes"
        else [classes.curves(groups), classes.confusions(groups)]
    )
    charts = [dots.scores(groups, metrics), *own, dots.costs(groups)]
    return [chart for chart in charts if chart]
