"""watch: read the requests captured in the last hours, and write the model's confidence and the pictures' drift to CloudWatch.

The metrics `Watched`, `Drift`, `LowConfidenceShare` and `EstimatedAccuracy` mean the same as those of `python -m stages.loop watch`, but
only PNG files, which the workflow sends, are compared with the training pictures. TRAINING names the object with these,
`BUCKET/KEY`; with no key there is no `Drift`, and test pictures count, too.
"""

import base64
import json
import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import boto3

try:
    import answer  # type: ignore[import-not-found]
    import drift  # type: ignore[import-not-found]
except ImportError:  # in the project, not in Lambda
    from stages.scones.aws.functions import drift
    from stages.scones.endpoint import answer

MOST = 2000
"""Pictures that are compared, sampled at random: a picture takes some milliseconds, and Lambda's time is limited."""


class Record(NamedTuple):
    """A captured answer. ``picture`` is the body of its request."""

    time: datetime
    confidence: float
    known: bool | None
    picture: bytes


def training() -> dict[str, Any]:
    """Return the training pictures' properties, and the digests of the test pictures; empty without TRAINING's key."""
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


def read(line: str, classes: int) -> Record:
    """Return a captured record. Raise ValueError, KeyError or TypeError for anything else."""
    record = json.loads(line)
    request, reply = record["captureData"]["endpointInput"], record["captureData"]["endpointOutput"]
    body = base64.b64decode(reply["data"]) if reply["encoding"] == "BASE64" else reply["data"].encode()
    kind = "text/csv" if reply["encoding"] == "CSV" else reply.get("observedContentType") or "application/json"
    time = datetime.fromisoformat(record["eventMetadata"]["inferenceTime"])
    found = answer.read(body, kind)
    answer.distribution(list(found.probabilities), classes)
    picture = base64.b64decode(request["data"]) if request["encoding"] == "BASE64" else b""
    return Record(time if time.tzinfo else time.replace(tzinfo=UTC), max(found.probabilities), found.known, picture)


def records(since: datetime) -> Iterator[Record]:
    """Yield the captured answers from ``since`` on."""
    classes = int(os.environ["CLASSES"])
    for _, text in texts(boto3.client("s3"), os.environ["BUCKET"], os.environ["ENDPOINT"], since):
        for line in filter(None, text.splitlines()):
            try:
                record = read(line, classes)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # the monitor reports such records
            if record.time >= since:
                yield record


class Sample:
    """The properties of at most MOST of the added pictures, sampled uniformly."""

    def __init__(self) -> None:
        self.measured: list[dict[str, float]] = []
        self._seen, self._random = 0, random.Random(0)

    def add(self, picture: bytes) -> None:
        """Decide whether to keep the ``picture`` before decoding it. Undecodable pictures are left out."""
        self._seen += 1
        index = len(self.measured) if len(self.measured) < MOST else self._random.randrange(self._seen)
        if index >= MOST:
            return
        try:
            found = drift.measured(drift.decode(picture))
        except ValueError:
            return
        self.measured[index : index + 1] = [found]  # replaces one, or appends


def handler(event: Any, context: object) -> dict[str, float]:
    """Write the metrics of the last HOURS and return them. Without answers, only their number, 0."""
    threshold, reference = float(os.environ["THRESHOLD"]), training()
    tests, sample = set(reference.get("tests", [])), Sample()
    confidences, unsure = [], 0
    for record in records(datetime.now(UTC) - timedelta(hours=float(os.environ["HOURS"]))):
        if drift.digest(record.picture) in tests:
            continue
        confidences.append(record.confidence)
        unsure += record.known is False or record.confidence < threshold
        if reference:
            sample.add(record.picture)
    values = {"Watched": float(len(confidences))}
    if confidences:
        values["LowConfidenceShare"] = unsure / len(confidences)
        values["EstimatedAccuracy"] = sum(confidences) / len(confidences)
    if sample.measured:
        values["Drift"] = drift.drift(sample.measured, reference["training"])
    publish(boto3.client("cloudwatch"), os.environ["ENDPOINT"], values)
    return values


def publish(cloudwatch: Any, endpoint: str, values: dict[str, float]) -> None:
    """Write an endpoint's metrics, by their names, to CloudWatch."""
    dimensions = [{"Name": "Endpoint", "Value": endpoint}]
    found = [{"MetricName": name, "Dimensions": dimensions, "Value": one} for name, one in values.items()]
    cloudwatch.put_metric_data(Namespace="Scones", MetricData=found)
