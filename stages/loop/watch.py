"""Measure a deployed endpoint's recent answers: drift, low confidence and estimated accuracy. Write them to CloudWatch."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from datetime import datetime

import boto3
import numpy as np

from stages.common import files
from stages.common.errors import InputError
from stages.engine.aws.clients import client
from stages.engine.aws.stack import Stack
from stages.scones.aws.deployment import CAPTURED
from stages.scones.aws.functions import watch as scheduled
from stages.scones.config import Loop, WorkflowSettings
from stages.scones.feedback import captures, labelled, monitor
from stages.scones.feedback.collect import collect


@dataclass(frozen=True)
class Seen:
    """Measurements of the answers. ``drift`` is the largest statistic of a property whose distribution has changed, else 0."""

    records: int
    drift: float
    low_confidence: float
    accuracy: float

    def beyond(self, limits: Loop) -> list[str]:
        """Return a sentence for each of ``limits`` that is exceeded; none for too few records."""
        if self.records < limits.records:
            return []
        found = []
        if self.drift > limits.drift:
            found.append(f"the drift is {self.drift:.2f}, above loop.scones.drift = {limits.drift:g}")
        if self.low_confidence > limits.low_confidence:
            limit = f"above loop.scones.low_confidence = {limits.low_confidence:g}"
            found.append(f"{self.low_confidence:.1%} of the answers are unsure, {limit}")
        if self.accuracy < limits.accuracy:
            limit = f"below loop.scones.accuracy = {limits.accuracy:g}"
            found.append(f"the estimated accuracy is {self.accuracy:.1%}, {limit}")
        return found


def deployed(session: boto3.Session, settings: WorkflowSettings) -> Mapping[str, str]:
    """Return the names of the deployed resources. Raise InputError if nothing is deployed."""
    outputs = Stack(session, settings.stack).outputs()
    if "Endpoint" not in outputs:
        missing = f"the stack {settings.stack} is not deployed in {session.region_name}"
        raise InputError(f"{missing}: run `python -m stages.scones.deploy` first")
    return outputs


def read(session: boto3.Session, names: Mapping[str, str], since: datetime) -> captures.Read:
    """Return the captured records from ``since`` on. Does not read older files."""
    texts = scheduled.texts(client(session, "s3"), names["Bucket"], names["Endpoint"], since)
    found = captures.read(texts, monitor.class_names())
    return captures.Read([one for one in found.records if one.time >= since], found.problems, found.repeated)


def look(session: boto3.Session, settings: WorkflowSettings, limits: Loop, since: datetime) -> Seen:
    """Measure the requests from ``since`` on and write the results to CloudWatch. Collect pictures to label beyond a limit.

    Test pictures, which each deployment sends, don't count. Raise InputError if there are no others.
    """
    names = deployed(session, settings)
    found = read(session, names, since)
    decoded, _ = monitor.decoded(found.records)
    features = files.require(monitor.FEATURES, "featurize@scones")
    with np.load(features / "test.npz") as test, np.load(features / "train.npz") as train:
        tests, training = {image.tobytes() for image in test["images"]}, train["images"]
    pictures = [(record, pixels) for record, pixels in decoded if pixels.tobytes() not in tests]
    if not pictures:
        raise InputError(
            f"s3://{names['Bucket']}/{CAPTURED}: found no captured picture since {since:%Y-%m-%d %H:%M} UTC besides "
            f"{len(decoded)} test pictures and {len(found.problems)} unreadable records, expected at least 1"
        )
    drift = monitor.drift(np.stack([pixels for _, pixels in pictures]), training).values()
    records = [record for record, _ in pictures]
    seen = Seen(
        len(records),
        max((test["statistic"] for test in drift if test["drifted"]), default=0.0),
        float(np.mean([not record.passes(settings.threshold) for record in records])),
        monitor.summary(records, settings.threshold)["estimated_accuracy"],
    )
    metrics = ("Watched", "Drift", "LowConfidenceShare", "EstimatedAccuracy")
    values = dict(zip(metrics, astuple(seen), strict=True))
    scheduled.publish(client(session, "cloudwatch"), names["Endpoint"], values)
    if seen.beyond(limits):
        collect(pictures, settings.threshold, monitor.class_names(), labelled.FOLDER, limits.sample)
    return seen
