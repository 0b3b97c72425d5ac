"""serializeImageData: read the picture at `s3_bucket`/`s3_key` into `image_data` as base64 text."""

import base64
import functools
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as NoConnectionError

LARGEST = 190_000
"""Largest picture in bytes. Step Functions passes at most 256 KiB between states. Base64 turns 3 bytes into 4 characters, and
the other fields need space too."""

NO_ANSWER = (NoConnectionError, HTTPClientError, IncompleteReadError)
"""Errors that a retry may fix. With botocore's other errors no request was made."""

Event = dict[str, Any]
"""`image_data` (base64 text, "" at first), `s3_bucket`, `s3_key`; once classified also `inferences`, a probability for each class."""


class InvalidEventError(Exception):
    """The event does not name an object."""


class ImageMissingError(Exception):
    """There is no such object."""


class ImageTooLargeError(Exception):
    """The picture does not fit between two states."""


class NotAnImageError(Exception):
    """The object is neither a PNG nor a JPEG file."""


class AccessDeniedError(Exception):
    """The function's role may not read the object."""


class StorageRefusedError(Exception):
    """S3 refuses the request, or no request can be made: no credentials, or no valid bucket name."""


class StorageUnavailableError(Exception):
    """S3 did not answer, or asked for a later retry: a retry may help."""


@functools.cache
def storage() -> Any:
    """Return a client of S3. It does not retry, because the state machine does."""
    return boto3.client("s3", config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}))


def read(bucket: str, key: str) -> bytes:
    """Return the picture's bytes. Raise one of the errors above, which names the object."""
    url = f"s3://{bucket}/{key}"
    try:
        answer = storage().get_object(Bucket=bucket, Key=key)
        size = answer["ContentLength"]
        if size > LARGEST:
            why = "because Step Functions passes at most 256 KiB between states"
            raise ImageTooLargeError(f"{url} has {size} bytes: expected at most {LARGEST}, {why}")
        image: bytes = answer["Body"].read()
    except ClientError as error:
        code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        if code in ("NoSuchKey", "NoSuchBucket"):
            raise ImageMissingError(f"{url} does not exist ({code})") from error
        if status == 403:
            raise AccessDeniedError(f"{url} may not be read: {error}") from error
        if status >= 500 or status == 429 or code in ("RequestTimeout", "Throttling", "ThrottlingException"):
            raise StorageUnavailableError(f"{url}: {error}") from error
        raise StorageRefusedError(f"{url} can't be read: {error}") from error
    except NO_ANSWER as error:
        raise StorageUnavailableError(f"{url}: {error}") from error
    except BotoCoreError as error:  # no request was made
        raise StorageRefusedError(f"{url} can't be read: {error}") from error
    if not image.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        raise NotAnImageError(f"{url} begins with {image[:8]!r}: expected a PNG or JPEG image")
    return image


def text(event: Event, name: str) -> str:
    """Return the event's text ``name``. Raise InvalidEventError if there is none."""
    value = event.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidEventError(f"{name} = {str(value)[:100]!r}: expected a non-empty text")
    return value


def handler(event: Event, context: object) -> Event:
    """Return the event with the picture in `image_data` and no `inferences` yet."""
    bucket, key = text(event, "s3_bucket"), text(event, "s3_key")
    image = base64.b64encode(read(bucket, key)).decode("ascii")  # as text, because JSON can't hold bytes
    return {"image_data": image, "s3_bucket": bucket, "s3_key": key, "inferences": []}
