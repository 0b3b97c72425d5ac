"""Determine the networks to train: the named one, or the members of an ensemble."""

from stages.common import config
from stages.common.errors import InputError
from stages.landmarks.config import Train


def members(settings: Train) -> list[Train]:
    """Return the settings of each network to train: the named one, or each member of the ensemble with its changes.

    Raises InputError for an invalid member.
    """
    if settings.network != "ensemble":
        return [settings]
    if not settings.ensemble.members:
        expected = "expected at least one, such as {network: residual}"
        raise InputError(f"params.yaml: landmarks.ensemble.members = [] is not allowed: {expected}")
    base = settings.model_dump() | {"ensemble": {"members": []}}
    found = []
    for index, change in enumerate(settings.ensemble.members):
        key = f"landmarks.ensemble.members[{index}]"
        found.append(config.check(key, Train, config.merged(base, change)))
        if found[-1].network == "ensemble":
            expected = "expected 'residual', 'scratch', 'transfer' or 'attention'"
            raise InputError(f"params.yaml: {key}.network = 'ensemble' is not allowed: {expected}")
    return found
