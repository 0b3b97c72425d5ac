"""What differs between two revisions beside their figures: code, data and parameters of stages, pictures, time and size."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from stages.experiments.records.revisions import Revision

PLOTS = re.compile(r"reports/[^/]+/plots")
PUBLISHED = "reports/published"
NOT_CACHED = "not in DVC's cache here: `dvc pull` gets it where there is a remote"


@dataclass(frozen=True)
class Picture:
    """A PNG file that is new, gone or has other content; None stands for one that is not there, or could not be read."""

    path: str
    before: bytes | None
    after: bytes | None
    missing: bool = False
    """Whether the base may have it, and its content is not in the cache."""

    def sides(self) -> list[tuple[str, bytes | None, str]]:
        """For before and after: which, the content, and what there is to say or the name of its file in a review."""
        gone = {"before": "not in the cache" if self.missing else "there was none", "after": "removed"}
        name = re.sub(r"[^A-Za-z0-9]+", "-", self.path.removeprefix("reports/").removesuffix(".png"))
        return [
            (which, content, f"{name}-{which}.png" if content else gone[which])
            for which, content in (("before", self.before), ("after", self.after))
        ]


def causes(base: Revision, head: Revision) -> tuple[list[tuple[str, str]], list[str]]:
    """Stages that are new, gone, or have other code, data or parameters, with what of it; and those that only follow them."""
    before, after = base.stages(), head.stages()
    made = {out["path"] for stage in [*before.values(), *after.values()] for out in stage.get("outs", [])}
    own, following = [], []
    for name in sorted(before.keys() | after.keys()):
        if name not in before or name not in after:
            own.append((name, "new" if name in after else "removed"))
            continue
        inputs = _different(_inputs(before[name]), _inputs(after[name]))
        if its_own := [one for one in inputs if one not in made]:
            own.append((name, ", ".join(its_own)))
        elif inputs:
            following.append(name)
    return own, following


def _inputs(stage: dict[str, Any]) -> dict[str, Any]:
    """What a stage of dvc.lock depends on, by name: the paths' hashes, the parameters' values, the command."""
    parameters = {
        f"{file}:{key}": value for file, values in stage.get("params", {}).items() for key, value in values.items()
    }
    inputs = {dep["path"]: dep.get("md5") for dep in stage.get("deps", []) if dep["path"] != "params.yaml"} | dict(
        _flat(parameters.items())
    )
    return inputs | {"its command": stage.get("cmd")}


def _flat(items: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
    for key, value in items:
        if isinstance(value, dict):
            yield from _flat((f"{key}.{inner}", content) for inner, content in value.items())
        else:
            yield key.removeprefix("params.yaml:"), value


def _different(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]


def pictures(base: Revision, head: Revision) -> list[Picture]:
    """The pictures of the reports that differ, by path."""
    before, after = base.outputs(), head.outputs()
    plots = sorted(path for path in before.keys() | after.keys() if PLOTS.fullmatch(path))
    changed = [path for path in plots if before.get(path, {}).get("md5") != after.get(path, {}).get("md5")]
    return [
        picture
        for folder in [*changed, PUBLISHED]
        for picture in _pictures(folder, base, head, made=folder in before or folder == PUBLISHED)
    ]


def _pictures(folder: str, base: Revision, head: Revision, made: bool) -> Iterable[Picture]:
    """Those of one folder; ``made`` says whether the base has it."""
    before, after = base.hashes(folder) if made else {}, head.hashes(folder) or {}
    known = before or {}
    for path in sorted(path for path in known.keys() | after.keys() if path.endswith(".png")):
        if known.get(path) != after.get(path):
            old = base.read(path) if path in known else None
            new = head.read(path) if path in after else None
            yield Picture(path, old, new, missing=before is None or (path in known and old is None))


def readings(base: Revision, head: Revision) -> list[tuple[str, str, str, str]]:
    """Project, what was measured, at base, at head: training time, latency and size of the export, where they differ."""
    before, after = base.outputs(), head.outputs()
    rows = []
    exports = {path for path in before.keys() | after.keys() if path.split("/")[-1] == "export"}
    for project in sorted(path.split("/")[1] for path in exports):
        clocks = [(one.training(project), one.latency(project)) for one in (base, head)]
        for title, number, keys, unit in CLOCKS:
            before_it, after_it = (_time(pair[number], keys, unit) for pair in clocks)
            rows.append((project, title, before_it, after_it))
        path = f"models/{project}/export"
        rows.append((project, "size of the export", _size(before.get(path)), _size(after.get(path))))
    return [row for row in rows if row[2] != row[3]]


CLOCKS = [
    ("training", 0, ["seconds"], "s"),
    ("one request", 1, ["one", "p50_ms"], "ms"),
    ("one execution", 1, ["execution_s", "p50"], "s"),
]
"""What is shown of the readings of training (0) and of the deployed model (1), where it stands, in which unit. Latencies are medians."""


def _time(content: Any, keys: list[str], unit: str) -> str:
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return f"{content:.2f} {unit}" if isinstance(content, int | float) else "-"


def _size(output: dict[str, Any] | None) -> str:
    return f"{output['size'] / 1e6:.2f} MB" if output and "size" in output else "-"
