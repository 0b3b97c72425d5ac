"""Access to AWS: clients with time limits and retries, errors in one line, and a confirmation before anything costs money."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from stages.common.errors import InputError

LIMITS = Config(
    connect_timeout=5,  # seconds
    read_timeout=65,  # an endpoint has 60 s for its answer
    retries={"mode": "standard", "total_max_attempts": 5},
    max_pool_connections=50,
)

PRICES_OF = "us-east-1, 2025"
HOURLY = {  # approximate US dollars for an on-demand instance; AWS's list is authoritative: https://aws.amazon.com/sagemaker/pricing
    "ml.t2.medium": 0.056,
    "ml.t2.large": 0.111,
    "ml.m5.large": 0.115,
    "ml.m5.xlarge": 0.23,
    "ml.m5.2xlarge": 0.461,
    "ml.c5.large": 0.102,
    "ml.c5.xlarge": 0.204,
    "ml.g4dn.xlarge": 0.736,
}


def client(session: boto3.Session, service: str) -> Any:
    """Return a client of ``service`` in the session's region."""
    return session.client(service, config=LIMITS)


def region(name: str | None, key: str) -> str:
    """Return ``name``, or the region of boto3's usual settings. ``key`` is the name of its parameter. Raise InputError if there is none."""
    found = name or boto3.Session().region_name
    if found is None:
        raise InputError(f"no AWS region is set: set {key} or AWS_DEFAULT_REGION")
    return str(found)


def account(name: str | None, key: str) -> boto3.Session:
    """Return a session with boto3's usual credentials in the region ``name``. ``key`` is the name of the region's parameter.

    Raise InputError if there is no region, botocore's errors if there are no credentials.
    """
    core = botocore.session.get_session()
    core.set_default_client_config(LIMITS)  # for the clients that SageMaker's SDK creates itself
    session = boto3.Session(region_name=region(name, key), botocore_session=core)
    client(session, "sts").get_caller_identity()  # fails here if the credentials are missing or wrong
    return session


@contextmanager
def plain_errors() -> Iterator[None]:
    """Convert AWS's errors, missing credentials and a missing network to InputError, because the user can fix them."""
    try:
        yield
    except ClientError as error:
        about = error.response["Error"]
        message = f"AWS refuses {error.operation_name}: {about.get('Code')}: {about.get('Message')}"
        raise InputError(message) from error
    except boto3.exceptions.Boto3Error as error:  # of multipart uploads; its message has AWS's error
        raise InputError(f"AWS refuses: {error}") from error
    except BotoCoreError as error:
        raise InputError(f"AWS can't be reached: {error}") from error


def estimate(instance_type: str, instances: int, region: str, hours: int, span: str) -> str:
    """Return a sentence on the price of ``instances`` for ``hours``, which ``span`` describes. Everything else costs cents."""
    count = f"{instances} x {instance_type}"
    if instance_type not in HOURLY:
        prices = "https://aws.amazon.com/sagemaker/pricing (no price is listed here)"
        return f"{count} are charged by the second, see {prices}"
    hour = instances * HOURLY[instance_type]
    where = "" if PRICES_OF.startswith(region) else f"; {region} may differ"
    total = f"{hours * hour:.0f}" if hours * hour >= 10 else f"{hours * hour:.2f}"
    return f"{count}: about {hour:.2f} USD per hour, {total} USD in {span} (an estimate: {PRICES_OF}{where})"


class DeclinedError(InputError):
    """The user did not agree."""


def agree(plan: str, yes: bool, command: str) -> None:
    """Print ``plan`` and, without ``yes``, ask the user to agree.

    ``command`` is the command to run again, without --yes. Raise DeclinedError if the user does not agree, InputError if
    there is no terminal.
    """
    print(plan, flush=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(f"nothing was changed: to agree, run `{command} --yes` or run it in a terminal")
    try:
        answer = input("Continue? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise DeclinedError("nothing was changed")
