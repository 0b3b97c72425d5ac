"""confidenceFilter: pass on confident answers, and fail loudly on the others.

The confidence is the largest probability. The function logs in CloudWatch's embedded metric format whether it was too low, so
that an alarm can watch the fraction of such pictures. That needs no permission except to write the log.
"""

import json
import os
import time
from typing import Any

try:
    import answer  # type: ignore[import-not-found]
except ImportError:  # in the project, not in Lambda
    from stages.scones.endpoint import answer

Event = dict[str, Any]
"""`image_data` (base64 text), `s3_bucket`, `s3_key`, `inferences` (a probability for each class)."""


class InvalidEventError(Exception):
    """The event holds no probability distribution over the classes."""


class ThresholdConfidenceNotMet(Exception):  # noqa: N818 (the failure's published name)
    """The confidence is below the threshold."""


def confidence(event: Event) -> float:
    """Return the largest of the probabilities in `inferences`.

    Raise InvalidEventError if they are no distribution over the classes, whose number is CLASSES in the environment (0 or
    missing: any number from 2).
    """
    try:
        return float(max(answer.distribution(event.get("inferences"), int(os.environ.get("CLASSES", "0")))))
    except ValueError as error:
        raise InvalidEventError(f"inferences: {error}") from None


def metric(low: bool) -> str:
    """Return a log line from which CloudWatch makes the metric `LowConfidence`, 1 or 0. Its mean is the fraction."""
    name = {"Name": "LowConfidence", "Unit": "None"}
    metrics = [{"Namespace": "Scones", "Dimensions": [["Workflow"]], "Metrics": [name]}]
    return json.dumps(
        {
            "_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": metrics},
            "Workflow": os.environ["WORKFLOW"],
            "LowConfidence": int(low),
        }
    )


def handler(event: Event, context: object) -> Event:
    """Return the event unchanged. Raise ThresholdConfidenceNotMet if the confidence is below the environment's THRESHOLD."""
    found, threshold = confidence(event), float(os.environ["THRESHOLD"])
    print(metric(low=found < threshold))
    if found < threshold:
        raise ThresholdConfidenceNotMet(f"confidence {found:.6f} is below the threshold {threshold:g}")
    return event
