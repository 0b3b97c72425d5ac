"""The members of an ensemble: what each changes in the project's own settings."""

from stages.common import config
from stages.common.errors import InputError
from stages.landmarks.config import Train


def members(settings: Train) -> list[Train]:
    """The networks to be trained: the one that is named, or each member of the ensemble with its changes.

    Raises InputError for a member that can't be.
    """
    if settings.network != "ensemble":
        return [settings]
    if not settings.ensemble.members:
        raise InputError(
            "params.yaml: landmarks.ensemble.members = [] is not allowed: expected at least one, such as {network: residual}"
        )
    base = settings.model_dump() | {"ensemble": {"members": []}}
    found = []
    for index, change in enumerate(settings.ensemble.members):
        key = f"landmarks.ensemble.members[{index}]"
        found.append(config.check(key, Train, config.merged(base, change)))
        if found[-1].network == "ensemble":
            raise InputError(
                f"params.yaml: {key}.network = 'ensemble' is not allowed: expected 'residual', 'scratch' or 'transfer'"
            )
    return found
