"""A project's variants. Runs that differ only in the seed are one variant."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import mean, stdev
from typing import Any, NamedTuple

from stages.common import config
from stages.experiments.records import runs
from stages.experiments.records.published import Published
from stages.experiments.records.recipes import Recipe
from stages.experiments.records.revisions import Revision
from stages.experiments.records.runs import Run

STEPS = ("prepare", "featurize", "train", "evaluate")
"""The steps whose parameters and code determine a project's metrics."""


class Spread(NamedTuple):
    """A metric over the seeds; ``deviation`` is the standard deviation, None for fewer than three seeds."""

    mean: float
    lowest: float
    highest: float
    deviation: float | None
    number: int


@dataclass(frozen=True)
class Variant:
    """Runs on the same data with the same settings and code; only the seed differs."""

    label: str
    """Unique among the variants on the same data."""
    origin: str
    """`baseline` (a commit that experiments start from), `workspace`, `experiment` or `published`."""
    names: list[str]
    """The sources of its results: a commit, the working tree (`workspace`), or experiments."""
    data: str
    settings: dict[str, Any]
    """Parameters that differ from HEAD's params.yaml, by their dotted names."""
    other_code: bool
    runs: list[Run]
    recipe: Recipe | None = None
    """The recipe with these settings."""

    def spread(self, metric: str) -> Spread | None:
        """Summarise a metric over the runs; None if a run lacks it."""
        return spread([run.metrics.get(metric) for run in self.runs])

    def seconds(self) -> Spread | None:
        """Summarise the training time in seconds."""
        return spread([run.training.get("seconds") for run in self.runs])

    def memory(self) -> Spread | None:
        return spread([run.memory_gb for run in self.runs])

    @property
    def on_sample(self) -> bool:
        return self.data == "sample"

    @property
    def elsewhere(self) -> dict[str, float]:
        """The metrics published elsewhere, to compare with."""
        return self.recipe.published if self.recipe else {}


def spread(values: Iterable[float | None]) -> Spread | None:
    """Summarise ``values``; None if there are none or one is missing."""
    known = [value for value in values if value is not None]
    if not known or len(known) != len(list(values)):
        return None
    return Spread(mean(known), min(known), max(known), stdev(known) if len(known) > 2 else None, len(known))


class StageInputs(NamedTuple):
    """The inputs of a project's stages in dvc.lock: parameters by their dotted names, and hashes of the code."""

    parameters: dict[str, Any]
    code: dict[str, str]

    def settings(self, base: dict[str, Any], project: str) -> dict[str, Any]:
        """Return the parameters that differ from ``base``, except the seed and the data's source."""
        own = {name: value for name, value in self.parameters.items() if name not in _apart(project)}
        return {name: value for name, value in own.items() if name not in base or base[name] != value}


def _apart(project: str) -> tuple[str, ...]:
    return f"{project}.seed", "data.source", f"data.{project}.source"


def stage_inputs(revision: Revision, project: str) -> StageInputs:
    stages = revision.stages()
    locked = [stages[f"{step}@{project}"] for step in STEPS if f"{step}@{project}" in stages]
    parameters: dict[str, Any] = {}
    for stage in locked:
        parameters |= config.flat(stage.get("params", {}).get("params.yaml", {}))
    code = {dep["path"]: dep["md5"] for stage in locked for dep in stage["deps"] if dep["path"].startswith("stages/")}
    return StageInputs(parameters, code)


class ComparedRevision(NamedTuple):
    """A revision to compare, its name for people, and its origin (see `Variant`)."""

    name: str
    origin: str
    revision: Revision


def of_revisions(project: str, sources: list[ComparedRevision], known: dict[str, Recipe], named: bool) -> list[Variant]:
    """Return the variants among ``sources``, in their order. A baseline comes before the experiments that start from it.

    Experiments that left the project as in their baseline (they vary other projects) are left out, unless ``named`` is
    true or they have a recipe's name. Earlier baselines without remaining experiments are left out, too. If the working
    tree has its commit's results, both are one variant.
    """
    head = Revision("HEAD")
    base, code = config.flat(head.parameters()), stage_inputs(head, project).code
    found: dict[str, Variant] = {}
    below: tuple[str, Variant | None] = "", None  # the last baseline: its version, and its row until that is needed
    for source in sources:
        own = stage_inputs(source.revision, project)
        version = json.dumps(own, sort_keys=True)
        if source.origin == "experiment" and version == below[0] and not (named or source.name in known):
            continue
        run = runs.of(source.revision, project, own.parameters.get(f"{project}.seed", 0))
        if run is None:
            below = (version, None) if source.origin == "baseline" else below
            continue
        settings = own.settings(base, project)
        data = str(run.metrics.get("data"))
        recipe = _same(settings, known, base)
        one = Variant(source.name, source.origin, [source.name], data, settings, own.code != code, [run], recipe)
        if source.origin == "baseline":
            below = version, one
            if not found:
                found[version] = one
            continue
        if below[1] and source.origin == "experiment":
            found.setdefault(below[0], below[1])
        if (
            source.origin == "workspace"
            and below[1]
            and version == below[0]
            and run.metrics == below[1].runs[0].metrics
        ):
            found[version] = replace(below[1], names=[*below[1].names, source.name])
            continue
        key = source.name if source.origin == "workspace" else json.dumps([data, settings, own.code], sort_keys=True)
        if key in found:
            before = found[key]
            again = any(other.seed == run.seed and other.metrics == run.metrics for other in before.runs)
            found[key] = replace(before, names=[*before.names, source.name], runs=before.runs + [run] * (not again))
            continue
        found[key] = one
    return [_tidied(variant) for variant in found.values()]


def _same(settings: dict[str, Any], known: dict[str, Recipe], base: dict[str, Any]) -> Recipe | None:
    for recipe in known.values():
        own = {name: value for name, value in config.flat(recipe.set).items() if base.get(name) != value}
        if own == settings and not recipe.sweep:
            return recipe
    return None


def _tidied(variant: Variant) -> Variant:
    """Sort the runs by seed. For several experiments, drop the seed at the end of the label."""
    label = variant.label
    if len(variant.names) > 1 and variant.origin == "experiment":
        label = re.sub(r"-(seed)?\d+$", "", label)
    return replace(variant, label=label, runs=sorted(variant.runs, key=lambda run: run.seed))


def of_published(name: str, result: Published, recipe: Recipe, base: dict[str, Any]) -> Variant:
    """Return a recipe's published results as a variant."""
    settings = {key: value for key, value in config.flat(result.settings).items() if base.get(key) != value}
    data = str(result.runs[0].metrics["data"])
    return Variant(name, "published", [], data, settings, False, result.runs, recipe)


def by_data(variants: list[Variant]) -> dict[str, list[Variant]]:
    """Group the variants by data, in their order. Labels that occur twice on the same data are made unique."""
    order = dict.fromkeys(variant.data for variant in variants)
    return {data: _distinct([variant for variant in variants if variant.data == data]) for data in order}


def _distinct(variants: list[Variant]) -> list[Variant]:
    taken: dict[str, int] = {}
    found = []
    for variant in variants:
        label = variant.label if variant.label not in taken else f"{variant.label} ({variant.origin})"
        taken[label] = taken.get(label, 0) + 1
        number = f" {taken[label]}" if taken[label] > 1 else ""
        found.append(replace(variant, label=f"{label}{number}"))
    return found
