"""Charts that compare variants.

Each function takes the variants by data and returns None if there is nothing to draw. An axis never mixes data sets.
"""

from stages import projects
from stages.common.results.metrics import Metric
from stages.experiments.comparing.charts import bikes, classes, dots
from stages.experiments.comparing.charts.chart import Chart, Groups


def of(project: str, groups: Groups, metrics: dict[str, Metric]) -> list[Chart]:
    """Return a project's charts, without empty ones."""
    tables = projects.about(project).tables
    own = [bikes.story(groups)] if "leaderboard" in tables else []
    own += [bikes.leaderboards(groups), classes.curves(groups), classes.confusions(groups)]
    charts = [dots.scores(groups, metrics), *own, dots.costs(groups)]
    return [chart for chart in charts if chart]
