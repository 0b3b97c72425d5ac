"""Compare the inputs of captured requests with the training data: `make drift PROJECT=bikes`, or

    python -m stages.feedback.drift bikes                            # kept by make serve ARGS="--capture reports/captured"
    python -m stages.feedback.drift scones s3://BUCKET/data_capture  # captured by an endpoint

Without a project it compares all projects with captured requests. It writes reports/drift/index.html, a page that needs no
network, and reports/drift/<project>.json. With --fail, it ends with exit code 3 if it finds drift.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages import projects
from stages.common import drift, files
from stages.common.drift import FeatureDrift, Inputs, Values
from stages.common.errors import InputError
from stages.common.program import run
from stages.common.vision import known
from stages.engine.aws import captures
from stages.engine.aws.captures import Record
from stages.experiments.pages import page
from stages.feedback import captured
from stages.feedback.charts import chart, picture

REPORTS = page.PAGES["Drift"][0].parent

CHARTS, EXAMPLES = 6, 8
"""Features that are drawn, those that differ most first, and inputs that are shown, those farthest from training first."""

NAMED = 4
"""Drifted features that the sentence about a project names."""

FOUND = 3
"""Exit code with --fail if there is drift."""


class Compared(NamedTuple):
    """The captured requests of a project, compared with its training data."""

    project: str
    requests: list[Record]
    inputs: Inputs
    training: Inputs
    moved: list[FeatureDrift]
    """The tested features, smallest p first."""
    ours: Mapping[str, Values]
    theirs: Mapping[str, Values]
    """All features by name, of the requests and of training."""
    far: NDArray[np.float64]
    """The distance of each input from the training data."""
    unit: str
    problems: list[str]

    @property
    def drifted(self) -> list[str]:
        return [one.feature for one in self.moved if one.drifted]

    def sentence(self) -> str:
        count = f"in {len(self.requests)} requests"
        if self.drifted:
            more = len(self.drifted) - NAMED
            rest = f" and {more} more" if more > 0 else ""
            return f"{self.project}: drift found {count}: {', '.join(self.drifted[:NAMED])}{rest}"
        return f"{self.project}: no drift found {count}"

    def report(self, source: str) -> dict[str, Any]:
        """Return the content of the JSON file."""
        return {
            "source": source,
            "requests": len(self.requests),
            "from": self.requests[0].time.isoformat(),
            "to": self.requests[-1].time.isoformat(),
            "inputs": len(self.far),
            "independent": self.inputs.independent,
            "training": self.training.independent,
            "unit": self.unit,
            "drift": bool(self.drifted),
            "features": [one._asdict() for one in self.moved],
            "problems": self.problems,
        }


def compare(project: str, source: str) -> Compared:
    """Compare the captured requests at ``source``. Raise InputError if there are too few."""
    served = projects.feedback(project)
    assert served
    read = captures.read(captured.texts(source, project), lambda record: record)
    # Repeated requests are not independent.
    once = {(record.body, record.content_type): record for record in read.records}
    records = list(once.values())[-1000:]  # with very many, a test finds differences that don't matter
    inputs, unreadable = served.inputs(records)
    problems = read.problems + unreadable
    if inputs.independent < served.LEAST:
        why = f", first problem: {problems[0]}" if problems else ""
        raise InputError(
            f"{source}: found {inputs.independent} {served.UNIT} in captured requests of {project}, expected at least {served.LEAST}: "
            f"capture more{why}"
        )
    training = served.training()
    ours, theirs, far = measured(inputs, training)
    moved = drift.compare(ours, theirs, (inputs.independent, training.independent))
    moved.sort(key=lambda one: (one.p, -one.statistic))
    return Compared(project, records, inputs, training, moved, ours, theirs, far, served.UNIT, problems)


def measured(inputs: Inputs, training: Inputs) -> tuple[dict[str, Values], dict[str, Values], NDArray[np.float64]]:
    """Return the features of inputs and of training, and the inputs' distance from training.

    Pictures are also compared along 8 principal directions of the network's features, and their distance is measured from
    these directions (`known`). The distance of other inputs is the largest deviation of a number from training's mean, in
    standard deviations.
    """
    ours, theirs = dict(inputs.features), dict(training.features)
    if inputs.embedding is None or training.embedding is None:
        numbers = [name for name, values in theirs.items() if values.dtype.kind != "U"]
        deviations = [np.abs(ours[name] - theirs[name].mean()) / (theirs[name].std() or 1.0) for name in numbers]
        return ours, theirs, np.max(deviations, 0)
    arrays = known.fit(training.embedding)
    for features, found in ((inputs.embedding, ours), (training.embedding, theirs)):
        along = (features - arrays["centre"]) @ arrays["directions"][:, :8]
        found |= {f"network's feature {number}": row for number, row in enumerate(along.T, 1)}
    return ours, theirs, -known.score("subspace", arrays, inputs.embedding, inputs.embedding)


def described(one: Compared) -> dict[str, Any]:
    """Return the page's content for a project."""
    farthest = np.argsort(-one.far, kind="stable")[:EXAMPLES]
    shown = [one.inputs.examples[index] for index in farthest]
    rows = shown if isinstance(shown[0], dict) else []
    figures = [] if rows else [(picture(image), one.far[index]) for image, index in zip(shown, farthest, strict=True)]
    names = [moved.feature for moved in one.moved[:CHARTS]]
    charts = [(name, chart(one.ours[name], one.theirs[name])) for name in names]
    return {"one": one, "charts": charts, "rows": rows, "pictures": figures}


def main(project: str | None, source: str, fail: bool) -> None:
    chosen = [project] if project else _all(source)
    compared = []
    for name in chosen:
        compared.append(compare(name, source))
        print(compared[-1].sentence())
    for one in compared:
        files.write_json(REPORTS / f"{one.project}.json", one.report(source))
    shown = [described(one) for one in compared]
    page.write(REPORTS / "index.html", "drift.html", REPORTS, shown=shown, source=source, vega=page.vega())
    print(f"The page: {REPORTS / 'index.html'}")
    if fail and any(one.drifted for one in compared):
        sys.exit(FOUND)


def _all(source: str) -> Sequence[str]:
    """Return the projects with requests kept by a server."""
    found = [Path(name).parent.name for name, _ in captures.fetch(source)[0]]
    names = [name for name in projects.names() if name in found and name in projects.with_feedback()]
    if not names:
        expected = "expected one: name the project, such as PROJECT=scones"
        raise InputError(f"{source}: found no folder of a project, {expected}")
    return names


def arguments(parser: argparse.ArgumentParser) -> None:
    able = projects.with_feedback()
    parser.add_argument("project", nargs="?", choices=able, help="default: all with captured requests")
    parser.add_argument("source", nargs="?", default="reports/captured", help="folder or URL (%(default)s)")
    parser.add_argument("--fail", action="store_true", help=f"end with exit code {FOUND} if there is drift")


if __name__ == "__main__":
    run(main, arguments)
