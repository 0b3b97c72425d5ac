"""digest: send one message about the last hours' executions, instead of one for each failure. Without failures, send none."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3

METRICS = {
    "failed": ("Scones/{stack}", "Failed", {}, "Sum"),
    "failed by design": ("Scones/{stack}", "FailedByDesign", {}, "Sum"),
    "pictures that were judged": ("Scones", "LowConfidence", {"Workflow": "{name}"}, "SampleCount"),
    "confidence below the threshold": ("Scones", "LowConfidence", {"Workflow": "{name}"}, "Sum"),
    "pictures of none of the classes": ("Scones", "Unknown", {"Workflow": "{name}"}, "Sum"),
    "timed out": ("AWS/States", "ExecutionsTimedOut", {"StateMachineArn": "{arn}"}, "Sum"),
    "aborted": ("AWS/States", "ExecutionsAborted", {"StateMachineArn": "{arn}"}, "Sum"),
}
"""The counted metrics, by name in the message: namespace, metric, dimensions and statistic."""


def counts(hours: float) -> dict[str, int]:
    """Return how often each of METRICS has happened in the last ``hours``."""
    cloudwatch, now = boto3.client("cloudwatch"), datetime.now(UTC)
    arn = os.environ["WORKFLOW"]
    names = {"stack": os.environ["STACK"], "arn": arn, "name": arn.rsplit(":", 1)[1]}
    found = {}
    for what, (namespace, metric, dimensions, statistic) in METRICS.items():
        points = cloudwatch.get_metric_statistics(
            Namespace=namespace.format(**names),
            MetricName=metric,
            Dimensions=[{"Name": name, "Value": value.format(**names)} for name, value in dimensions.items()],
            StartTime=now - timedelta(hours=hours),
            EndTime=now + timedelta(seconds=1),
            Period=3600,
            Statistics=[statistic],
        )["Datapoints"]
        found[what] = round(sum(point[statistic] for point in points))
    found["failed"] -= found.pop("failed by design")
    return found


def handler(event: Any, context: object) -> dict[str, int]:
    """Publish the counts of the last HOURS to TOPIC if there is anything to report. Return them."""
    hours = float(os.environ["HOURS"])
    found = counts(hours)
    if any(count for what, count in found.items() if what != "pictures that were judged"):
        lines = [f"{what}: {count}" for what, count in found.items()]
        boto3.client("sns").publish(
            TopicArn=os.environ["TOPIC"],
            Subject=f"{os.environ['STACK']}: executions of the last {hours:g} hours",
            Message="\n".join(lines),
        )
    return found
