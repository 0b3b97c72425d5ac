"""Compare two revisions, except their metrics: inputs of stages (code, data, parameters), plots, times and sizes."""

import re
from dataclasses import dataclass
from typing import Any

from stages.common import config
from stages.experiments.records.revisions import Revision

PLOTS = re.compile(r"reports/[^/]+/plots")
PUBLISHED = "reports/published"
NOT_CACHED = "not in DVC's cache here: if there is a remote, run `dvc pull`"


@dataclass(frozen=True)
class ChangedPlot:
    """A PNG file that was added, removed or changed. Its content is None where there is no file or it can't be read."""

    path: str
    before: bytes | None
    after: bytes | None
    missing: bool = False
    """Whether the base may have this file, but not its content in the cache."""

    def sides(self) -> list[tuple[str, bytes | None, str]]:
        """Return (which, content, text) for before and after: text is a file name in the review, or why there is none."""
        gone = {"before": "not in the cache" if self.missing else "did not exist", "after": "removed"}
        name = re.sub(r"[^A-Za-z0-9]+", "-", self.path.removeprefix("reports/").removesuffix(".png"))
        return [
            (which, content, f"{name}-{which}.png" if content else gone[which])
            for which, content in (("before", self.before), ("after", self.after))
        ]


def causes(base: Revision, head: Revision) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the stages that are new, removed or have changed inputs of their own, with these inputs.

    The second list names stages whose only changed inputs are outputs of other stages.
    """
    before, after = base.stages(), head.stages()
    made = {out["path"] for stage in [*before.values(), *after.values()] for out in stage.get("outs", [])}
    own, following = [], []
    for name in sorted(before.keys() | after.keys()):
        if name not in before or name not in after:
            own.append((name, "new" if name in after else "removed"))
            continue
        was, now = _inputs(before[name]), _inputs(after[name])
        inputs = [one for one in sorted(was.keys() | now.keys()) if was.get(one) != now.get(one)]
        if its_own := [one for one in inputs if one not in made]:
            own.append((name, ", ".join(its_own)))
        elif inputs:
            following.append(name)
    return own, following


def _inputs(stage: dict[str, Any]) -> dict[str, Any]:
    """Return a stage's inputs in dvc.lock by name: hashes of paths, values of parameters, the command."""
    inputs = {dep["path"]: dep.get("md5") for dep in stage.get("deps", []) if dep["path"] != "params.yaml"}
    for file, values in stage.get("params", {}).items():
        place = "" if file == "params.yaml" else f"{file}:"
        inputs |= {f"{place}{name}": value for name, value in config.flat(values).items()}
    return inputs | {"its command": stage.get("cmd")}


def pictures(base: Revision, head: Revision) -> list[ChangedPlot]:
    """Return the PNG files of the reports that differ, by path."""
    before, after = base.outputs(), head.outputs()
    plots = sorted(path for path in before.keys() | after.keys() if PLOTS.fullmatch(path))
    changed = [path for path in plots if before.get(path, {}).get("md5") != after.get(path, {}).get("md5")]
    found = []
    for folder in [*changed, PUBLISHED]:
        was = base.hashes(folder) if folder in before or folder == PUBLISHED else {}
        known, now = was or {}, head.hashes(folder) or {}
        for path in sorted(path for path in known.keys() | now.keys() if path.endswith(".png")):
            if known.get(path) != now.get(path):
                old = base.read(path) if path in known else None
                new = head.read(path) if path in now else None
                found.append(ChangedPlot(path, old, new, missing=was is None or (path in known and old is None)))
    return found


def readings(base: Revision, head: Revision) -> list[tuple[str, str, str, str]]:
    """Return training time, latency and export size that differ, as rows of project, title, base and head."""
    before, after = base.outputs(), head.outputs()
    rows = []
    exports = {path for path in before.keys() | after.keys() if path.split("/")[-1] == "export"}
    for project in sorted(path.split("/")[1] for path in exports):
        clocks = [{"training": one.training(project), "latency": one.latency(project)} for one in (base, head)]
        for title, keys, unit in CLOCKS:
            was, now = (_time(one, keys, unit) for one in clocks)
            rows.append((project, title, was, now))
        path = f"models/{project}/export"
        rows.append((project, "size of the export", _size(before.get(path)), _size(after.get(path))))
    return [row for row in rows if row[2] != row[3]]


CLOCKS = [
    ("training", ["training", "seconds"], "s"),
    ("one request", ["latency", "one", "p50_ms"], "ms"),
    ("one execution", ["latency", "execution_s", "p50"], "s"),
]
"""Rows of clock readings: title, keys of the value, unit. Latencies are medians."""


def _time(content: Any, keys: list[str], unit: str) -> str:
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return f"{content:.2f} {unit}" if isinstance(content, int | float) else "-"


def _size(output: dict[str, Any] | None) -> str:
    return f"{output['size'] / 1e6:.2f} MB" if output and "size" in output else "-"
