"""Which experiments are finished, and are of the working tree's code and parameters."""

import subprocess

from dvc.repo import Repo

from stages.common import config
from stages.experiments.records import recipes
from stages.experiments.records.recipes import Experiment
from stages.experiments.records.revisions import Revision


def known(repo: Repo) -> dict[str, str]:
    """The finished experiments that start from HEAD: revision by name."""
    return dict(next(iter(repo.experiments.ls().values()), []))


def is_done(repo: Repo, experiment: Experiment) -> bool:
    """It is known, and of the working tree's code and parameters."""
    recipes.applied(config.read(), experiment.settings)  # refuses what is no parameter
    revision = known(repo).get(experiment.name)
    return revision is not None and is_of(Revision(revision), experiment)


def is_of(revision: Revision, experiment: Experiment) -> bool:
    """``revision`` holds what the ``experiment`` gives with the working tree's code and parameters, wherever it ran."""
    code = ["git", "diff", "--quiet", revision.name, "--", "stages", "dvc.yaml"]
    if subprocess.run(code, check=False).returncode:
        return False
    expected, found = recipes.applied(config.read(), experiment.settings), revision.parameters()
    for parameters in (expected, found):
        parameters["engine"] = {**parameters.get("engine", {}), "address": None}
    return expected == found
