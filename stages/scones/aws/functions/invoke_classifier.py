"""invokeClassifier: asks the endpoint about the picture in `image_data`; its answer goes to `inferences`."""

import base64
import binascii
import functools
import json
import os
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as NoConnectionError

NO_ANSWER = (NoConnectionError, HTTPClientError, IncompleteReadError)
"""What another try may mend; botocore's other errors are of requests that were never made."""

Event = dict[str, Any]
"""`image_data` (base64 text), `s3_bucket`, `s3_key`, `inference_id` (EXECUTION.TRY), `inferences` (a probability for each class)."""


class InvalidEventError(Exception):
    """The event holds no picture."""


class ImageRefusedError(Exception):
    """The model can't read this picture: another try would not help."""


class EndpointThrottledError(Exception):
    """Too many requests: worth another try, later."""


class EndpointUnavailableError(Exception):
    """The model failed, or did not answer in time: worth another try."""


class AccessDeniedError(Exception):
    """The function's role may not invoke the endpoint."""


class EndpointRefusedError(Exception):
    """SageMaker refuses the request, for instance as there is no such endpoint, or none can be made: no credentials."""


class InvalidAnswerError(Exception):
    """The model's answer is not a JSON array with a probability for each class."""


@functools.cache
def runtime() -> Any:
    """SageMaker's runtime; what it fails to answer is for the state machine to retry."""
    seconds = float(os.environ["ENDPOINT_TIMEOUT"])
    config = Config(connect_timeout=2, read_timeout=seconds, retries={"total_max_attempts": 1})
    return boto3.client("sagemaker-runtime", config=config)


def invoke(endpoint: str, image: bytes, inference_id: str = "") -> bytes:
    """The endpoint's answer to a PNG image. Raises the errors above, each naming the endpoint.

    What is captured of the request is marked with the end of ``inference_id``, of which SageMaker takes 64 characters.
    """
    named = {"InferenceId": inference_id[-64:]} if inference_id else {}
    try:
        answer = runtime().invoke_endpoint(
            EndpointName=endpoint, ContentType="image/png", Accept="application/json", Body=image, **named
        )
        body: bytes = answer["Body"].read()
    except ClientError as error:
        raise _error(error)(f"endpoint {endpoint}: {error}") from error
    except NO_ANSWER as error:
        raise EndpointUnavailableError(f"endpoint {endpoint}: {error}") from error
    except BotoCoreError as error:  # no request was made
        raise EndpointRefusedError(f"endpoint {endpoint}: {error}") from error
    return body


def _error(error: ClientError) -> type[Exception]:
    code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    if code == "ModelError":  # the container answered, with a status of its own
        refused = 400 <= error.response.get("OriginalStatusCode", 500) < 500
        return ImageRefusedError if refused else EndpointUnavailableError
    if code == "ModelNotReadyException" or status >= 500:
        return EndpointUnavailableError
    if code in ("ThrottlingException", "TooManyRequestsException") or status == 429:
        return EndpointThrottledError
    if code == "AccessDeniedException" or status == 403:
        return AccessDeniedError
    return EndpointRefusedError


def probabilities(body: bytes) -> list[float]:
    """A probability for each class, from the answer's JSON. Raises InvalidAnswerError."""
    try:
        values = json.loads(body)
    except ValueError:
        values = None
    if not isinstance(values, list) or not values or not all(type(p) is float or type(p) is int for p in values):
        raise InvalidAnswerError(f"the endpoint answered {body[:100]!r}: expected a JSON array of probabilities")
    if not all(0 <= p <= 1 for p in values):
        raise InvalidAnswerError(f"the endpoint answered {values}: expected probabilities from 0 to 1")
    return [float(p) for p in values]


def handler(event: Event, context: object) -> Event:
    """The event with the classes' probabilities in `inferences`."""
    try:
        image = base64.b64decode(event.get("image_data") or "", validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise InvalidEventError(f"image_data is not base64 text: {error}") from error
    if not image:
        raise InvalidEventError("image_data is missing or empty: expected a PNG image as base64 text")
    body = invoke(os.environ["ENDPOINT_NAME"], image, str(event.get("inference_id", "")))
    return {**event, "inferences": probabilities(body)}
