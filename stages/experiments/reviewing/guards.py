"""Guarded figures: whether one is worse at the head of a change than at its base, by more than metrics.yaml tolerates."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stages.common.results.metrics import Metric

Metrics = Mapping[str, Mapping[str, Metric]]


@dataclass(frozen=True)
class Guard:
    """One guarded figure at base and head."""

    project: str
    name: str
    metric: Metric
    base: object
    head: object
    verdict: str
    """What became of it, in a word or a few: for tables."""
    failure: str = ""
    """What is wrong, in a sentence; empty where nothing is."""

    @property
    def changed(self) -> bool:
        return bool(self.failure) or self.base != self.head

    def change(self) -> str:
        """The difference as people read it: a share's in points."""
        if not (_is_figure(self.base) and _is_figure(self.head)):
            return "-"
        return amount(self.metric, _float(self.head) - _float(self.base), "+")

    def row(self) -> list[str]:
        """Project, figure, base, head, change, tolerance, verdict."""
        tolerance = amount(self.metric, self.metric.tolerance or 0.0)
        values = [figure(self.metric, self.base), figure(self.metric, self.head)]
        return [self.project, self.name, *values, self.change(), tolerance, self.verdict]


def judge(metrics: Metrics, project: str, base: Mapping[str, Any], head: Mapping[str, Any]) -> list[Guard]:
    """The guards of ``project``. ``base`` and ``head`` are its figures by name and the `data` they are of; empty for none."""
    guarded = {name: metric for name, metric in metrics.get(project, {}).items() if metric.tolerance is not None}
    return [
        Guard(project, name, metric, base.get(name), head.get(name), *_verdict(project, name, metric, base, head))
        for name, metric in guarded.items()
        if name in base or name in head
    ]


def _verdict(
    project: str, name: str, metric: Metric, base: Mapping[str, Any], head: Mapping[str, Any]
) -> tuple[str, str]:
    """The verdict and, where it is a failure, its sentence."""
    label = f"{project} {name}"
    before, after = base.get(name), head.get(name)
    if name not in head:
        return "missing", f"{label} is missing: it was {figure(metric, before)}"
    if not _is_figure(after):
        return "not a number", f"{label} is {figure(metric, after)}: a number is expected"
    if not _is_figure(before):
        return "new", ""
    if base.get("data") != head.get("data"):
        data = f"{base.get('data')!r} at the base, {head.get('data')!r} here"
        return "other data", f"{label} is of other data ({data}): the figures can't be compared"
    gain = round(metric.gain(_float(before), _float(after)), 9)  # 0.93 - 0.92 is 0.01 and a trace: no more than 0.01
    if gain >= 0:
        return ("better" if gain else "same"), ""
    if -gain <= (metric.tolerance or 0.0):
        return "within tolerance", ""
    fell = "fell" if _float(after) < _float(before) else "rose"
    values = f"from {figure(metric, before)} to {figure(metric, after)}"
    return fell, (
        f"{label} {fell} {values}, by {amount(metric, -gain)}: tolerance {amount(metric, metric.tolerance or 0.0)}"
    )


def figure(metric: Metric, value: object) -> str:
    """``value`` as people read it: `93.06 %`."""
    return metric.write(value).replace("%", " %") if _is_figure(value) or value is None else repr(value)


def amount(metric: Metric, value: float, sign: str = "-") -> str:
    """A difference or a tolerance as people read it: `0.50 points` where figures are shares. ``sign`` as in format()."""
    if metric.format.endswith("%"):
        return f"{value * 100:{sign}{metric.format[:-1]}f} points"
    return format(value, sign + metric.format)


def loosened(base: Mapping[str, Any], head: Metrics) -> list[str]:
    """Every guard of the base's metrics.yaml (its content) that ``head`` does not have as it was, in a sentence each."""
    found = []
    for project, metrics in base.items():
        for name, was in metrics.items():
            if was.get("tolerance") is None:
                continue
            now = head.get(project, {}).get(name)
            if now is None or now.tolerance is None:
                found.append(f"{project} {name} is no longer guarded")
            elif (now.tolerance, now.better) != (was["tolerance"], was.get("better")):
                before, after = (
                    f"{better} is better, tolerance {tolerance:g}" for better, tolerance in _both(was, now)
                )
                found.append(f"the guard of {project} {name} was changed: {before}; now {after}")
    return found


def _both(was: Mapping[str, Any], now: Metric) -> list[tuple[Any, Any]]:
    return [(was.get("better"), was["tolerance"]), (now.better, now.tolerance)]


def _is_figure(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _float(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)
