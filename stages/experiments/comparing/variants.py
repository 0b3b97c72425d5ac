"""A project's variants. Runs that differ only in the seed are one variant."""

import json
import re
from collections import Counter
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
        """Summarise the training time in seconds. The features of a frozen backbone count in each run, though one computed them."""
        own = [run.training.get("features_seconds", 0.0) for run in self.runs]
        seconds = [run.training.get("seconds") for run in self.runs]
        return spread([None if one is None else one - part + max(own) for one, part in zip(seconds, own, strict=True)])

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


def stage_inputs(revision: Revision, project: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the inputs of a project's stages in dvc.lock: parameters by their dotted names, and hashes of the code."""
    stages = revision.stages()
    locked = [stages[f"{step}@{project}"] for step in STEPS if f"{step}@{project}" in stages]
    parameters: dict[str, Any] = {}
    for stage in locked:
        parameters |= config.flat(stage.get("params", {}).get("params.yaml", {}))
    code = {dep["path"]: dep["md5"] for stage in locked for dep in stage["deps"] if dep["path"].startswith("stages/")}
    return parameters, code


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
    base, (_, code) = config.flat(head.parameters()), stage_inputs(head, project)
    apart = {f"{project}.seed", "data.source", f"data.{project}.source"}
    found: dict[str, Variant] = {}
    below, baseline = "", None  # the version of the last baseline, and its row until that is needed
    for source in sources:
        parameters, own_code = stage_inputs(source.revision, project)
        version = json.dumps([parameters, own_code], sort_keys=True)
        if source.origin == "experiment" and version == below and not (named or source.name in known):
            continue
        run = runs.of(source.revision, project, parameters.get(f"{project}.seed", 0))
        if run is None:
            if source.origin == "baseline":
                below, baseline = version, None
            continue
        differing = {name: value for name, value in parameters.items() if name not in base or base[name] != value}
        settings = {name: value for name, value in differing.items() if name not in apart}
        data = str(run.metrics.get("data"))
        recipe = _same(settings, known, base)
        one = Variant(source.name, source.origin, [source.name], data, settings, own_code != code, [run], recipe)
        if source.origin == "baseline":
            below, baseline = version, one
            if not found:
                found[version] = one
            continue
        if baseline and source.origin == "experiment":
            found.setdefault(below, baseline)
        unchanged = baseline and version == below and run.metrics == baseline.runs[0].metrics
        if baseline and unchanged and source.origin == "workspace":
            found[version] = replace(baseline, names=[*baseline.names, source.name])
            continue
        key = source.name if source.origin == "workspace" else json.dumps([data, settings, own_code], sort_keys=True)
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
    taken: Counter[tuple[str, str]] = Counter()
    found: dict[str, list[Variant]] = {}
    for variant in variants:
        data, label = variant.data, variant.label
        label = f"{label} ({variant.origin})" if taken[data, label] else label
        taken[data, label] += 1
        number = f" {taken[data, label]}" if taken[data, label] > 1 else ""
        found.setdefault(data, []).append(replace(variant, label=f"{label}{number}"))
    return found
