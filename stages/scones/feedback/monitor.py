"""Monitor the endpoint by its captured requests: confidences, drift of the input, an estimate of the accuracy.

    python -m stages.scones.feedback.monitor reports/scones/captured
    python -m stages.scones.feedback.monitor s3://BUCKET/data_capture

Pictures that are unknown or have a low confidence are copied to data/scones/labelled/ for labelling. `dvc repro` then trains with them.
"""

import argparse
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from stages.common import config, files
from stages.common.drift import compare
from stages.common.errors import InputError
from stages.common.program import run
from stages.common.results import reporting
from stages.common.sources import label_table
from stages.engine.aws.captures import fetch
from stages.scones.config import Data, Evaluate
from stages.scones.endpoint import picture
from stages.scones.feedback import captures, labelled, variants
from stages.scones.feedback.captures import Captured
from stages.scones.feedback.collect import collect
from stages.scones.feedback.properties import Pixels, properties

FEATURES = Path("data/scones/features")
MODEL = Path("models/scones/export/model.pt")
MONITOR = Path("reports/scones/monitor")


def over_time(records: Sequence[Captured], threshold: float) -> Figure:
    """Plot each answer's confidence, red below the threshold, blue at or above it."""
    figure, axis = plt.subplots(figsize=(9, 4))
    confidences = np.array([record.confidence for record in records])
    times = mdates.date2num([record.time for record in records])
    for low, colour, name in ((False, "tab:blue", "at or above the threshold"), (True, "tab:red", "below it")):
        chosen = (confidences < threshold) == low
        axis.plot(times[chosen], confidences[chosen], "o", color=colour, alpha=0.7, label=f"{name}: {chosen.sum()}")
    axis.axhline(threshold, color="black", linestyle="--", label=f"threshold {threshold:g}")
    locator = mdates.AutoDateLocator()
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))
    axis.set(title=f"scones: confidence of {len(records)} answers", xlabel="time [UTC]", ylabel="confidence [1]")
    axis.legend(loc="lower left")
    return figure


def histogram(records: Sequence[Captured], threshold: float) -> Figure:
    """Plot how often each confidence occurs, in 25 steps from the lowest possible one to 1."""
    figure, axis = plt.subplots(figsize=(9, 4))
    confidences = np.array([record.confidence for record in records])
    edges = np.linspace(1 / len(records[0].probabilities), 1, 26)
    groups = [confidences[confidences < threshold], confidences[confidences >= threshold]]
    names = [f"below the threshold: {len(groups[0])}", f"at or above it: {len(groups[1])}"]
    axis.hist(groups, edges.tolist(), stacked=True, color=["tab:red", "tab:blue"], label=names)
    axis.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:g}")
    axis.set(title=f"scones: confidence of {len(records)} answers", xlabel="confidence [1]", ylabel="answers")
    axis.legend(loc="upper left")
    return figure


def drift(captured: Pixels, training: Pixels) -> dict[str, Any]:
    """Return how much each property's distribution differs from the training pictures', as in `FeatureDrift`."""
    tests = compare(properties(captured), properties(training))
    return {test.feature: {"statistic": test.statistic, "p": test.p, "drifted": test.drifted} for test in tests}


def summary(records: Sequence[Captured], threshold: float) -> dict[str, Any]:
    """Return counts and an estimate of the accuracy: the mean confidence, if calibrated (Guo et al. 2017, arXiv:1706.04599)."""
    confidences = np.array([record.confidence for record in records])
    sure, unknown = confidences >= threshold, [record.known is False for record in records]
    return {
        "records": len(records),
        "from": records[0].time.isoformat(),
        "to": records[-1].time.isoformat(),
        "threshold": threshold,
        "below_threshold": int((~sure).sum()),
        "below_threshold_share": round(float((~sure).mean()), 6),
        "unknown": sum(unknown),
        "unknown_share": round(float(np.mean(unknown)), 6),
        "estimated_accuracy": round(float(confidences.mean()), 6),
        "estimated_accuracy_above": round(float(confidences[sure].mean()), 6) if sure.any() else None,
    }


def decoded(records: Sequence[Captured]) -> tuple[list[tuple[Captured, Pixels]], list[str]]:
    """Return the records with what the model saw of their pictures (side, side, 3), and a line for each unusable picture."""
    side = config.load("data.scones", Data).side
    pictures, problems = [], []
    for record in records:
        try:
            pictures.append((record, picture.squared(picture.read(record.image, record.content_type), side)))
        except ValueError as error:
            problems.append(f"the picture of event {record.event} is not used: {error}")
    return pictures, problems


def class_names() -> list[str]:
    """Return the classes of the exported model, which is the deployed one, or without an export those in params.yaml."""
    if not MODEL.exists():
        return config.load("data.scones", Data).classes
    with zipfile.ZipFile(MODEL) as archive:  # TorchScript files are zip files, so this needs no torch
        (name,) = (one for one in archive.namelist() if one.endswith("/extra/classes.json"))
        names: list[str] = json.loads(archive.read(name))
    return names


def main(source: str, threshold: float | None = None, collect_into: Path = labelled.FOLDER) -> None:
    classes = class_names()
    texts, others = fetch(source)
    read = captures.read(texts, classes)
    if not read.records:
        raise InputError(
            f"{source}: found no captured record{''.join(f' ({problem})' for problem in read.problems[:1])}, expected at least 1"
        )
    if threshold is None:
        threshold = config.load("evaluate.scones", Evaluate).threshold
    pictures, unusable = decoded(read.records)
    counts = {"found": read.found, "refused": len(read.problems), "repeated": read.repeated}
    counts["unusable_pictures"] = len(unusable)
    report = {"source": source, **counts, **summary(read.records, threshold), "problems": read.problems + unusable}
    if (FEATURES / "train.npz").exists() and pictures:
        with np.load(FEATURES / "train.npz") as train:
            report["drift"] = drift(np.stack([picture for _, picture in pictures]), train["images"])
    groups = variants.grouped(texts)
    if len(groups) > 1:
        answered = {name: captures.read(own, classes).records for name, own in groups.items()}
        _, rows = label_table.read(collect_into / label_table.TABLE)
        labels = {row["file"]: classes.index(row["label"]) for _, row in rows if row["label"] in classes}
        report["variants"] = variants.compare(answered, threshold, labels)
    new = collect(pictures, threshold, classes, collect_into)
    with files.new_folder(MONITOR) as folder:
        reporting.save(over_time(read.records, threshold), folder / "confidence_over_time.png")
        reporting.save(histogram(read.records, threshold), folder / "confidence_histogram.png")
        files.write_json(folder / "monitor.json", report)
    for problem in report["problems"]:
        print(f"warning: {problem}")
    if others:
        print(f"warning: {len(others)} other files are not read, first {others[0]}: expected .jsonl files")
    print(
        f"{read.found} captured records: {report['records']} read, {len(read.problems)} refused, {read.repeated} repeated; "
        f"{len(unusable)} of the pictures read are unusable"
    )
    below = f"{report['below_threshold']} of {report['records']} answers are below the threshold {threshold:g}"
    print(f"{below}, {report['unknown']} pictures are unknown; estimated accuracy {report['estimated_accuracy']:.1%}")
    if "drift" in report:
        moved = [name for name, test in report["drift"].items() if test["drifted"]]
        print(f"the input has drifted in {', '.join(moved)}" if moved else "no drift of the input")
    else:
        print(f"drift is unknown: {FEATURES / 'train.npz'} is missing")
    if "variants" in report:
        print("\n".join(variants.lines_of(report["variants"])))
    print(f"{new} new pictures to label in {collect_into}; reports in {MONITOR}")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="folder or URL with captured .jsonl files")
    parser.add_argument("--threshold", type=float, help="default: evaluate.scones.threshold")
    parser.add_argument(
        "--collect-into", type=Path, default=labelled.FOLDER, help="folder for pictures to label (default: %(default)s)"
    )


if __name__ == "__main__":
    run(main, arguments)
