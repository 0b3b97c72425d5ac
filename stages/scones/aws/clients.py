"""boto3 clients with a time limit and a rule for retries, and what AWS says of a failure in a line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from stages.common.program import InputError

LIMITS = Config(
    connect_timeout=5,  # seconds
    read_timeout=65,  # an endpoint has 60 for its answer
    retries={"mode": "standard", "total_max_attempts": 5},
    max_pool_connections=50,
)


def client(session: boto3.Session, service: str) -> Any:
    """A client of ``service`` in the session's region."""
    return session.client(service, config=LIMITS)


def account(region: str | None, key: str) -> boto3.Session:
    """The AWS account of the usual chain of credentials; ``key`` is the parameter that ``region`` is the value of.

    Raises InputError if there is no region, botocore's errors if there are no credentials.
    """
    session = boto3.Session(region_name=region)
    if session.region_name is None:
        raise InputError(f"no AWS region is set: set {key} or AWS_DEFAULT_REGION")
    client(session, "sts").get_caller_identity()  # before anything else
    return session


@contextmanager
def plain_errors() -> Iterator[None]:
    """AWS's refusals, missing credentials and a missing network are for their user to mend: InputError."""
    try:
        yield
    except ClientError as error:
        about = error.response["Error"]
        message = f"AWS refuses {error.operation_name}: {about.get('Code')}: {about.get('Message')}"
        raise InputError(message) from error
    except BotoCoreError as error:
        raise InputError(f"AWS can't be reached: {error}") from error
