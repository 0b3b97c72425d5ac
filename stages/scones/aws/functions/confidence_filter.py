"""confidenceFilter: pass on confident answers about known pictures, and fail loudly on the others.

The confidence is the largest probability. It means nothing for a picture that resembles none of the classes, so such a picture fails
first. The function logs in CloudWatch's embedded metric format whether the picture was unknown, and whether the confidence was too
low, so that an alarm can watch the fraction of such pictures. That needs no permission except to write the log.
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
"""`image_data` (base64 text), `s3_bucket`, `s3_key`, `inferences` (a probability for each class), `known` (true, false, or null if the
model doesn't tell)."""


class InvalidEventError(Exception):
    """The event holds no probability distribution over the classes, or `known` is not one of its values."""


class UnknownPictureError(Exception):
    """The picture resembles none of the classes."""


class ThresholdConfidenceNotMet(Exception):  # noqa: N818 (the failure's published name)
    """The confidence is below the threshold."""


def confidence(event: Event) -> float:
    """Return the largest of the probabilities in `inferences`.

    Raise InvalidEventError if they are no probability distribution over the classes. CLASSES in the environment is their
    number (0 or missing: any number from 2).
    """
    try:
        return float(max(answer.distribution(event.get("inferences"), int(os.environ.get("CLASSES", "0")))))
    except ValueError as error:
        raise InvalidEventError(f"inferences: {error}") from None


def is_known(event: Event) -> bool:
    """Return whether the picture is known, True if the model doesn't tell. Raise InvalidEventError for another value."""
    known = event.get("known")
    if known is not None and type(known) is not bool:
        raise InvalidEventError(f"known = {str(known)[:100]}: expected true, false or null")
    return known is not False


def metric(low: bool, unknown: bool) -> str:
    """Return a log line from which CloudWatch makes the metrics `LowConfidence` and `Unknown`, 1 or 0.

    Their means are the fractions.
    """
    values = {"LowConfidence": int(low), "Unknown": int(unknown)}
    names = [{"Name": name, "Unit": "None"} for name in values]
    metrics = [{"Namespace": "Scones", "Dimensions": [["Workflow"]], "Metrics": names}]
    about = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": metrics}
    return json.dumps({"_aws": about, "Workflow": os.environ["WORKFLOW"], **values})


def handler(event: Event, context: object) -> Event:
    """Return the event unchanged.

    Raise UnknownPictureError if the picture is not known, or ThresholdConfidenceNotMet if the confidence is below the environment's
    THRESHOLD.
    """
    found, known, threshold = confidence(event), is_known(event), float(os.environ["THRESHOLD"])
    print(metric(low=found < threshold, unknown=not known))
    if not known:
        raise UnknownPictureError("the picture resembles none of the classes that the model was trained on")
    if found < threshold:
        raise ThresholdConfidenceNotMet(f"confidence {found:.6f} is below the threshold {threshold:g}")
    return event
