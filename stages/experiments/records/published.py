"""reports/published/: what recipes reached on real data, a file for each, written by `python -m stages.experiments.publish`."""

import json
from pathlib import Path
from typing import Any

from pydantic import Field

from stages.common import config, files
from stages.common.program import InputError
from stages.experiments.records.runs import Run

PUBLISHED = Path("reports/published")


class Published(config.Section):
    """A recipe's runs, one a seed, with their circumstances."""

    recipe: str
    description: str
    settings: dict[str, Any]
    changes: dict[str, Any] = Field(
        default={}, description="settings of the machine it ran on: where data and weights lie"
    )
    published: dict[str, float] = Field(description="the figures elsewhere that it is compared with")
    command: str
    date: str
    hardware: str
    commit: str
    runs: list[Run] = Field(min_length=1)


def read(recipe: str, folder: Path = PUBLISHED) -> Published | None:
    """A recipe's published results; None if it has none. Raises InputError for a file that doesn't hold them."""
    path = folder / f"{recipe}.json"
    try:
        return config.check("", Published, files.read_json(path), path)
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        problem = f"{path} is damaged ({error})"
    except InputError as error:
        problem = str(error)
    raise InputError(
        f"{problem}: `git checkout {path}` brings it back, `python -m stages.experiments.publish {recipe}` measures it anew"
    )


def write(result: Published, folder: Path = PUBLISHED) -> None:
    files.write_json(folder / f"{result.recipe}.json", result.model_dump(exclude_defaults=True))
