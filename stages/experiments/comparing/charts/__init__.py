"""Pictures of variants side by side.

Each chart takes the variants by their data, and is None where there is nothing to draw. Data are never mixed in one axis.
"""

from stages import projects
from stages.common.results.metrics import Metric
from stages.experiments.comparing.charts import bikes, classes, dots
from stages.experiments.comparing.charts.chart import Chart, Groups


def of(project: str, groups: Groups, metrics: dict[str, Metric]) -> list[Chart]:
    """The charts of a project that there is something for."""
    tables = projects.about(project).tables
    own = [bikes.story(groups)] if "leaderboard" in tables else []
    own += [bikes.leaderboards(groups), classes.curves(groups), classes.confusions(groups)]
    charts = [dots.scores(groups, metrics), *own, dots.costs(groups)]
    return [chart for chart in charts if chart]
