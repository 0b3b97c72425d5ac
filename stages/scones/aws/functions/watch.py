"""watch: read the requests captured in the last hours, and write the model's confidence and the pictures' drift to CloudWatch.

The metrics `Watched`, `Drift`, `LowConfidenceShare` and `EstimatedAccuracy` mean the same as those of `python -m stages.loop watch`, but
only PNG files of few pixels (see `drift.decode`) are compared with the training pictures. TRAINING names the object with these,
`BUCKET/KEY`; with no key there is no `Drift`, and test pictures count, too.
"""

import base64
import json
import os
import random
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3

try:
    import answer  # type: ignore[import-not-found]
    import drift  # type: ignore[import-not-found]
except ImportError:  # in the project, not in Lambda
    from stages.scones.aws.functions import drift
    from stages.scones.endpoint import answer

MOST = 2000
"""Pictures that are compared, sampled at random: a picture takes some milliseconds, and Lambda's time is limited."""


def training() -> dict[str, Any]:
    """Return the training pictures' properties and side, and the digests of the test pictures; empty without TRAINING's key."""
    bucket, _, key = os.environ["TRAINING"].partition("/")
    if not key:
        return {}
    found: dict[str, Any] = json.loads(boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    return found


def texts(s3: Any, bucket: str, endpoint: str, since: datetime) -> Iterator[tuple[str, str]]:
    """Yield name and text of an endpoint's captured files, ENDPOINT/VARIANT/YYYY/MM/DD/HH/NAME, that are from ``since`` on."""
    prefix = f"data_capture/{endpoint}/"
    # A file is named by its first record, and collects records for about a minute.
    first = (since - timedelta(minutes=5)).strftime("%Y/%m/%d/%H")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for key in [entry["Key"] for entry in page.get("Contents", [])]:
            if "/".join(key.removeprefix(prefix).split("/")[1:5]) >= first:
                yield key, s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()


def read(line: str, classes: int) -> tuple[datetime, Any, bytes]:
    """Return time, answer and request's body of a captured record. Raise ValueError, KeyError or TypeError for anything else."""
    record = json.loads(line)
    request, reply = record["captureData"]["endpointInput"], record["captureData"]["endpointOutput"]
    body = base64.b64decode(reply["data"]) if reply["encoding"] == "BASE64" else reply["data"].encode()
    kind = "text/csv" if reply["encoding"] == "CSV" else reply.get("observedContentType") or "application/json"
    time = datetime.fromisoformat(record["eventMetadata"]["inferenceTime"])
    found = answer.read(body, kind)
    answer.distribution(list(found.probabilities), classes)
    picture = base64.b64decode(request["data"]) if request["encoding"] == "BASE64" else b""
    return time if time.tzinfo else time.replace(tzinfo=UTC), found, picture


def records(since: datetime) -> Iterator[tuple[Any, bytes]]:
    """Yield the captured answers from ``since`` on, each with its picture."""
    classes = int(os.environ["CLASSES"])
    for _, text in texts(boto3.client("s3"), os.environ["BUCKET"], os.environ["ENDPOINT"], since):
        for line in filter(None, text.splitlines()):
            try:
                time, found, picture = read(line, classes)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # the monitor reports such records
            if time >= since:
                yield found, picture


def handler(event: Any, context: object) -> dict[str, float]:
    """Write the metrics of the last HOURS and return them. Without answers, only their number, 0."""
    threshold, reference = float(os.environ["THRESHOLD"]), training()
    tests, sample, seen, chance = set(reference.get("tests", [])), list[dict[str, float]](), 0, random.Random(0)
    confidences, unsure = [], 0
    for found, picture in records(datetime.now(UTC) - timedelta(hours=float(os.environ["HOURS"]))):
        if drift.digest(picture) in tests:
            continue
        confidences.append(max(found.probabilities))
        unsure += found.known is False or confidences[-1] < threshold
        if reference:
            seen += 1
            place = len(sample) if len(sample) < MOST else chance.randrange(seen)
            if place < MOST:  # the others need not be decoded
                with suppress(ValueError):  # of a picture that can't be
                    sample[place : place + 1] = [
                        drift.measured(drift.decode(picture, reference["side"]))
                    ]  # replaces one, or appends
    values = {"Watched": float(len(confidences))}
    if confidences:
        values["LowConfidenceShare"] = unsure / len(confidences)
        values["EstimatedAccuracy"] = sum(confidences) / len(confidences)
    if sample:
        values["Drift"] = drift.drift(sample, reference["training"])
    publish(boto3.client("cloudwatch"), os.environ["ENDPOINT"], values)
    return values


def publish(cloudwatch: Any, endpoint: str, values: dict[str, float]) -> None:
    """Write an endpoint's metrics, by their names, to CloudWatch."""
    dimensions = [{"Name": "Endpoint", "Value": endpoint}]
    found = [{"MetricName": name, "Dimensions": dimensions, "Value": one} for name, one in values.items()]
    cloudwatch.put_metric_data(Namespace="Scones", MetricData=found)
