"""Compare the models behind one endpoint by their answers. Each gets different pictures of the same stream.

Intervals are of 95 %: Wilson's for a fraction, Newcombe's (1998, method 10) for a difference of fractions, Welch's for a difference of means.
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import binomtest, ttest_ind

from stages.scones.feedback.captures import Captured

LEVEL = 0.95
VARIANT_PATH = re.compile(r"([^/]+)/\d{4}/\d\d/\d\d/\d\d/[^/]+$")
"""A captured file's path from its variant on."""

Texts = Sequence[tuple[str, str]]


def grouped(files: Texts) -> dict[str, list[tuple[str, str]]]:
    """Return captured files by the variant in their paths. Files with other paths are left out."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, text in files:
        if found := VARIANT_PATH.search(name):
            groups.setdefault(found[1], []).append((name, text))
    return dict(sorted(groups.items()))


def fraction(count: int, total: int) -> dict[str, Any]:
    """Return a fraction with its interval, None for each if ``total`` is 0."""
    if not total:
        return {"value": None, "low": None, "high": None, "of": 0}
    interval = binomtest(count, total).proportion_ci(LEVEL, method="wilson")
    low, high = float(interval.low), float(interval.high)
    return {"value": round(count / total, 6), "low": round(low, 6), "high": round(high, 6), "of": total}


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return ``one`` minus ``other``, two of `fraction`, with its interval; None if either has no records."""
    if not one["of"] or not other["of"]:
        return None
    value = one["value"] - other["value"]
    down = math.hypot(one["value"] - one["low"], other["high"] - other["value"])
    up = math.hypot(one["high"] - one["value"], other["value"] - other["low"])
    return _judged(value, value - down, value + up)


def _judged(value: float, low: float, high: float) -> dict[str, Any]:
    return {"value": round(value, 6), "low": round(low, 6), "high": round(high, 6), "differ": not low <= 0 <= high}


def picture_name(image: bytes) -> str:
    """Return the name under which a captured picture, the body of a request, is labelled."""
    return f"captured-{hashlib.sha256(image).hexdigest()[:12]}.png"


def measure(records: Sequence[Captured], threshold: float, labels: Mapping[str, int]) -> dict[str, Any]:
    """Return measurements of one variant's answers. ``labels`` are class numbers by the names of labelled pictures."""
    judged = [(record, labels[name]) for record in records if (name := picture_name(record.image)) in labels]
    right = sum(int(np.argmax(record.probabilities)) == label for record, label in judged)
    return {
        "records": len(records),
        "below_threshold": fraction(sum(record.confidence < threshold for record in records), len(records)),
        "unknown": fraction(sum(record.known is False for record in records), len(records)),
        "mean_confidence": round(float(np.mean([record.confidence for record in records])), 6),
        "accuracy_labelled": fraction(right, len(judged)),
    }


def compare(variants: Mapping[str, Sequence[Captured]], threshold: float, labels: Mapping[str, int]) -> dict[str, Any]:
    """Return the measures of each variant and, for each pair, the differences with their intervals.

    The confidences of two records or more are needed for a difference of means.
    """
    measured = {name: measure(records, threshold, labels) for name, records in variants.items() if records}
    pairs = {}
    for one, other in combinations(measured, 2):
        found: dict[str, Any] = {
            what: difference(measured[one][what], measured[other][what])
            for what in ("below_threshold", "unknown", "accuracy_labelled")
        }
        ours, theirs = ([record.confidence for record in variants[name]] for name in (one, other))
        if min(len(ours), len(theirs)) >= 2 and len({*ours, *theirs}) > 1:
            interval = ttest_ind(ours, theirs, equal_var=False).confidence_interval(LEVEL)
            value = float(np.mean(ours) - np.mean(theirs))
            found["mean_confidence"] = _judged(value, float(interval.low), float(interval.high))
        pairs[f"{one} - {other}"] = found
    return {"each": measured, "differences": pairs}


def lines_of(compared: Mapping[str, Any]) -> list[str]:
    """Return a line for each variant and each pair."""
    lines = []
    for name, one in compared["each"].items():
        right = one["accuracy_labelled"]
        labelled = f", {_percent(right)} of the labelled are right" if right["of"] else ""
        lines.append(
            f"{name}: {one['records']} records, {_percent(one['below_threshold'])} below the threshold{labelled}"
        )
    for pair, found in compared["differences"].items():
        differing = [what.replace("_", " ") for what, one in found.items() if one and one["differ"]]
        lines.append(f"{pair}: " + (f"differ in {', '.join(differing)}" if differing else "no significant difference"))
    return lines


def _percent(one: Mapping[str, Any]) -> str:
    return f"{one['value']:.1%} ({one['low']:.1%} to {one['high']:.1%})"
