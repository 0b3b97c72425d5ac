"""metrics/<project>.yaml: the meaning and format of each metric, and how far guarded metrics may worsen."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from stages.common import config
from stages.common.errors import InputError

METRICS = Path("metrics")
"""The folder with a file for each project."""


class Metric(config.Section):
    """One metric of a project's `metrics.json` or `details.json`."""

    title: str
    meaning: str
    format: str = Field(default="", description="as in Python's format(value, ...)")
    better: Literal["higher", "lower"] | None = None
    tolerance: float | None = Field(
        default=None, ge=0, description="how much it may worsen, in its own unit; None: not guarded"
    )
    headline: bool = Field(default=False, description="the README's table shows it beside the first metric")
    elsewhere: str | None = Field(
        default=None, description="why metrics published elsewhere can't be compared with ours; None: they can"
    )

    def write(self, value: object) -> str:
        """Return ``value`` formatted for people, or a dash for None."""
        if value is None:
            return "-"
        return format(value, self.format) if isinstance(value, int | float) else str(value)

    def gain(self, base: float, value: float) -> float:
        """Return how much better ``value`` is than ``base``: negative if worse, 0 if neither direction is better."""
        return {"higher": value - base, "lower": base - value, None: 0.0}[self.better]


def read(root: Path = Path()) -> dict[str, dict[str, Metric]]:
    """Return the metrics by project and name, for the checkout in ``root``. Raises InputError for an invalid file."""
    projects = sorted(path.stem for path in (root / METRICS).glob("*.yaml"))
    if not projects:
        raise InputError(f"{METRICS}/ is missing: run this from the project's root")
    return {project: of(project, root) for project in projects}


def of(project: str, root: Path = Path()) -> dict[str, Metric]:
    """Return a project's metrics by name, in the file's order. Raises InputError for an invalid metric or file."""
    path = root / METRICS / f"{project}.yaml"
    try:
        content: dict[str, Any] = config.parse(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise InputError(f"{path} is missing: run this from the project's root") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {error}") from None
    return {name: config.check(name, Metric, metric, path) for name, metric in content.items()}
