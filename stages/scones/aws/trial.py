"""Test a deployed workflow: run executions, read their captured records, and check that the two agree."""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime

import boto3
from tqdm import tqdm

from stages.common.errors import InputError
from stages.engine.aws.buckets import keys
from stages.engine.aws.clients import client
from stages.scones.aws.deployment import CAPTURED, TEST, Deployed
from stages.scones.aws.executions import Outcome, Workflow, message
from stages.scones.feedback import captures

BELOW = "ThresholdConfidenceNotMet"
"""The error of an execution whose confidence is below the threshold."""

UNKNOWN = "UnknownPictureError"
"""The error of an execution whose picture resembles none of the classes."""

PATIENCE = 900.0
"""Seconds in which all captured records have to arrive. SageMaker writes them after about a minute."""

QUIET = 1.5
"""Seconds without a new record after which no more are expected. The stand-in's capture collects records for less."""


@dataclass(frozen=True)
class Trial:
    """The result of some test cases: an outcome each, and the captured files by name."""

    outcomes: list[Outcome]
    captured: dict[str, str]
    seconds: float
    """Of all executions except the first, which waited for everything to start."""


def run(
    session: boto3.Session,
    deployed: Deployed,
    cases: Sequence[str],
    concurrency: int,
    workflow_arn: str | None = None,
    captured: bool = True,
) -> Trial:
    """Execute ``cases``, the names of test pictures, and wait for their captured records unless none are ``captured``.

    ``workflow_arn``: of another state machine than the deployment's.
    """
    before = {entry["Key"] for entry in keys(session, deployed.bucket, CAPTURED)}
    workflow = Workflow(session, workflow_arn or deployed.workflow)
    objects = [f"{TEST}{name}" for name in cases]
    first = workflow.execute(deployed.bucket, objects[0])
    begin = time.perf_counter()
    others = workflow.execute_all(deployed.bucket, objects[1:], concurrency)
    outcomes = [first, *tqdm(others, "scones executions", len(objects) - 1, unit="")]
    seconds = time.perf_counter() - begin
    records = _captured(session, deployed, before, outcomes) if captured else {}
    return Trial(outcomes, records, seconds)


def _captured(
    session: boto3.Session, deployed: Deployed, before: Set[str], outcomes: Sequence[Outcome]
) -> dict[str, str]:
    """Return the captured records of ``outcomes``, from files that did not exist ``before``.

    Wait for a record of each execution that got an answer, and then as long again, to detect surplus records.
    """
    executions = {one.execution for one in outcomes}
    expected = sum(one.status == "SUCCEEDED" or one.error in (BELOW, UNKNOWN) for one in outcomes)
    s3, found, own = client(session, "s3"), dict[str, str](), dict[str, str]()
    begin, count, last = time.monotonic(), 0, 0.0
    while (waited := time.monotonic() - begin) < PATIENCE:
        listed = [entry["Key"] for entry in keys(session, deployed.bucket, CAPTURED)]
        new = [key for key in listed if key not in before and key not in found]
        for key in new:
            found[key] = s3.get_object(Bucket=deployed.bucket, Key=key)["Body"].read().decode("utf-8")
        if new:
            own = records_of(executions, found)
            known, count = count, sum(text.count("\n") for text in own.values())
            last = waited if count > known else last
        if count >= expected and waited - last >= max(QUIET, last):
            break
        time.sleep(0.2)
    if count < expected:
        raise InputError(
            f"s3://{deployed.bucket}/{CAPTURED}: found {count} captured records {PATIENCE:.0f} s after {expected} answers, "
            "expected one per answer"
        )
    return own


def records_of(executions: Set[str], captured: Mapping[str, str]) -> dict[str, str]:
    """Return the lines of ``captured`` (texts by name) of ``executions``: one each, unless one is lost or duplicate.

    The workflow gives each request the id EXECUTION.TRY. Requests of other users are left out, and so are all tries of an
    execution except its last. If no request has such an id, all lines are returned.
    """
    asked = [(name, line, *_execution_and_try(line)) for name, text in captured.items() for line in text.splitlines()]
    last: dict[str, int] = {}
    for _, _, execution, number in asked:
        if execution in executions:
            last[execution] = max(number, last.get(execution, 0))
    if not last:
        return dict(captured)
    own: dict[str, str] = {}
    for name, line, execution, number in asked:
        if last.get(execution) == number:
            own[name] = f"{own.get(name, '')}{line}\n"
    return own


def _execution_and_try(line: str) -> tuple[str, int]:
    """Return execution and try from the id of a captured request, ("", 0) if it has no such id."""
    execution, _, number = str(json.loads(line)["eventMetadata"].get("inferenceId", "")).rpartition(".")
    return (execution, int(number)) if number.isdecimal() else ("", 0)


def check(trial: Trial, pictures: Mapping[str, bytes], threshold: float) -> None:
    """Raise InputError unless every execution ended as its confidence requires, and one record was captured of each.

    An execution passes the answer on, or fails with the error for an unknown picture or with the threshold's. The records
    contain the answers.
    """
    ended = Counter((pictures[one.key.removeprefix(TEST)], _end(one)) for one in trial.outcomes)
    lines = [(name, line) for name, text in trial.captured.items() for line in text.splitlines()]
    read = [captures.read([line]) for line in lines]  # one by one: read together, a duplicate record would count once
    problems = [problem for one in read for problem in one.problems]
    if problems:
        raise InputError(f"captured records can't be read: {problems[0]} ({len(problems)} such records)")
    records = [record for one in read for record in one.records]
    told = Counter((one.image, _due(one, threshold)) for one in records)
    if ended != told:
        name = {image: name for name, image in pictures.items()}
        without = [f"{name[image]} ended with {end}" for image, end in (ended - told).elements()]
        beyond = [f"{name.get(image, 'another picture')}: {answer}" for image, answer in (told - ended).elements()]
        raise InputError(
            f"executions and captured records disagree with the threshold {threshold:g}: no record for {without[:3]} "
            f"({len(without)} of them), no execution for {beyond[:3]} ({len(beyond)} of them)"
        )


def _due(record: captures.Captured, threshold: float) -> tuple[float, ...] | str:
    if record.known is False:
        return UNKNOWN
    return record.probabilities if record.passes(threshold) else BELOW


def _end(outcome: Outcome) -> tuple[float, ...] | str:
    if outcome.status == "SUCCEEDED":
        return outcome.probabilities
    return outcome.error if outcome.error in (BELOW, UNKNOWN) else f"{outcome.error}: {message(outcome)}"


def passed(trial: Trial) -> dict[str, captures.Captured]:
    """Return the outputs of the successful executions by picture name, for deployments that don't capture requests."""
    now = datetime.now(UTC)
    return {
        one.key.removeprefix(TEST): captures.Captured("", now, b"", "image/png", one.probabilities, True)
        for one in trial.outcomes
        if one.status == "SUCCEEDED"
    }


def answers(trial: Trial, pictures: Mapping[str, bytes], variant: str) -> dict[str, captures.Captured]:
    """Return a record, with the answer of the endpoint's ``variant``, of each test picture that it received, by name."""
    own = {key: text for key, text in trial.captured.items() if key.split("/")[2] == variant}
    answered = {record.image: record for record in captures.read(own.items()).records}
    return {name: answered[image] for name, image in pictures.items() if image in answered}
