"""CloudFormation stacks: made, changed, left alone where nothing has changed, and removed without a trace."""

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import boto3
from botocore.exceptions import ClientError

from stages.common.program import InputError
from stages.engine.aws.clients import client

CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]

PAUSE = 10.0
"""Seconds between two looks at a stack."""
PATIENCE = 3600.0
"""Seconds until it has come to an end: an endpoint needs minutes, an hour is a fault."""

UNUSABLE = (
    "CREATE_FAILED",
    "DELETE_FAILED",
    "REVIEW_IN_PROGRESS",  # a change set that was never executed: nothing is going on
    "ROLLBACK_COMPLETE",
    "ROLLBACK_FAILED",
)
"""States in which a stack can only be removed."""

STARTS = ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS")
"""States of a stack that somebody has put it into, as against those that follow by themselves."""


class Stack:
    """One stack by its name, there or not."""

    def __init__(self, session: boto3.Session, name: str) -> None:
        self.name = name
        self._session = session
        self._client = client(session, "cloudformation")

    def status(self) -> str | None:
        """As CloudFormation calls it; None if there is no such stack."""
        stack = self._describe()
        return stack["StackStatus"] if stack else None

    def outputs(self) -> dict[str, str]:
        """What the template's outputs have become."""
        stack = self._describe() or {}
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    def put(self, template: str, parameters: Mapping[str, str]) -> str:
        """Make the stack so, or change it; says which: created, updated or unchanged.

        What a stopped run has begun is waited for, what has failed is removed first. Raises InputError with CloudFormation's
        reason if it can't be done.
        """
        if self._settled() in UNUSABLE:
            self.remove()
        stack = self._describe()
        arguments = {
            "StackName": self.name,
            "TemplateBody": template,
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            "Capabilities": CAPABILITIES,
        }
        if stack is None:
            self._client.create_stack(**arguments)
            self._expect("CREATE_COMPLETE")
            return "created"
        known = {one["ParameterKey"]: one["ParameterValue"] for one in stack.get("Parameters", [])}
        body = self._client.get_template(StackName=self.name, TemplateStage="Original")["TemplateBody"]
        if known == dict(parameters) and body.strip() == template.strip():
            return "unchanged"
        try:
            self._client.update_stack(**arguments)
        except ClientError as error:
            if "No updates are to be performed" in str(error):
                return "unchanged"
            raise
        self._expect("UPDATE_COMPLETE")
        return "updated"

    def resources(self) -> list[tuple[str, str]]:
        """Type and name of all that is in the stack; nothing if it is not there."""
        return sorted((kind, name) for kind, name, gone in self._resources() if not gone)

    def remove(self) -> list[str]:
        """Remove the stack, what is in its buckets and what its endpoints have logged; says what it removed, a line each."""
        emptied: list[str] = []
        there: set[tuple[str, str]] = set()
        endpoints: set[str] = set()
        status = self._settled()
        for _ in range(3):  # an endpoint may write what it has captured into the bucket after it was emptied
            for kind, name, gone in self._resources():
                there |= set() if gone else {(kind, name)}
                endpoints |= {name} if kind == "AWS::SageMaker::Endpoint" else set()
            for bucket in sorted(name for kind, name in there if kind == "AWS::S3::Bucket"):
                count = empty(self._session, bucket)
                emptied += [f"{count} objects in s3://{bucket}"] if count else []
            if status is not None:
                self._client.delete_stack(StackName=self.name)
                status = self._settled()
            if status is None:
                break
        if status is not None:
            raise InputError(f"the stack {self.name} could not be removed: {self._reason()}")
        logs = [log for name in sorted(endpoints) for log in self._remove_log(name)]
        return [*emptied, *(f"{kind} {name}" for kind, name in sorted(there)), *logs]

    def _describe(self) -> dict[str, Any] | None:
        try:
            stacks: list[dict[str, Any]] = self._client.describe_stacks(StackName=self.name)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        return stacks[0]

    def _resources(self) -> list[tuple[str, str, bool]]:
        """Type and name of all that is in the stack, or was, and whether it is gone."""
        try:
            pages = self._client.get_paginator("list_stack_resources").paginate(StackName=self.name)
            found = [resource for page in pages for resource in page["StackResourceSummaries"]]
        except ClientError as error:
            if "does not exist" in str(error):
                return []
            raise
        made = [one for one in found if one.get("PhysicalResourceId")]
        return [
            (one["ResourceType"], one["PhysicalResourceId"], one["ResourceStatus"] == "DELETE_COMPLETE") for one in made
        ]

    def _settled(self) -> str | None:
        """The status once nothing is going on any more."""
        deadline = time.monotonic() + PATIENCE
        while (status := self.status()) and status.endswith("_IN_PROGRESS") and status not in UNUSABLE:
            if time.monotonic() > deadline:
                raise InputError(f"the stack {self.name} is still {status} after {PATIENCE:.0f} s: {self._reason()}")
            time.sleep(PAUSE)
        return status

    def _expect(self, end: str) -> None:
        status = self._settled()
        if status != end:
            raise InputError(f"the stack {self.name} came to {status}, expected {end}: {self._reason()}")

    def _reason(self) -> str:
        """The first thing that went wrong since somebody last changed the stack, in CloudFormation's words."""
        pages = self._client.get_paginator("describe_stack_events").paginate(StackName=self.name)
        newest_first = (event for page in pages for event in page["StackEvents"])
        since = itertools.takewhile(
            lambda event: not (event["LogicalResourceId"] == self.name and event["ResourceStatus"] in STARTS),
            newest_first,
        )
        failed = [event for event in since if event["ResourceStatus"].endswith("_FAILED")]
        if not failed:
            return "CloudFormation's events name no failure"
        first = failed[-1]
        return f"{first['LogicalResourceId']}: {first.get('ResourceStatusReason', first['ResourceStatus'])}"

    def _remove_log(self, endpoint: str) -> list[str]:
        """The log of an endpoint by its name or ARN: SageMaker made it, not the stack."""
        name = f"/aws/sagemaker/Endpoints/{endpoint.rsplit('/', 1)[-1]}"
        logs = client(self._session, "logs")
        found = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        if name not in [group["logGroupName"] for group in found]:
            return []
        logs.delete_log_group(logGroupName=name)
        return [f"log group {name}"]


def keys(session: boto3.Session, bucket: str, prefix: str = "") -> Iterator[dict[str, Any]]:
    """The objects under ``prefix``, as S3 lists them."""
    for page in client(session, "s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from page.get("Contents", [])


def delete(session: boto3.Session, bucket: str, names: Sequence[str]) -> None:
    """Delete these objects. Raises InputError that names the first one that S3 does not delete."""
    for start in range(0, len(names), 1000):  # at most a thousand a request
        chosen = {"Objects": [{"Key": name} for name in names[start : start + 1000]], "Quiet": True}
        refused = client(session, "s3").delete_objects(Bucket=bucket, Delete=chosen).get("Errors", [])
        if refused:
            first = refused[0]
            raise InputError(f"s3://{bucket}/{first['Key']} was not deleted: {first['Code']}: {first['Message']}")


def empty(session: boto3.Session, bucket: str) -> int:
    """Delete all objects of ``bucket``; says how many. A bucket that is not there is empty."""
    try:
        names = [entry["Key"] for entry in keys(session, bucket)]
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchBucket", "404"):
            return 0
        raise
    delete(session, bucket, names)
    return len(names)
