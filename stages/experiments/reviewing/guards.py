"""Judge guarded metrics: whether one is worse at head than at base by more than its tolerance."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stages.common.results.metrics import Metric

Metrics = Mapping[str, Mapping[str, Metric]]


@dataclass(frozen=True)
class MetricGuard:
    """One guarded metric at base and head."""

    project: str
    name: str
    metric: Metric
    base: object
    head: object
    verdict: str
    """The result in a few words, for tables."""
    failure: str = ""
    """What is wrong, in one sentence; empty if nothing is."""

    @property
    def changed(self) -> bool:
        return bool(self.failure) or self.base != self.head

    def change(self) -> str:
        """Return the difference as text, in points if the metric is a percentage."""
        before, after = _number(self.base), _number(self.head)
        return "-" if before is None or after is None else amount(self.metric, after - before, "+")

    def row(self) -> list[str]:
        """Return project, metric, base, head, change, tolerance, verdict."""
        tolerance = amount(self.metric, self.metric.tolerance or 0.0)
        values = [figure(self.metric, self.base), figure(self.metric, self.head)]
        return [self.project, self.name, *values, self.change(), tolerance, self.verdict]


def judge(metrics: Metrics, project: str, base: Mapping[str, Any], head: Mapping[str, Any]) -> list[MetricGuard]:
    """Judge the guards of ``project``. ``base`` and ``head`` are its metrics by name, with their `data`, or empty."""
    guarded = {name: metric for name, metric in metrics.get(project, {}).items() if metric.tolerance is not None}
    return [
        MetricGuard(project, name, metric, base.get(name), head.get(name), *_verdict(project, name, metric, base, head))
        for name, metric in guarded.items()
        if name in base or name in head
    ]


def _verdict(
    project: str, name: str, metric: Metric, base: Mapping[str, Any], head: Mapping[str, Any]
) -> tuple[str, str]:
    """Return the verdict and, for a failure, its sentence."""
    label, was, now = f"{project} {name}", figure(metric, base.get(name)), figure(metric, head.get(name))
    before, after, tolerance = _number(base.get(name)), _number(head.get(name)), metric.tolerance or 0.0
    if name not in head:
        return "missing", f"{label} is missing: it was {was}"
    if after is None:
        return "not a number", f"{label} is {now}: expected a number"
    if before is None:
        return "new", ""
    if base.get("data") != head.get("data"):
        data = f"{base.get('data')!r} at the base, {head.get('data')!r} here"
        return "other data", f"{label} was measured on other data ({data}): the values can't be compared"
    gain = round(metric.gain(before, after), 9)  # in floats 0.93 - 0.92 is slightly more than 0.01
    if gain >= 0:
        return ("better" if gain else "same"), ""
    if -gain <= tolerance:
        return "within tolerance", ""
    fell = "fell" if after < before else "rose"
    by = f"by {amount(metric, -gain)}: tolerance {amount(metric, tolerance)}"
    return fell, f"{label} {fell} from {was} to {now}, {by}"


def figure(metric: Metric, value: object) -> str:
    """Return ``value`` as text, such as `93.06 %`."""
    known = value is None or _number(value) is not None
    return metric.write(value).replace("%", " %") if known else repr(value)


def amount(metric: Metric, value: float, sign: str = "-") -> str:
    """Return a difference or tolerance as text, such as `0.50 points` for percentages. ``sign`` is as in format()."""
    if metric.format.endswith("%"):
        return f"{value * 100:{sign}{metric.format[:-1]}f} points"
    return format(value, sign + metric.format)


def loosened(base: Mapping[str, Any], head: Metrics) -> list[str]:
    """Return a sentence for each guard in the base's files of metrics/ (their content) that ``head`` lacks or changed."""
    found = []
    for project, metrics in base.items():
        for name, was in metrics.items():
            if was.get("tolerance") is None:
                continue
            now = head.get(project, {}).get(name)
            if now is None or now.tolerance is None:
                found.append(f"{project} {name} is no longer guarded")
            elif (now.tolerance, now.better) != (was["tolerance"], was.get("better")):
                before = f"{was.get('better')} is better, tolerance {was['tolerance']:g}"
                after = f"{now.better} is better, tolerance {now.tolerance:g}"
                found.append(f"the guard of {project} {name} was changed: {before}; now {after}")
    return found


def _number(value: object) -> float | None:
    """Return ``value`` if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value
