"""Create, update and completely remove CloudFormation stacks. An unchanged stack is left alone."""

import itertools
import time
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
from botocore.exceptions import ClientError

from stages.common.errors import InputError
from stages.engine.aws.buckets import empty, keys, remove_bucket
from stages.engine.aws.clients import client

PAUSE = 10.0
"""Longest time between two checks of a stack, in seconds. The first ones follow faster."""
PATIENCE = 3600.0
"""Longest wait for an operation, in seconds. An endpoint needs minutes; an hour means a fault."""

UNUSABLE = (
    "CREATE_FAILED",
    "DELETE_FAILED",
    "REVIEW_IN_PROGRESS",  # a change set that was never executed: no operation is running
    "ROLLBACK_COMPLETE",
    "ROLLBACK_FAILED",
)
"""States in which a stack can only be removed."""


class Stack:
    """One stack by its name, whether it exists or not."""

    def __init__(self, session: boto3.Session, name: str) -> None:
        self.name = name
        self._session = session
        self._client = client(session, "cloudformation")

    def status(self) -> str | None:
        """Return CloudFormation's status of the stack, or None if there is no such stack."""
        return self._describe().get("StackStatus")

    def outputs(self) -> dict[str, str]:
        """Return the values of the template's outputs, none if there is no such stack."""
        return {output["OutputKey"]: output["OutputValue"] for output in self._describe().get("Outputs", [])}

    def parameters(self) -> dict[str, str]:
        """Return the stack's parameters, none if there is no such stack."""
        return {one["ParameterKey"]: one["ParameterValue"] for one in self._describe().get("Parameters", [])}

    def template(self) -> str:
        """Return the stack's template as it was given."""
        body: str = self._client.get_template(StackName=self.name, TemplateStage="Original")["TemplateBody"]
        return body

    def put(
        self, template: str, parameters: Mapping[str, str], tags: Mapping[str, str] | None = None, protect: bool = False
    ) -> str:
        """Create or update the stack. Return a line that ends in `created`, `updated` or `unchanged`.

        First wait for an operation that a stopped run has started, finish a failed rollback, and remove a stack whose creation
        has failed. With ``protect`` only `remove` can delete it. Raise InputError with CloudFormation's reason if it fails.
        """
        status = self._settled()
        if status == "UPDATE_ROLLBACK_FAILED":
            self._continue_rollback()
        elif status in UNUSABLE:
            self.remove()
        stack = self._describe()
        wanted = [{"Key": key, "Value": value} for key, value in sorted((tags or {}).items())]
        arguments = {
            "StackName": self.name,
            "TemplateBody": template,
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            "Tags": wanted,
        }
        if not stack:
            self._client.create_stack(**arguments, EnableTerminationProtection=protect)
            return self._ended("CREATE_COMPLETE", "created")
        if stack.get("EnableTerminationProtection", False) != protect:
            self._protect(protect)
        known, tagged = self.parameters(), sorted(stack.get("Tags", []), key=lambda tag: str(tag["Key"]))
        unchanged = f"stack {self.name}: unchanged"
        if known == dict(parameters) and tagged == wanted and self.template().strip() == template.strip():
            return unchanged
        try:
            self._client.update_stack(**arguments)
        except ClientError as error:
            if "No updates are to be performed" in str(error):
                return unchanged
            raise
        return self._ended("UPDATE_COMPLETE", "updated")

    def _protect(self, protect: bool) -> None:
        self._client.update_termination_protection(StackName=self.name, EnableTerminationProtection=protect)

    def _continue_rollback(self) -> None:
        """Finish a failed rollback. Raise InputError with the reason if it fails again."""
        self._client.continue_update_rollback(StackName=self.name)
        if self._settled() != "UPDATE_ROLLBACK_COMPLETE":
            skip = f"`aws cloudformation continue-update-rollback --stack-name {self.name} --resources-to-skip NAME`"
            raise InputError(
                f"the stack {self.name} can't return to its former state: {self._reason()}: remove the cause and run this again, "
                f"or leave the resource out: {skip}"
            )

    def resources(self) -> list[tuple[str, str]]:
        """Return type and name of all resources in the stack, none if it does not exist."""
        return sorted((kind, name) for kind, name, gone in self._resources() if not gone)

    def contents(self) -> list[tuple[str, int, int]]:
        """Return URLs of bucket and first folder, and numbers of objects and bytes, of everything in the stack's buckets."""
        found: dict[str, tuple[int, int]] = {}
        for bucket in sorted(name for kind, name in self.resources() if kind == "AWS::S3::Bucket"):
            for entry in keys(self._session, bucket):
                folder, slash, _ = entry["Key"].partition("/")
                url = f"s3://{bucket}/{folder}/" if slash else f"s3://{bucket}/"
                count, size = found.get(url, (0, 0))
                found[url] = count + 1, size + entry["Size"]
        return [(url, *numbers) for url, numbers in sorted(found.items())]

    def remove(self, keep_data: bool = False) -> list[str]:
        """Remove the stack, its buckets with their contents, and its endpoints' logs. Return a line for each removed thing.

        With ``keep_data``, buckets that the template retains stay as they are.
        """
        emptied, there, endpoints = list[str](), set[tuple[str, str]](), set[str]()
        status = self._settled()
        if status is not None and self._describe().get("EnableTerminationProtection"):
            self._protect(False)
        for _ in range(3):  # an endpoint may write captured requests into a bucket that was just emptied
            for kind, name, gone in self._resources():
                there |= set() if gone else {(kind, name)}
                endpoints |= {name} if kind == "AWS::SageMaker::Endpoint" else set()
            buckets = [] if keep_data else sorted(name for kind, name in there if kind == "AWS::S3::Bucket")
            for bucket in buckets:
                count = empty(self._session, bucket)
                emptied += [f"{count} objects in s3://{bucket}"] if count else []
            if status is not None:
                self._client.delete_stack(StackName=self.name)
                status = self._settled()
            if status is None:
                break
        if status is not None:
            raise InputError(f"the stack {self.name} could not be removed: {self._reason()}")
        for bucket in buckets:
            remove_bucket(self._session, bucket)  # unless the stack has done that
        logs = [log for name in sorted(endpoints) for log in self._remove_log(name)]
        there -= {one for one in there if keep_data and one[0] == "AWS::S3::Bucket"}
        return [*emptied, *(f"{kind} {name}" for kind, name in sorted(there)), *logs]

    def _listed(self, operation: str, key: str) -> Iterator[dict[str, Any]]:
        """Yield what an operation's answers about the stack have under ``key``, nothing if there is no such stack."""
        try:
            for page in self._client.get_paginator(operation).paginate(StackName=self.name):
                yield from page[key]
        except ClientError as error:
            if "does not exist" not in str(error):
                raise

    def _describe(self) -> dict[str, Any]:
        """Return CloudFormation's description of the stack, empty if there is no such stack."""
        return next(self._listed("describe_stacks", "Stacks"), {})

    def _resources(self) -> list[tuple[str, str, bool]]:
        """Return type and name of all current and former resources of the stack, and whether each is gone."""
        return [
            (one["ResourceType"], one["PhysicalResourceId"], one["ResourceStatus"] == "DELETE_COMPLETE")
            for one in self._listed("list_stack_resources", "StackResourceSummaries")
            if one.get("PhysicalResourceId")
        ]

    def _settled(self) -> str | None:
        """Wait until no operation is running, and return the status. Raise InputError after PATIENCE."""
        deadline, pause = time.monotonic() + PATIENCE, min(0.3, PAUSE)
        while (status := self.status()) and status.endswith("_IN_PROGRESS") and status not in UNUSABLE:
            if time.monotonic() > deadline:
                raise InputError(f"the stack {self.name} is still {status} after {PATIENCE:.0f} s: {self._reason()}")
            time.sleep(pause)
            pause = min(PAUSE, pause * 1.3)
        return status

    def _ended(self, end: str, what: str) -> str:
        """Wait for the status ``end``, and return a line. Raise InputError with the reason if it is another one."""
        status = self._settled()
        if status != end:
            raise InputError(f"the stack {self.name} ended as {status}, expected {end}: {self._reason()}")
        return f"stack {self.name}: {what}"

    def _reason(self) -> str:
        """Return CloudFormation's message for the first failure since the last change of the stack."""
        # These states begin an operation of a user. Other ones follow by themselves.
        starts = ("CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS")
        since = itertools.takewhile(  # the newest come first
            lambda event: not (event["LogicalResourceId"] == self.name and event["ResourceStatus"] in starts),
            self._listed("describe_stack_events", "StackEvents"),
        )
        failed = [event for event in since if event["ResourceStatus"].endswith("_FAILED")]
        if not failed:
            return "CloudFormation's events name no failure"
        first = failed[-1]
        return f"{first['LogicalResourceId']}: {first.get('ResourceStatusReason', first['ResourceStatus'])}"

    def _remove_log(self, endpoint: str) -> list[str]:
        """Delete the log of an endpoint, by its name or ARN. SageMaker made it, not the stack."""
        name = f"/aws/sagemaker/Endpoints/{endpoint.rsplit('/', 1)[-1]}"
        logs = client(self._session, "logs")
        found = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        if name not in [group["logGroupName"] for group in found]:
            return []
        logs.delete_log_group(logGroupName=name)
        return [f"log group {name}"]
