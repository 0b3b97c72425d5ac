"""CloudFormation stacks: made, changed, left alone where nothing has changed, and removed without a trace."""

from collections.abc import Iterator, Mapping
from typing import Any

import boto3
from botocore.exceptions import ClientError, WaiterError

from stages.common.program import InputError
from stages.scones.aws.clients import client

CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
WAIT = {"Delay": 10, "MaxAttempts": 360}
"""Seconds between two looks at a stack, and how many: an endpoint needs minutes, an hour is a fault."""


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
        self._settle()
        if self.status() in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"):
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
            self._wait("stack_create_complete")
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
        self._wait("stack_update_complete")
        return "updated"

    def resources(self) -> list[tuple[str, str]]:
        """Type and name of all that is in the stack; nothing if it is not there."""
        try:
            pages = self._client.get_paginator("list_stack_resources").paginate(StackName=self.name)
            found = [resource for page in pages for resource in page["StackResourceSummaries"]]
        except ClientError as error:
            if "does not exist" in str(error):
                return []
            raise
        made = [one for one in found if one.get("PhysicalResourceId")]
        return sorted((one["ResourceType"], one["PhysicalResourceId"]) for one in made)

    def remove(self) -> list[str]:
        """Remove the stack and what is in its buckets; says what it removed, a line each."""
        removed = []
        resources = self.resources()
        for _ in range(3):  # an endpoint may write what it has captured into the bucket after it was emptied
            for kind, name in resources:
                if kind == "AWS::S3::Bucket":
                    count = empty(self._session, name)
                    removed += [f"{count} objects in s3://{name}"] if count else []
            if self.status() is None:
                break
            self._client.delete_stack(StackName=self.name)
            try:
                self._client.get_waiter("stack_delete_complete").wait(StackName=self.name, WaiterConfig=WAIT)
            except WaiterError:
                continue
        if self.status() is not None:
            raise InputError(f"the stack {self.name} could not be removed: {self._reason()}")
        return [*removed, *(f"{kind} {name}" for kind, name in resources)]

    def _describe(self) -> dict[str, Any] | None:
        try:
            stacks: list[dict[str, Any]] = self._client.describe_stacks(StackName=self.name)["Stacks"]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        return stacks[0]

    def _settle(self) -> None:
        """Wait until nothing is going on any more."""
        ends = {"CREATE": "stack_create_complete", "UPDATE": "stack_update_complete", "DELETE": "stack_delete_complete"}
        status = self.status() or ""
        if status.endswith("_IN_PROGRESS") and status.split("_")[0] in ends:
            self._wait(ends[status.split("_")[0]])

    def _wait(self, end: str) -> None:
        try:
            self._client.get_waiter(end).wait(StackName=self.name, WaiterConfig=WAIT)
        except WaiterError as error:
            raise InputError(f"the stack {self.name} did not come to {end}: {self._reason()}") from error

    def _reason(self) -> str:
        """The first thing that went wrong, in CloudFormation's words."""
        events = self._client.describe_stack_events(StackName=self.name)["StackEvents"]
        failed = [event for event in events if event["ResourceStatus"].endswith("_FAILED")]
        if not failed:
            return f"it is {self.status()}"
        first = failed[-1]  # the newest come first
        return f"{first['LogicalResourceId']}: {first.get('ResourceStatusReason', first['ResourceStatus'])}"


def keys(session: boto3.Session, bucket: str, prefix: str = "") -> Iterator[dict[str, Any]]:
    """The objects under ``prefix``, as S3 lists them."""
    for page in client(session, "s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from page.get("Contents", [])


def empty(session: boto3.Session, bucket: str) -> int:
    """Delete all objects of ``bucket``; says how many. A bucket that is not there is empty."""
    try:
        names = [{"Key": entry["Key"]} for entry in keys(session, bucket)]
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchBucket", "404"):
            return 0
        raise
    for start in range(0, len(names), 1000):  # at most a thousand a request
        client(session, "s3").delete_objects(Bucket=bucket, Delete={"Objects": names[start : start + 1000]})
    return len(names)
