"""Send test cases to the deployed workflow, as a steady stream or all at once, and report the results.

    python -m stages.scones.load --executions 300 --per-second 5
    python -m stages.scones.load --executions 100                    a burst

With `deploy.target: local` this deploys the workflow on this machine. With `aws` it must already be deployed. Failures
are counted by their error. ThresholdConfidenceNotMet and UnknownPictureError are failures by design. A test case that AWS refuses to start is a
failure, too.
"""

import argparse
import math
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from tqdm import tqdm

from stages.common import files
from stages.common.errors import InputError
from stages.common.program import run
from stages.engine.aws.buckets import keys
from stages.engine.aws.clients import account, plain_errors
from stages.engine.aws.stack import Stack
from stages.scones import deploy
from stages.scones.aws import deployment, evaluated
from stages.scones.aws.executions import Outcome, Workflow, cases, event, latency
from stages.scones.aws.preflight import COMMAND
from stages.scones.aws.stand_in import local
from stages.scones.config import WorkflowSettings, workflow_settings

REPORT = Path("reports/scones/load.json")

CONCURRENCY = 50
"""Executions that are started at the same time, equal to the number of connections to AWS."""

REFUSED = "REFUSED"
"""The status of a test case that AWS refused to start or to report on."""


class Sent(NamedTuple):
    """The outcome of a test case, and its start and end in seconds after the first one's scheduled start.

    The start is by this machine's clock, the time until the end by Step Functions'.
    """

    outcome: Outcome
    start: float
    end: float


def summary(sent: Sequence[Sent], per_second: float | None) -> dict[str, Any]:
    """Return executions per second, how they ended, and percentiles of their duration."""
    outcomes = [one.outcome for one in sent]
    failures = Counter(outcome.error or outcome.status for outcome in outcomes if outcome.status != "SUCCEEDED")
    done = [outcome for outcome in outcomes if outcome.status != REFUSED]
    starts, end = [one.start for one in sent], max(one.end for one in sent)
    starting = max(starts) - min(starts)
    return {
        "executions": len(outcomes),
        "asked_per_second": per_second,
        "started_per_second": round((len(starts) - 1) / starting, 3) if starting else None,
        "executions_per_second": round(len(done) / (end - min(starts)), 3),
        "start_to_end_s": round(end - min(starts), 3),
        "succeeded": len(outcomes) - failures.total(),
        "failures": dict(sorted(failures.items())),
        "latency_s": latency(done) if done else None,
    }


def stream(workflow: Workflow, bucket: str, chosen: Sequence[str], per_second: float | None) -> list[Sent]:
    """Start an execution for each picture ``chosen`` when it is due, without a rate as soon as possible, and wait for all of them.

    It does not poll for their ends meanwhile: that would need more requests than the executions themselves.
    """
    begin = time.monotonic()

    def send(index: int, key: str) -> tuple[float, str, Outcome | None]:
        if per_second is not None:
            time.sleep(max(0.0, begin + index / per_second - time.monotonic()))
        start = time.monotonic() - begin
        try:
            return start, workflow.start(event(bucket, key)), None
        except (ClientError, BotoCoreError) as error:
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
            return start, "", Outcome(key, REFUSED, (), code, str(error), 0.0)

    with ThreadPoolExecutor(CONCURRENCY) as pool:
        starting = pool.map(send, range(len(chosen)), chosen)
        sent = list(tqdm(starting, "scones executions", len(chosen), unit=""))
    outcomes = workflow.outcomes({arn: key for (_, arn, _), key in zip(sent, chosen, strict=True) if arn})
    ended = [(start, refused or outcomes[arn]) for start, arn, refused in sent]
    return [Sent(outcome, start, start + outcome.seconds) for start, outcome in ended]


def load(
    session: boto3.Session, bucket: str, workflow: str, count: int, per_second: float | None, settings: WorkflowSettings
) -> dict[str, Any]:
    """Execute ``count`` test cases and return their summary. Raises InputError if there are no test pictures."""
    there = sorted(entry["Key"] for entry in keys(session, bucket, deployment.TEST))
    if not there:
        raise InputError(f"s3://{bucket}/{deployment.TEST}: found no test pictures: run `{COMMAND}`")
    sent = stream(Workflow(session, workflow), bucket, cases(there, count, settings.seed), per_second)
    return summary(sent, per_second)


@plain_errors()
def main(executions: int, per_second: float | None = None) -> None:
    if executions < 1:
        raise InputError(f"--executions {executions} is not allowed: expected 1 or more")
    if per_second is not None and not 0 < per_second < math.inf:
        raise InputError(f"--per-second {per_second:g} is not allowed: expected more than 0")
    settings = workflow_settings()
    if deploy.target() == "aws":
        session = account(settings.region, "deploy.scones.region")
        found = Stack(session, settings.stack).outputs()
        if not found:
            raise InputError(f"there is no stack {settings.stack}: run `{COMMAND}` first")
        report = load(session, found["Bucket"], found["Workflow"], executions, per_second, settings)
    else:
        with evaluated.opened(settings) as test, local.stand_in(settings.region or deploy.REGION) as session:
            deployed = deployment.deploy(session, test.archive, test.pictures, settings, test.training)
            report = load(session, deployed.bucket, deployed.workflow, executions, per_second, settings)
    files.write_json(REPORT, report)
    print(_summary(report))


def _summary(report: dict[str, Any]) -> str:
    failures = ", ".join(f"{count} {cause}" for cause, count in report["failures"].items()) or "none failed"
    counts = f"{report['executions']} executions in {report['start_to_end_s']:.1f} s"
    if report["asked_per_second"] and report["started_per_second"]:
        counts += f", {report['started_per_second']:.2f} started per second, {report['asked_per_second']:g} requested"
    took = report["latency_s"]
    times = f", half of them within {took['p50']:.2f} s, 95 % within {took['p95']:.2f} s" if took else ""
    return f"{counts}, {report['executions_per_second']:.1f} per second{times}; {failures}"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--executions", type=int, default=100, help="number of test cases (default: %(default)s)")
    parser.add_argument("--per-second", type=float, help="executions to start per second (default: all at once)")


if __name__ == "__main__":
    run(main, arguments)
