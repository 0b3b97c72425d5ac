"""Puts a deployed workflow to the test: executions, what was captured of them, and whether the two agree."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import boto3
from tqdm import tqdm

from stages.common.program import InputError
from stages.scones.aws import captures
from stages.scones.aws.clients import client
from stages.scones.aws.deployment import CAPTURED, TEST, Deployed
from stages.scones.aws.executions import Outcome, Workflow, message
from stages.scones.aws.stack import keys

BELOW = "ThresholdConfidenceNotMet"
"""The error of an execution whose confidence is below the threshold."""

PATIENCE = 900.0
"""Seconds until everything that was captured has to be there; SageMaker writes after a minute or so."""


@dataclass(frozen=True)
class Trial:
    """What came of some test cases: an outcome each, and the captured files by name."""

    outcomes: list[Outcome]
    captured: dict[str, str]
    seconds: float
    """Of all executions but the first, which waited for everything to start."""


def run(session: boto3.Session, deployed: Deployed, cases: Sequence[str], concurrency: int) -> Trial:
    """Execute ``cases``, the names of test pictures, and wait for what is captured of them."""
    before = {entry["Key"] for entry in keys(session, deployed.bucket, CAPTURED)}
    workflow = Workflow(session, deployed.workflow)
    places = [f"{TEST}{name}" for name in cases]
    first = workflow.execute(deployed.bucket, places[0])
    begin = time.perf_counter()
    others = workflow.execute_all(deployed.bucket, places[1:], concurrency)
    outcomes = [first, *tqdm(others, "scones executions", len(places) - 1, unit="")]
    seconds = time.perf_counter() - begin
    return Trial(outcomes, _captured(session, deployed, before, len(cases)), seconds)


def _captured(session: boto3.Session, deployed: Deployed, before: set[str], count: int) -> dict[str, str]:
    """The files with at least ``count`` records that were not there ``before``."""
    s3, found = client(session, "s3"), dict[str, str]()
    deadline = time.monotonic() + PATIENCE
    while sum(text.count("\n") for text in found.values()) < count:
        if time.monotonic() > deadline:
            raise InputError(
                f"s3://{deployed.bucket}/{CAPTURED}: found {sum(text.count(chr(10)) for text in found.values())} captured records "
                f"{PATIENCE:.0f} s after {count} requests, expected one a request"
            )
        time.sleep(0.2 if not found else 1.0)
        for entry in keys(session, deployed.bucket, CAPTURED):
            if entry["Key"] not in before | set(found):
                body = s3.get_object(Bucket=deployed.bucket, Key=entry["Key"])["Body"].read()
                found[entry["Key"]] = body.decode("utf-8")
    return found


def check(trial: Trial, pictures: Mapping[str, bytes], threshold: float) -> None:
    """Raises InputError unless every execution has ended as its confidence says, and one record was captured of each.

    An execution passes the answer on, or fails with the threshold's error; the records say what the answers were.
    """
    ended = Counter((pictures[one.key.removeprefix(TEST)], _end(one)) for one in trial.outcomes)
    records = captures.read(trial.captured.items()).records
    told = Counter((one.image, one.probabilities if one.confidence >= threshold else BELOW) for one in records)
    if ended != told:
        name = {image: name for name, image in pictures.items()}
        without = [f"{name[image]} ended with {end}" for image, end in (ended - told).elements()]
        beyond = [f"{name.get(image, 'another picture')}: {answer}" for image, answer in (told - ended).elements()]
        raise InputError(
            f"executions and captured records disagree with the threshold {threshold:g}: no record for {without[:3]} "
            f"({len(without)} of them), no execution for {beyond[:3]} ({len(beyond)} of them)"
        )


def _end(outcome: Outcome) -> tuple[float, ...] | str:
    if outcome.status == "SUCCEEDED":
        return outcome.probabilities
    return BELOW if outcome.error == BELOW else f"{outcome.error}: {message(outcome)}"


def answers(trial: Trial, pictures: Mapping[str, bytes], variant: str) -> dict[str, tuple[float, ...]]:
    """The probabilities that the endpoint's ``variant`` gave to the test pictures that it was asked about."""
    own = {key: text for key, text in trial.captured.items() if key.split("/")[2] == variant}
    known = {record.image: record.probabilities for record in captures.read(own.items()).records}
    return {name: known[image] for name, image in pictures.items() if image in known}
