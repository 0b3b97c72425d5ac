"""The way to AWS: clients with a time limit and a rule for retries, its refusals in a line, and a question before it charges."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from stages.common.program import InputError

LIMITS = Config(
    connect_timeout=5,  # seconds
    read_timeout=65,  # an endpoint has 60 for its answer
    retries={"mode": "standard", "total_max_attempts": 5},
    max_pool_connections=50,
)

PRICES_OF = "us-east-1, 2025"
HOURLY = {  # US dollars for an instance on demand, about; AWS's list is what counts: https://aws.amazon.com/sagemaker/pricing
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
    """A client of ``service`` in the session's region."""
    return session.client(service, config=LIMITS)


def account(region: str | None, key: str) -> boto3.Session:
    """The AWS account of the usual chain of credentials; ``key`` is the parameter that ``region`` is the value of.

    Raises InputError if there is no region, botocore's errors if there are no credentials.
    """
    core = botocore.session.get_session()
    core.set_default_client_config(LIMITS)  # for the clients that SageMaker's SDK makes by itself
    session = boto3.Session(region_name=region, botocore_session=core)
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
    except boto3.exceptions.Boto3Error as error:  # of uploads in several parts, which say in it what AWS refused
        raise InputError(f"AWS refuses: {error}") from error
    except BotoCoreError as error:
        raise InputError(f"AWS can't be reached: {error}") from error


def estimate(instance_type: str, instances: int, region: str, hours: int, span: str) -> str:
    """A sentence about so many instances, kept for ``hours``, which ``span`` calls by name. What else there is costs cents."""
    count = f"{instances} x {instance_type}"
    if instance_type not in HOURLY:
        return (
            f"{count} are charged by the second, see https://aws.amazon.com/sagemaker/pricing (no price is known here)"
        )
    hour = instances * HOURLY[instance_type]
    where = "" if PRICES_OF.startswith(region) else f"; {region} may differ"
    total = f"{hours * hour:.0f}" if hours * hour >= 10 else f"{hours * hour:.2f}"
    return f"{count}: about {hour:.2f} USD an hour, {total} USD in {span} (an estimate: {PRICES_OF}{where})"


def agree(plan: str, yes: bool, command: str) -> None:
    """Print ``plan`` and, without ``yes``, ask. Raises InputError unless its user agrees; ``command`` is what to run to do so."""
    print(plan, flush=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(f"nothing was changed: run `{command} --yes`, or in a terminal, to agree")
    try:
        answer = input("Go on? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise InputError("nothing was changed")
