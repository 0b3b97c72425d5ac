"""The results of one training, as comparisons read them: from a revision or from reports/published/."""

from typing import Any

from pydantic import Field

from stages import projects
from stages.common import config
from stages.experiments.records.folder import Folder


class Confusion(config.Section):
    """A confusion matrix: how often each actual class (row) was predicted as each class (column)."""

    labels: list[str]
    counts: list[list[int]]


class Run(config.Section):
    """One training: its metrics and the data of its charts.

    A field is None if the project has no such data, or they were not kept.
    """

    seed: int
    metrics: dict[str, Any] = Field(description="`metrics.json` and `details.json` as one mapping")
    training: dict[str, Any] = Field(description="clock readings: seconds, threads, precision")
    latency: dict[str, Any] = Field(default={}, description="clock readings of the deployed model")
    memory_gb: float | None = Field(default=None, description="peak memory of all its processes together")
    history: dict[str, list[int | float]] | None = Field(default=None, description="epochs.csv by column")
    confusion: Confusion | None = None
    leaderboard: list[dict[str, str | float]] | None = Field(
        default=None,
        description="bikes' models, best first, with `fit_seconds` and `predict_seconds` where they were measured",
    )


def of(folder: Folder, project: str, seed: int) -> Run | None:
    """Return the results of a project's training in ``folder``, or a revision; None if it has no metrics."""
    metrics = folder.metrics(project)
    if not metrics:
        return None
    tables = {field: folder.table(path) for field, path in projects.about(project).tables.items()}
    return Run(
        seed=seed,
        metrics=metrics,
        training=folder.training(project),
        latency=folder.latency(project),
        history=_history(tables.get("history")),
        confusion=_confusion(tables.get("confusion")),
        leaderboard=leaderboard(folder, project),
    )


def leaderboard(folder: Folder, project: str) -> list[dict[str, str | float]] | None:
    """Return the rows of a project's leaderboard, with the seconds that each model took; None if it has none.

    `fit_seconds` and `predict_seconds` (the validation rows) include the models that a model combines. They are sums over
    the kinds of riders, and clock readings: they are missing if another machine trained.
    """
    path = projects.about(project).tables.get("leaderboard")
    table = folder.table(path) if path else None
    if not table:
        return None
    clocks = folder.training(project).get("models", {}).values()
    rows: list[dict[str, str | float]] = []
    for row in table:
        took = [models[row["model"]] for models in clocks if row["model"] in models]
        seconds = {f"{what}_seconds": round(sum(one[what] for one in took), 3) for what in ("fit", "predict") if took}
        rows.append(
            {name: value if name == "model" else float(value) for name, value in row.items() if value} | seconds
        )
    return rows


Table = list[dict[str, str]] | None


def _history(table: Table) -> dict[str, list[int | float]] | None:
    if not table:
        return None
    return {
        name: [int(row[name]) if name == "epoch" else round(float(row[name]), 6) for row in table] for name in table[0]
    }


def _confusion(table: Table) -> Confusion | None:
    if not table:
        return None
    labels = [row["actual"] for row in table]
    return Confusion(labels=labels, counts=[[int(row[label]) for label in labels] for row in table])
