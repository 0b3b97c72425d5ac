"""The networks that a project trains: the chosen one, or the members of an ensemble.

This module does not import torch, so that `check` stays fast.
"""

import math
from collections.abc import Sequence
from typing import TypeVar, get_args

from stages.common import config
from stages.common.errors import InputError
from stages.common.training_settings import TrainingSettings

Settings = TypeVar("Settings", bound=TrainingSettings)
"""A project's `Train`, whose `network` may be `ensemble`."""
Checkpoint = TypeVar("Checkpoint")


def members(project: str, settings: Settings) -> list[Settings]:
    """Return the settings of each network to train: the chosen one, or each member of the ensemble with its changes.

    Raises InputError for an invalid member, and for one that repeats another.
    """
    base = settings.model_dump()
    if base["network"] != "ensemble":
        return [settings]
    key = f"{project}.ensemble.members"
    networks = [name for name in get_args(type(settings).model_fields["network"].annotation) if name != "ensemble"]
    changes, base["ensemble"] = base["ensemble"]["members"], {"members": []}
    if not changes:
        raise InputError(
            f"params.yaml: {key} = [] is not allowed: expected at least one, such as {{network: {networks[0]}}}"
        )
    found: list[Settings] = []
    for index, change in enumerate(changes):
        own = f"{key}[{index}]"
        member = config.check(own, type(settings), config.merged(base, change))
        if (network := member.model_dump()["network"]) == "ensemble":
            expected = " or ".join(map(repr, networks))
            raise InputError(f"params.yaml: {own}.network = {network!r} is not allowed: each member needs {expected}")
        if member in found:
            raise InputError(
                f"params.yaml: {own} is not allowed: it is the same network as members[{found.index(member)}], "
                "expected another seed or other changes"
            )
        found.append(member)
    return found


def batch_size(project: str, settings: TrainingSettings) -> int:
    """Return the largest number of images that divides the batches of each network: who can share it can share them all."""
    return math.gcd(*(member.batch_size for member in members(project, settings)))


def trainings(project: str, settings: Settings, kept: Sequence[Checkpoint]) -> list[tuple[Settings, Checkpoint, str]]:
    """Return each network's settings, its checkpoint of ``kept``, and a title for its progress, such as `mnist cnn 1/2`."""
    chosen = members(project, settings)
    titles = [f"{project} {member.model_dump()['network']}" for member in chosen]
    if len(chosen) > 1:
        titles = [f"{title} {number}/{len(chosen)}" for number, title in enumerate(titles, 1)]
    return list(zip(chosen, kept, titles, strict=True))
