"""Results of recipes on real data, one file each in reports/published/, written by `stages.experiments.publish`."""

import json
from pathlib import Path
from typing import Any

from pydantic import Field

from stages.common import config, files
from stages.common.errors import InputError
from stages.experiments.records.runs import Run

PUBLISHED = Path("reports/published")


class Published(config.Section):
    """A recipe's runs, one per seed, with their circumstances."""

    recipe: str
    description: str
    settings: dict[str, Any]
    changes: dict[str, Any] = Field(
        default={}, description="settings of the machine it ran on: paths of data and weights"
    )
    published: dict[str, float] = Field(description="metrics published elsewhere, to compare with")
    command: str
    date: str
    hardware: str
    commit: str
    runs: list[Run] = Field(min_length=1)


def read(recipe: str, folder: Path = PUBLISHED) -> Published | None:
    """Return a recipe's published results; None if it has none. Raises InputError if the file is invalid."""
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
        f"{problem}: restore it with `git checkout {path}`, or measure again with `python -m stages.experiments.publish {recipe}`"
    )


def require_same(former: Published, **now: Any) -> None:
    """Raise InputError unless ``former`` has these settings, changes, commit and hardware: only then other seeds may join it."""
    if other := [name for name, value in now.items() if getattr(former, name) != value]:
        path, seeds = PUBLISHED / f"{former.recipe}.json", ", ".join(str(run.seed) for run in former.runs)
        raise InputError(
            f"--seeds: {path} has seeds {seeds}, measured with other {' and '.join(other)}, and seeds can be added only if these "
            "are equal: run all of them, without --seeds, or delete the file first"
        )


def added(former: Published | None, result: Published) -> Published:
    """Return ``result`` with the ``former`` runs of other seeds. Raises the InputError of `require_same`."""
    if former:
        require_same(former, **{name: getattr(result, name) for name in ("settings", "changes", "commit", "hardware")})
    runs = {run.seed: run for run in [*(former.runs if former else []), *result.runs]}
    return result.model_copy(update={"runs": [runs[seed] for seed in sorted(runs)]})


def join(result: Published, folder: Path = PUBLISHED) -> None:
    """Add ``result`` to the file with the recipe's other seeds. Raises the InputError of `require_same`.

    Then ``result`` is kept in a file of its own: it may have taken hours.
    """
    try:
        write(added(read(result.recipe, folder), result), folder)
    except InputError as error:
        own = folder / f"{result.recipe}-seeds-{'-'.join(str(run.seed) for run in result.runs)}.json"
        files.write_json(own, result.model_dump(exclude_defaults=True))
        raise InputError(f"{error}. {own} has the new results") from None


def write(result: Published, folder: Path = PUBLISHED) -> None:
    files.write_json(folder / f"{result.recipe}.json", result.model_dump(exclude_defaults=True))
