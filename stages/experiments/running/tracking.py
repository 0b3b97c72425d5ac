"""Log finished experiments to an MLflow tracking server, if the environment variable MLFLOW_TRACKING_URI names one.

A run has the experiment's parameters, its metrics, the scores of each epoch, and tags with its DVC revision. Experiments
that are already logged are skipped.
"""

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dvc.repo import Repo

from stages.common import config
from stages.common.errors import InputError
from stages.common.program import requires
from stages.experiments.records import runs
from stages.experiments.records.done import known
from stages.experiments.records.revisions import Revision

if TYPE_CHECKING:
    from mlflow import MlflowClient

VARIABLE = "MLFLOW_TRACKING_URI"
BATCH = {"metrics": 1000, "params": 100}
"""Largest number of each in a request to MLflow."""


def server() -> "MlflowClient | None":
    """Return a client of the server, or None without the variable. Raises InputError if it does not answer."""
    address = os.environ.get(VARIABLE)
    if not address:
        return None
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # by default it tries for minutes
    with requires("mlflow", VARIABLE):
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    try:
        client = MlflowClient(address)
        client.search_experiments(max_results=1)
    except MlflowException as error:
        raise InputError(
            f"{VARIABLE} = {address} does not answer as MLflow does ({_first_line(error)}): correct or unset it"
        ) from None
    return client


def log(client: "MlflowClient", project: str, names: Iterable[str]) -> None:
    """Log those of the experiments called ``names`` that are finished and start from HEAD. Raises InputError."""
    from mlflow.exceptions import MlflowException

    with Repo() as repo:
        finished = known(repo)
    logged = []
    try:
        found = client.get_experiment_by_name(project)
        group = found.experiment_id if found else client.create_experiment(project)
        for name in names:
            if name not in finished or client.search_runs([group], f"tags.`dvc.revision` = '{finished[name]}'"):
                continue
            _log_one(client, group, project, name, finished[name])
            logged.append(name)
    except MlflowException as error:
        raise InputError(
            f"MLflow refused a run ({_first_line(error)}): the experiments are finished, the same command logs them"
        ) from None
    if logged:
        print(f"logged to MLflow: {', '.join(logged)}")


def _log_one(client: "MlflowClient", group: str, project: str, name: str, commit: str) -> None:
    from mlflow.entities import Metric, Param

    revision, now = Revision(commit), int(1000 * time.time())
    parameters = config.flat(revision.parameters())
    wanted = (f"{project}.", f"data.{project}.", "data.source", "engine.kind")
    settings = [Param(key, str(value)) for key, value in parameters.items() if key.startswith(wanted)]
    run = runs.of(revision, project, parameters.get(f"{project}.seed", 0))
    values: dict[str, Any] = run.metrics | run.training if run else {}
    scores = [Metric(key, value, now, 0) for key, value in values.items() if type(value) in (int, float)]
    history = run.history or {} if run else {}
    scores += [
        Metric(key, value, now, int(epoch))
        for key, column in history.items()
        if key != "epoch"
        for epoch, value in zip(history["epoch"], column, strict=True)
    ]
    tags = {"dvc.revision": commit, "data": str(values.get("data")), "mlflow.source.git.commit": commit}
    started = client.create_run(group, run_name=name, tags=tags).info.run_id
    batches: dict[str, Any] = {"params": settings, "metrics": scores}
    for kind, whole in batches.items():
        for first in range(0, len(whole), BATCH[kind]):
            client.log_batch(started, **{kind: whole[first : first + BATCH[kind]]})
    client.set_terminated(started)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300]
