"""Find experiments that are finished and match the working tree's code and parameters."""

from dvc.repo import Repo

from stages.common import config
from stages.experiments.records import recipes
from stages.experiments.records.git import find
from stages.experiments.records.recipes import Experiment
from stages.experiments.records.revisions import Revision


def known(repo: Repo) -> dict[str, str]:
    """Return the revisions of the finished experiments that start from HEAD, by name."""
    return dict(next(iter(repo.experiments.ls().values()), []))


def is_done(repo: Repo, experiment: Experiment) -> bool:
    """Return whether the ``experiment`` is finished and matches the working tree's code and parameters."""
    recipes.applied(config.read(), experiment.settings)  # raises InputError for unknown parameters
    revision = known(repo).get(experiment.name)
    return revision is not None and is_of(Revision(revision), experiment)


def is_of(revision: Revision, experiment: Experiment) -> bool:
    """Return whether ``revision`` has the ``experiment``'s parameters and the working tree's code, wherever it ran."""
    if find("diff", "--quiet", revision.name, "--", "stages", "dvc.yaml") is None:
        return False
    expected, found = recipes.applied(config.read(), experiment.settings), revision.parameters()
    for parameters in (expected, found):
        parameters["engine"] = {**parameters.get("engine", {}), "address": None}
    return expected == found
