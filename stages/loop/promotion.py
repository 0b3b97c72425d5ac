"""Put a model into service: deploy it over the former one, with the canary of `deploy.scones.update`, and release it.

The release is made in the copy in which the candidate was trained. The repository gets its tag and a branch; its working
folder does not change.
"""

import os
import subprocess
import sys
from pathlib import Path

import boto3
from dvc.repo import Repo

from stages.common.errors import InputError
from stages.common.models import registry
from stages.engine.aws.clients import client
from stages.experiments import release
from stages.experiments.records.git import git
from stages.loop.judging import PROJECT
from stages.scones.config import WorkflowSettings

DEPLOY = f"deploy@{PROJECT}"


def following() -> str:
    """Return the version after the last registered one: its minor number rises. The first is v1.0.0."""
    there = registry.versions(PROJECT)
    if not there:
        return "v1.0.0"
    major, minor, _ = registry.number(there[-1])
    return f"v{major}.{minor + 1}.0"


def check(version: str) -> None:
    """Raise InputError if the release would fail. This is known before hours of training."""
    release.follows(PROJECT, version)
    with Repo() as repo:
        release.reachable(repo)
    if git("branch", "--list", branch(version)):
        raise InputError(f"the branch {branch(version)} already exists: run `git branch --delete {branch(version)}`")


def unalarmed(session: boto3.Session, settings: WorkflowSettings) -> None:
    """Raise InputError if an alarm that would roll back the update is already on, because of the model to be replaced."""
    names = [f"{settings.stack}-endpoint-{what}" for what in ("errors", "latency", "confidence")]
    alarms = client(session, "cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    # The stand-in returns all of these names, whatever state is asked for.
    found = [alarm["AlarmName"] for alarm in alarms if alarm["StateValue"] == "ALARM"]
    if found:
        raise InputError(
            f"the alarm {found[0]} is on, so that SageMaker would take the update back: raise its limit in params.yaml "
            "(deploy.scones.low_confidence_share, update.errors or update.latency), deploy, and run this again"
        )


def branch(version: str) -> str:
    return f"{PROJECT}-{version}"


def promote(copy: Path, version: str) -> None:
    """Deploy the model that was exported in ``copy``, a clone of this repository, commit its results and release it.

    Raise InputError with the reason if the deployment or the release fails. Then nothing is released. If an alarm was on during
    the deployment, the former model stays in service.
    """
    _run(copy, "stages.scones.deploy", "--yes")
    _run(copy, "dvc", "commit", "--quiet", "--force", DEPLOY)
    git("switch", "--quiet", "--create", branch(version), folder=copy)
    git("add", "--update", folder=copy)
    git("add", "reports", folder=copy)
    git("commit", "--quiet", "--message", f"{PROJECT} {version}, trained with pictures of the stream", folder=copy)
    _run(copy, "dvc", "push", "--quiet", "--with-deps", DEPLOY, f"plot@{PROJECT}")
    _run(copy, "stages.experiments.release", PROJECT, version)
    git("push", "--quiet", str(Path.cwd()), branch(version), f"{PROJECT}@{version}", folder=copy)


def _run(copy: Path, module: str, *arguments: str) -> None:
    """Run a module of ``copy``. Raise InputError with its last line if it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines() or [f"exit code {done.returncode}"]
        raise InputError(f"{module}: {said[-1].removeprefix('error: ').removeprefix('ERROR: ')}")
