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
    leaderboard: list[dict[str, str | float]] | None = Field(default=None, description="bikes' models, best first")


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
        leaderboard=_leaderboard(tables.get("leaderboard")),
    )


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


def _leaderboard(table: Table) -> list[dict[str, str | float]] | None:
    if not table:
        return None
    return [{name: value if name == "model" else float(value) for name, value in row.items() if value} for row in table]
