"""Deploy the workflow with the exported model, execute test cases, and check each execution and each captured request.

With `deploy.target: local`, a process on this machine stands in for AWS and ends afterwards; 100 executions take 25 s
of one core. With `aws`, the workflow is deployed to the account of the usual AWS credentials, after a question, and
stays until `destroy`. Files, template and checks are the same. With `deploy.scones.version` set, deploy that release
and compare it with its own evaluation. A second run changes only what differs.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import boto3
import numpy as np
from numpy.typing import NDArray

from stages.common import clocks, config, files
from stages.common.errors import InputError
from stages.common.models import registry
from stages.common.program import run
from stages.engine.aws.clients import account, agree, estimate, plain_errors
from stages.scones import layout
from stages.scones.aws import deployment, trial
from stages.scones.aws.executions import cases, latency
from stages.scones.aws.stand_in import local
from stages.scones.config import WorkflowSettings, workflow_settings
from stages.scones.feedback.captures import Captured

FEATURES = Path("data/scones/features")
EVALUATION = Path("reports/scones/evaluation")
ARCHIVE = Path("models/scones/export/model.tar.gz")
REPORT = Path("reports/scones/deploy.json")
CAPTURED = Path("reports/scones/captured")

COMMAND = "python -m stages.scones.deploy"

TOLERANCE = 1e-4
"""Largest allowed difference between a served probability and evaluate's."""


class Test(NamedTuple):
    """A model's archive with the test set: by name the PNG file, the label, evaluate's probabilities (classes) and familiarity.

    A release from before familiarity was measured has none.
    """

    archive: Path
    source: str
    pictures: dict[str, bytes]
    labels: dict[str, int]
    probabilities: dict[str, NDArray[np.float32]]
    familiarity: dict[str, float]


@contextmanager
def opened(settings: WorkflowSettings) -> Iterator[Test]:
    """Provide the model of `settings.version` and its test set during the block."""
    with registry.opened("scones", settings.version, [ARCHIVE, EVALUATION, FEATURES]) as root:
        yield read_test(root)


def read_test(root: Path = Path()) -> Test:
    """Return the model below ``root`` and its test set."""
    archive = files.require(root / ARCHIVE, "export@scones")
    expected = np.load(files.require(root / EVALUATION, "evaluate@scones") / "probabilities.npy")
    with np.load(files.require(root / FEATURES, "featurize@scones") / "test.npz") as test:
        names = [str(name) for name in test["names"]]
        pictures = {name: layout.png(image) for name, image in zip(names, test["images"], strict=True)}
        labels = dict(zip(names, map(int, test["labels"]), strict=True))
    source = files.read_json(root / FEATURES / "about.json")["source"]
    stored = root / EVALUATION / "familiarity.npy"
    familiarity = dict(zip(names, np.load(stored).tolist(), strict=True)) if stored.exists() else {}
    return Test(archive, source, pictures, labels, dict(zip(names, expected, strict=True)), familiarity)


def compare(answers: Mapping[str, Captured], asked: Set[str], test: Test) -> None:
    """Raise InputError unless each picture in ``asked`` has an answer and all answers match evaluate's."""
    without = sorted(asked - answers.keys())
    if without or not answers:
        raise InputError(
            f"{ARCHIVE}: the deployed model answered {len(answers)} pictures but not {len(without)} others {without[:3]}: "
            "expected one answer for each test case"
        )
    for name, answer in answers.items():
        expected, probabilities, familiarity = (
            test.probabilities[name],
            answer.probabilities,
            test.familiarity.get(name, 0.0),
        )
        if len(expected) != len(probabilities) or not np.abs(expected - probabilities).max() <= TOLERANCE:
            raise InputError(
                f"{ARCHIVE}: {name}: found the probabilities {probabilities}, expected evaluate's {expected.tolist()} "
                f"within {TOLERANCE:g}"
            )
        if abs(familiarity) > TOLERANCE and answer.known is not (familiarity > 0):
            raise InputError(
                f"{ARCHIVE}: {name}: found known = {answer.known}, expected {familiarity > 0}, as evaluate's familiarity is {familiarity:g}"
            )


def measure(done: trial.Trial, test: Test) -> dict[str, float | None]:
    """Return counts of executions, and the fraction of correct classes among the successful ones (None if there are none)."""
    passed = [outcome for outcome in done.outcomes if outcome.status == "SUCCEEDED"]
    unknown = sum(outcome.error == trial.UNKNOWN for outcome in done.outcomes)
    right = [int(np.argmax(one.probabilities)) == test.labels[one.key.removeprefix(deployment.TEST)] for one in passed]
    return {
        "executions": len(done.outcomes),
        "succeeded": len(passed),
        "below_threshold": len(done.outcomes) - len(passed) - unknown,
        "unknown": unknown,
        "accuracy_succeeded": round(float(np.mean(right)), 6) if right else None,
    }


def put_to_the_test(session: boto3.Session, settings: WorkflowSettings, test: Test) -> None:
    """Deploy, execute, compare, and write the reports."""
    begin = time.perf_counter()
    deployed = deployment.deploy(session, test.archive, test.pictures, settings)
    deploying = time.perf_counter() - begin
    print("\n".join(deployed.done))
    chosen = cases(sorted(test.pictures), settings.executions, settings.seed)
    done = trial.run(session, deployed, chosen, settings.concurrency)
    trial.check(done, test.pictures, settings.threshold)
    elsewhere = trial.answers(done, test.pictures, deployment.CHALLENGER)
    compare(trial.answers(done, test.pictures, deployment.MODEL), set(chosen) - elsewhere.keys(), test)
    report = {"version": settings.version, "data": test.source, **measure(done, test)}
    with files.new_folder(CAPTURED) as folder:
        for key, text in done.captured.items():
            (folder / key.rsplit("/", 1)[1]).write_text(text, encoding="utf-8")
    files.write_json(REPORT, report)
    speed = {
        "deploy_s": round(deploying, 3),
        "first_execution_s": round(done.outcomes[0].seconds, 3),
        "executions_per_second": round((len(done.outcomes) - 1) / done.seconds, 3) if len(done.outcomes) > 1 else 0.0,
        "execution_s": latency(done.outcomes[1:] or done.outcomes),
    }
    clocks.write("deploy@scones", test.archive.parent, speed)
    counts = (
        f"{report['succeeded']} succeeded, {report['below_threshold']} were below the threshold {settings.threshold:g}, "
        f"{report['unknown']} had an unknown picture"
    )
    print(f"{report['executions']} executions: {counts}; each matches its confidence and has one captured record")


def target() -> str:
    """Return deploy.target: local or aws."""
    found = config.read().get("deploy", {}).get("target")
    if found not in ("local", "aws"):
        raise InputError(f"{config.PARAMETERS}: deploy.target = {found!r} is not allowed: expected local or aws")
    return str(found)


def on_this_machine(settings: WorkflowSettings, test: Test) -> None:
    with local.stand_in(settings.region or "us-east-1") as session:
        put_to_the_test(session, settings, test)
        deployment.destroy(session, settings)


def plan(settings: WorkflowSettings, region: str) -> str:
    variants = 2 if settings.challenger else 1
    return (
        f"This creates the stacks {settings.stack} and {settings.stack}-artifacts in your AWS account, region {region}: two buckets, three "
        f"functions, two state machines, an endpoint with {variants} model(s), a topic, two alarms, their roles and logs.\n"
        f"{estimate(settings.instance_type, variants * settings.instance_count, region, 24 * 30, '30 days')}\n"
        f"`{COMMAND} destroy` removes all of it."
    )


def on_aws(settings: WorkflowSettings, action: str, yes: bool) -> None:
    session = account(settings.region, "deploy.scones.region")
    if action == "destroy":
        names = f"{settings.stack} and {settings.stack}-artifacts"
        what = f"This removes the stacks {names} in region {session.region_name} and everything in them."
        agree(what, yes, f"{COMMAND} destroy")
        removed = deployment.destroy(session, settings)
        print("\n".join(f"removed: {line}" for line in removed) or "there was nothing to remove")
        return
    with opened(settings) as test:
        agree(plan(settings, session.region_name), yes, COMMAND)
        put_to_the_test(session, settings, test)


@plain_errors()
def main(action: str = "deploy", yes: bool = False) -> None:
    settings = workflow_settings()
    # Local deployments do not persist, so destroy always refers to AWS, whatever the current target.
    if action == "destroy" or target() == "aws":
        on_aws(settings, action, yes)
    else:
        with opened(settings) as test:
            on_this_machine(settings, test)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", default="deploy", choices=["deploy", "destroy"])
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")


if __name__ == "__main__":
    run(main, arguments)
