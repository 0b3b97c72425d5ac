"""Play the whole loop on the stand-in for AWS: night falls on a stream of pictures, and a better model comes into service.

Everything happens in a clone in a temporary folder, with a DVC remote and a stand-in of its own. The true classes take the
place of a person's labels: they are known, because the pictures are drawn.
"""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import yaml
from dvc.repo import Repo

from stages.common import config, files, temporary
from stages.common.errors import InputError
from stages.common.sources import label_table
from stages.engine.aws.clients import DeclinedError, client
from stages.experiments.records import recipes
from stages.experiments.records.git import find, git
from stages.experiments.running import clones
from stages.loop import promotion, retraining, stream, watch
from stages.loop.stream import Day
from stages.scones import layout
from stages.scones.aws.stand_in import local
from stages.scones.config import Loop, WorkflowSettings, workflow_settings
from stages.scones.endpoint import answer
from stages.scones.feedback import labelled, monitor, variants

RAW = Path("data/scones/raw")
PATIENCE = 120.0
"""Longest wait for the captured requests of a day, in seconds. The stand-in needs about one."""

SETTINGS: dict[str, Any] = {
    "deploy.target": "aws",  # which is the stand-in
    **{f"deploy.scones.{name}": None for name in ("version", "region", "image", "workflow")},
    **{f"deploy.scones.{name}": None for name in ("serverless", "scaling", "challenger")},
    "deploy.scones.capture_percentage": 100,
    "deploy.scones.executions": 20,
    "deploy.scones.instance_count": 2,
    "deploy.scones.update.traffic": "canary",
    "deploy.scones.update.fraction": 0.5,
}
"""The film's own parameters: each request is captured, and a canary takes the first requests of a new model."""


def play(limits: Loop, yes: bool) -> dict[str, Any]:
    """Return a record of each day and of each candidate. Nothing is written to the repository.

    Raise InputError without prepared data, or for classes that the sample can't draw.
    """
    about = files.read_json(files.require(RAW, "prepare@scones") / "about.json")
    with temporary.folder("film") as folder:
        if about["source"] == "sample":
            stream_of_days, settings_of_data = stream.drawn(limits.film, about["classes"]), {}
        else:
            stream_of_days = stream.taken(RAW, folder / "source", limits.film, about["classes"])
            settings_of_data = {"data.scones.source": str(folder / "source")}
        clones.freeze(folder)
        with chdir(folder / clones.TEMPLATE), local.stand_in("us-east-1") as session:
            first = opened(folder, SETTINGS | settings_of_data)
            settings, classes = workflow_settings(), monitor.class_names()
            days: list[dict[str, Any]] = []
            candidates: list[dict[str, Any]] = []
            version, declined = first, False
            for number, pictures in enumerate(stream_of_days):
                days.append({"day": number + 1, "version": version, **one_day(session, settings, limits, pictures)})
                print(summary(days[-1]), flush=True)
                label(pictures, classes)
                if days[-1]["beyond"] and not declined and not retraining.missing(classes, limits):
                    candidates.append({"day": number + 1, **candidate(limits, yes)})
                    version = candidates[-1]["version"] or version
                    declined = candidates[-1]["declined"]
    return {"nightfall": limits.film.nightfall + 1, "days": days, "candidates": candidates}


def opened(folder: Path, changes: Mapping[str, Any]) -> str:
    """Set up this clone for releases, with ``changes`` of its parameters. Deploy and release its model. Return the version."""
    parameters = recipes.applied(config.read(), dict(changes))
    config.PARAMETERS.write_text(yaml.safe_dump(parameters, sort_keys=False), encoding="utf-8")
    with Repo() as repo:
        with repo.config.edit("local") as own:
            own.get("core", {}).clear()
            own.get("remote", {}).clear()
        with repo.config.edit("repo") as shared:
            shared.setdefault("core", {})["remote"] = "film"
            shared.setdefault("remote", {})["film"] = {"url": str(folder / "storage")}
    for name, value in (("user.name", "film"), ("user.email", "film@localhost")):
        if find("config", name) is None:
            git("config", name, value)
    git("config", "commit.gpgsign", "false")
    _dvc("repro", "--quiet", *retraining.TARGETS)
    git("commit", "--quiet", "--all", "--message", "The film's parameters")
    version = promotion.following()
    promotion.promote(Path(), version)
    return version


def one_day(session: boto3.Session, settings: WorkflowSettings, limits: Loop, pictures: Day) -> dict[str, Any]:
    """Send a day's pictures to the endpoint and watch. Return the accuracy with its interval, and the watch's measurements."""
    names = watch.deployed(session, settings)
    # Captured requests have times in whole seconds.
    since = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    time.sleep((since - datetime.now(UTC)).total_seconds())
    runtime, right = client(session, "sagemaker-runtime"), 0
    request = {
        "EndpointName": names["Endpoint"],
        "ContentType": "image/png",
        "Accept": "application/json; verbose=true",
    }
    for image, truth in zip(pictures.images, pictures.labels, strict=True):
        found = runtime.invoke_endpoint(**request, Body=layout.png(image))
        probabilities = answer.read(found["Body"].read()).probabilities
        right += probabilities.index(max(probabilities)) == truth
    deadline = time.monotonic() + PATIENCE
    while len(watch.read(session, names, since).records) < len(pictures.images):
        if time.monotonic() > deadline:
            raise InputError(f"the captured requests of a day did not arrive within {PATIENCE:.0f} s")
        time.sleep(0.2)
    seen = watch.look(session, settings, limits, since)
    accuracy = variants.fraction(right, len(pictures.images))
    return {**asdict(seen), "accuracy": accuracy, "estimated": seen.accuracy, "beyond": seen.beyond(limits)}


def label(pictures: Day, classes: Sequence[str]) -> None:
    """Label the collected pictures of a day with the truth, as a person would, and commit them."""
    names = (variants.picture_name(layout.png(image)) for image in pictures.images)
    truth = dict(zip(names, (classes[label] for label in pictures.labels), strict=True))
    table = labelled.FOLDER / label_table.TABLE
    header, numbered = label_table.read(table)
    rows = [row | {"label": row["label"] or truth.get(row["file"], "")} for _, row in numbered]
    label_table.write(table, header, rows)
    git("add", str(labelled.FOLDER))
    if git("status", "--porcelain", "--", str(labelled.FOLDER)):
        git("commit", "--quiet", "--message", "Labelled pictures of the stream")


def candidate(limits: Loop, yes: bool) -> dict[str, Any]:
    """Retrain. Return the version of the candidate, if it serves now, or why it doesn't."""
    try:
        verdict, version = retraining.retrain(limits, yes)
    except DeclinedError:
        return {"version": "", "declined": True, "failures": ["a person did not agree"]}
    if version:
        git("switch", "--quiet", promotion.branch(version))
        _dvc("checkout", "--quiet", "--force", "--with-deps", promotion.DEPLOY, retraining.TARGETS[1])
    return {"version": version, "declined": False, **asdict(verdict)}


def summary(day: Mapping[str, Any]) -> str:
    """Return a line about a day."""
    line = (
        f"day {day['day']}, {day['version']}: {day['accuracy']['value']:.1%} right, estimated {day['estimated']:.1%}, "
        f"drift {day['drift']:.2f}, {day['low_confidence']:.0%} unsure"
    )
    return f"{line}; a retraining is proposed: {'; '.join(day['beyond'])}" if day["beyond"] else line


def _dvc(*arguments: str) -> None:
    command = [sys.executable, "-m", "stages.experiments.running.quick_dvc", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"dvc {arguments[0]} failed: {' '.join((done.stderr or done.stdout).split())[-300:]}")
