"""watch: read what the endpoint has captured in the last hours, and write to CloudWatch how sure it was.

The metrics `Watched`, `LowConfidenceShare` and `EstimatedAccuracy` mean the same as those of `python -m stages.loop watch`, which
also writes `Drift`: that needs the pictures' pixels, and Lambda's Python can't decode them.
"""

import base64
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3

try:
    import answer  # type: ignore[import-not-found]
except ImportError:  # in the project, not in Lambda
    from stages.scones.endpoint import answer


def texts(bucket: str, place: str, since: datetime) -> Iterator[str]:
    """Yield the captured files below ``place``, ENDPOINT/VARIANT/YYYY/MM/DD/HH/NAME, that are from ``since`` on."""
    # A file is named by its first record, and collects records for about a minute.
    s3, first = boto3.client("s3"), (since - timedelta(minutes=5)).strftime("%Y/%m/%d/%H")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=place):
        for entry in page.get("Contents", []):
            if "/".join(entry["Key"].removeprefix(place).split("/")[1:5]) >= first:
                yield s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read().decode()


def read(line: str, classes: int) -> tuple[datetime, Any]:
    """Return a record's time and answer. Raise ValueError, KeyError or TypeError for anything else."""
    record = json.loads(line)
    reply = record["captureData"]["endpointOutput"]
    body = base64.b64decode(reply["data"]) if reply["encoding"] == "BASE64" else reply["data"].encode()
    kind = "text/csv" if reply["encoding"] == "CSV" else reply.get("observedContentType") or "application/json"
    time = datetime.fromisoformat(record["eventMetadata"]["inferenceTime"])
    found = answer.read(body, kind)
    answer.distribution(list(found.probabilities), classes)
    return time if time.tzinfo else time.replace(tzinfo=UTC), found


def handler(event: Any, context: object) -> dict[str, float]:
    """Write the metrics of the last HOURS, and return them; only how many answers there were if there was none."""
    threshold, classes = float(os.environ["THRESHOLD"]), int(os.environ["CLASSES"])
    since = datetime.now(UTC) - timedelta(hours=float(os.environ["HOURS"]))
    confidences, unsure = [], 0
    for text in texts(os.environ["BUCKET"], f"data_capture/{os.environ['ENDPOINT']}/", since):
        for line in filter(None, text.splitlines()):
            try:
                time, found = read(line, classes)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # the monitor reports such records
            if time >= since:
                confidences.append(max(found.probabilities))
                unsure += found.known is False or confidences[-1] < threshold
    values = {"Watched": float(len(confidences))}
    if confidences:
        values["LowConfidenceShare"] = unsure / len(confidences)
        values["EstimatedAccuracy"] = sum(confidences) / len(confidences)
    dimensions = [{"Name": "Endpoint", "Value": os.environ["ENDPOINT"]}]
    boto3.client("cloudwatch").put_metric_data(
        Namespace="Scones",
        MetricData=[{"MetricName": name, "Dimensions": dimensions, "Value": one} for name, one in values.items()],
    )
    return values
