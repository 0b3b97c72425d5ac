"""Sends test cases to the deployed workflow, as a steady stream or all at once, and reports what became of them.

    python -m stages.scones.load --executions 300 --per-second 5
    python -m stages.scones.load --executions 100                    a burst

With `deploy.target: local` the workflow is deployed on this machine for it; with `aws` it has to be deployed. A failure's
cause is its error: ThresholdConfidenceNotMet is one by design.
"""

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import boto3
from tqdm import tqdm

from stages.common import config, files
from stages.common.program import InputError, run
from stages.scones import deploy
from stages.scones.aws import deployment
from stages.scones.aws.clients import account, plain_errors
from stages.scones.aws.executions import Outcome, Workflow, cases, latency
from stages.scones.aws.stack import Stack, keys
from stages.scones.aws.stand_in import local
from stages.scones.config import Deploy

REPORT = Path("reports/scones/load.json")


def summary(outcomes: Sequence[Outcome], seconds: float) -> dict[str, Any]:
    """Executions a second over all ``seconds``, how they ended, and percentiles of the time that one took."""
    failures = Counter(outcome.error or outcome.status for outcome in outcomes if outcome.status != "SUCCEEDED")
    return {
        "executions": len(outcomes),
        "seconds": round(seconds, 3),
        "executions_per_second": round(len(outcomes) / seconds, 3),
        "succeeded": len(outcomes) - failures.total(),
        "failures": dict(sorted(failures.items())),
        "latency_s": latency(outcomes),
    }


def send(
    session: boto3.Session, bucket: str, workflow: str, count: int, per_second: float | None, settings: Deploy
) -> dict[str, Any]:
    """Execute ``count`` test cases; the summary of it."""
    there = sorted(entry["Key"] for entry in keys(session, bucket, deployment.TEST))
    chosen = cases(there, count, settings.seed)
    concurrency = 50 if per_second is None else settings.concurrency
    begin = time.perf_counter()
    going = Workflow(session, workflow).execute_all(bucket, chosen, concurrency, per_second)
    outcomes = list(tqdm(going, "scones executions", count, unit=""))
    return summary(outcomes, time.perf_counter() - begin)


@plain_errors()
def main(executions: int, per_second: float | None = None) -> None:
    settings = config.load("deploy.scones", Deploy)
    if deploy.target() == "aws":
        session = account(settings.region, "deploy.scones.region")
        found = Stack(session, settings.stack).outputs()
        if not found:
            raise InputError(f"there is no stack {settings.stack}: run `python -m stages.scones.deploy` first")
        report = send(session, found["Bucket"], found["Workflow"], executions, per_second, settings)
    else:
        test = deploy.read_test()
        with local.stand_in(settings.region or "us-east-1") as session:
            deployed = deployment.deploy(session, deploy.ARCHIVE, test.pictures, settings)
            report = send(session, deployed.bucket, deployed.workflow, executions, per_second, settings)
    files.write_json(REPORT, report)
    failures = ", ".join(f"{count} {cause}" for cause, count in report["failures"].items()) or "none failed"
    print(
        f"{report['executions']} executions, {report['executions_per_second']:.1f} a second, half of them within "
        f"{report['latency_s']['p50']:.2f} s, 95 % within {report['latency_s']['p95']:.2f} s; {failures}"
    )


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--executions", type=int, default=100, help="how many test cases (default: %(default)s)")
    parser.add_argument("--per-second", type=float, help="a stream of so many; default: all at once")


if __name__ == "__main__":
    run(main, arguments)
