"""invokeClassifier: send the picture in `image_data` to the endpoint, and put its answer into `inferences` and `known`."""

import base64
import binascii
import functools
import os
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as NoConnectionError

try:
    import answer  # type: ignore[import-not-found]
except ImportError:  # in the project, not in Lambda
    from stages.scones.endpoint import answer

NO_ANSWER = (NoConnectionError, HTTPClientError, IncompleteReadError)
"""Errors that a retry may fix. With botocore's other errors no request was made."""

Event = dict[str, Any]
"""`image_data` (base64 text), `s3_bucket`, `s3_key`, `inference_id` (EXECUTION.TRY), `inferences` (a probability for each class), and
`known`: whether the picture resembles those of the classes, null if the model doesn't tell."""


class InvalidEventError(Exception):
    """The event holds no picture."""


class ImageRefusedError(Exception):
    """The model can't read this picture: a retry would not help."""


class EndpointThrottledError(Exception):
    """Too many requests: a later retry may help."""


class EndpointUnavailableError(Exception):
    """The model failed, or did not answer in time: a retry may help."""


class AccessDeniedError(Exception):
    """The function's role may not invoke the endpoint."""


class EndpointRefusedError(Exception):
    """SageMaker refuses the request (no such endpoint, for instance), or no request can be made (no credentials)."""


class InvalidAnswerError(Exception):
    """The model's answer is no probability distribution over the classes, or does not tell clearly whether it knows the picture."""


@functools.cache
def runtime() -> Any:
    """Return a client of SageMaker's runtime. It does not retry, because the state machine does."""
    seconds = float(os.environ["ENDPOINT_TIMEOUT"])
    config = Config(connect_timeout=2, read_timeout=seconds, retries={"total_max_attempts": 1})
    return boto3.client("sagemaker-runtime", config=config)


def invoke(endpoint: str, image: bytes, inference_id: str = "") -> bytes:
    """Return the endpoint's answer to a PNG or JPEG image. Raise one of the errors above, which names the endpoint.

    The captured record has the last 64 characters of ``inference_id``, as SageMaker takes no more.
    """
    named = {"InferenceId": inference_id[-64:]} if inference_id else {}
    kind = "image/jpeg" if image.startswith(b"\xff\xd8\xff") else "image/png"
    kinds = {"ContentType": kind, "Accept": "application/json; verbose=true"}
    try:
        # Our models' answer is then an object with `probabilities` and `known`, each a list over pictures.
        reply = runtime().invoke_endpoint(EndpointName=endpoint, Body=image, **kinds, **named)
        body: bytes = reply["Body"].read()
    except ClientError as error:
        raise _error(error)(f"endpoint {endpoint}: {error}") from error
    except NO_ANSWER as error:
        raise EndpointUnavailableError(f"endpoint {endpoint}: {error}") from error
    except BotoCoreError as error:  # no request was made
        raise EndpointRefusedError(f"endpoint {endpoint}: {error}") from error
    return body


def _error(error: ClientError) -> type[Exception]:
    code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    if code == "ModelError":  # the container answered with its own error status
        refused = 400 <= error.response.get("OriginalStatusCode", 500) < 500
        return ImageRefusedError if refused else EndpointUnavailableError
    if code == "ModelNotReadyException" or status >= 500:
        return EndpointUnavailableError
    if code in ("ThrottlingException", "TooManyRequestsException") or status == 429:
        return EndpointThrottledError
    if code == "AccessDeniedException" or status == 403:
        return AccessDeniedError
    return EndpointRefusedError


def read(body: bytes) -> tuple[list[float], bool | None]:
    """Return a probability for each class, and whether the picture is known (None: not told). Raise InvalidAnswerError."""
    try:
        found = answer.read(body)
    except ValueError as error:
        raise InvalidAnswerError(f"the endpoint answered {body[:100]!r}: {error}") from None
    return list(found.probabilities), found.known


def handler(event: Event, context: object) -> Event:
    """Return the event with the classes' probabilities in `inferences`, and `known`."""
    try:
        image = base64.b64decode(event.get("image_data") or "", validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise InvalidEventError(f"image_data is not base64 text: {error}") from error
    if not image:
        raise InvalidEventError("image_data is missing or empty: expected a PNG or JPEG image as base64 text")
    body = invoke(os.environ["ENDPOINT_NAME"], image, str(event.get("inference_id", "")))
    inferences, known = read(body)
    return {**event, "inferences": inferences, "known": known}
