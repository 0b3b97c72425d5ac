"""Stacks in the states that CloudFormation leaves them in, as its answers tell of them."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from stages.common.errors import InputError
from stages.engine.aws import stack
from stages.engine.aws.stack import Stack

BUCKET, ROLE, ENDPOINT = "AWS::S3::Bucket", "AWS::IAM::Role", "AWS::SageMaker::Endpoint"


MISSING = {"Error": {"Code": "ValidationError", "Message": "Stack with id vehicles does not exist"}}


@dataclass
class Cloud:
    """AWS as answers: the stack goes through ``statuses``, one a look, and a change of it begins those in ``after``."""

    statuses: list[str | None]
    after: dict[str, list[str | None]] = field(default_factory=dict)
    resources: list[tuple[str, str, str]] = field(default_factory=list)
    """Type, name and status."""
    events: list[tuple[str, str, str]] = field(default_factory=list)
    """Of what, status and reason; the newest first."""
    objects: list[str] = field(default_factory=list)
    refuses: bool = False
    """To delete them."""
    logs: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def session(self) -> boto3.Session:
        session = boto3.Session("x", "x", region_name="eu-west-1")
        session.events.register("before-call", self._answer)
        return session

    def _answer(self, model: Any, **_: Any) -> tuple[SimpleNamespace, dict[str, Any]]:
        found = self.answer(model.name)
        status = 400 if "Error" in found else 200
        return SimpleNamespace(status_code=status), {**found, "ResponseMetadata": {"HTTPStatusCode": status}}

    def answer(self, operation: str) -> dict[str, Any]:
        match operation:
            case "DescribeStacks":
                status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
                return {"Stacks": [{"StackStatus": status, "Parameters": []}]} if status else MISSING
            case "CreateStack" | "UpdateStack" | "DeleteStack" | "ContinueUpdateRollback":
                self.calls.append(operation)
                self.statuses = list(self.after[operation])
            case "GetTemplate":
                return {"TemplateBody": "old"}
            case "ListStackResources":
                return rows("StackResourceSummaries", "ResourceType PhysicalResourceId ResourceStatus", self.resources)
            case "DescribeStackEvents":
                return rows("StackEvents", "LogicalResourceId ResourceStatus ResourceStatusReason", self.events)
            case "ListObjectVersions":
                return {"Versions": [{"Key": name, "VersionId": "1"} for name in self.objects]}
            case "DeleteBucket" | "UpdateTerminationProtection":
                self.calls.append(operation)
            case "DeleteObjects" if self.refuses:
                return {"Errors": [{"Key": self.objects[0], "Code": "AccessDenied", "Message": "no"}]}
            case "DeleteObjects":
                self.calls.append(operation)
                self.objects.clear()
            case "DescribeLogGroups":
                return {"logGroups": [{"logGroupName": name} for name in self.logs]}
            case "DeleteLogGroup":
                self.logs.clear()
            case _:
                raise AssertionError(operation)
        return {}


def rows(name: str, columns: str, values: list[tuple[str, str, str]]) -> dict[str, Any]:
    return {name: [dict(zip(columns.split(), one, strict=True)) for one in values]}


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "PAUSE", 0)


Ends = dict[str, list[str | None]]

ENDS: Ends = {
    "CreateStack": ["CREATE_IN_PROGRESS", "CREATE_COMPLETE"],
    "UpdateStack": ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE"],
    "DeleteStack": ["DELETE_IN_PROGRESS", None],
}


@pytest.mark.parametrize(
    ("statuses", "calls"),
    [
        ([None], ["CreateStack"]),
        (["DELETE_IN_PROGRESS", None], ["CreateStack"]),
        (["CREATE_IN_PROGRESS", "CREATE_COMPLETE"], ["UpdateStack"]),
        (["CREATE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS", "ROLLBACK_COMPLETE"], ["DeleteStack", "CreateStack"]),
        (["ROLLBACK_IN_PROGRESS", "ROLLBACK_FAILED"], ["DeleteStack", "CreateStack"]),
        (["REVIEW_IN_PROGRESS"], ["DeleteStack", "CreateStack"]),
        (["UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"], ["UpdateStack"]),
    ],
)
def test_operations_of_a_stopped_run_are_awaited_and_repaired(statuses: list[str | None], calls: list[str]) -> None:
    cloud = Cloud(statuses, ENDS)
    said = {"CreateStack": "created", "UpdateStack": "updated"}
    assert Stack(cloud.session(), "vehicles").put("new", {}) == f"stack vehicles: {said[calls[-1]]}"
    assert cloud.calls == calls


def test_a_failure_is_reported_with_its_first_cause_since_the_last_start() -> None:
    events = [  # the newest first
        ("vehicles", "UPDATE_ROLLBACK_COMPLETE", ""),
        ("vehicles", "UPDATE_ROLLBACK_IN_PROGRESS", ""),
        ("Topic", "UPDATE_FAILED", "Resource update cancelled"),
        ("Endpoint", "UPDATE_FAILED", "no instance is to be had"),
        ("vehicles", "UPDATE_IN_PROGRESS", "User Initiated"),
        ("Model", "UPDATE_FAILED", "that of last week"),
        ("vehicles", "UPDATE_IN_PROGRESS", "User Initiated"),
    ]
    ends: Ends = {"UpdateStack": ["UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"]}
    cloud = Cloud(["UPDATE_COMPLETE"], ends, events=events)
    with pytest.raises(InputError, match="UPDATE_ROLLBACK_COMPLETE.*: Endpoint: no instance is to be had"):
        Stack(cloud.session(), "vehicles").put("new", {})


def test_removing_waits_for_running_operations_and_empties_buckets_filled_meanwhile() -> None:
    ends: Ends = {"DeleteStack": ["DELETE_IN_PROGRESS", "DELETE_FAILED"]}
    cloud = Cloud(["CREATE_IN_PROGRESS", "CREATE_COMPLETE"], ends, [(ROLE, "role", "CREATE_COMPLETE")])
    answer = cloud.answer

    def later(operation: str) -> dict[str, Any]:
        found = answer(operation)
        if (
            operation == "DeleteStack" and len(cloud.calls) == 1
        ):  # from now on there is the bucket, and no longer the role
            cloud.resources = [(BUCKET, "late", "DELETE_FAILED"), (ROLE, "role", "DELETE_COMPLETE")]
            cloud.objects, cloud.after = ["a"], ENDS
        return found

    cloud.answer = later  # type: ignore[method-assign]
    removed = Stack(cloud.session(), "vehicles").remove()
    assert removed == ["1 objects in s3://late", "AWS::IAM::Role role", "AWS::S3::Bucket late"]
    assert cloud.calls == ["DeleteStack", "DeleteObjects", "DeleteStack", "DeleteBucket"]


def test_a_failed_rollback_is_finished_or_reported_with_the_remedy() -> None:
    ends: Ends = {**ENDS, "ContinueUpdateRollback": ["UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"]}
    cloud = Cloud(["UPDATE_ROLLBACK_FAILED"], ends)
    assert Stack(cloud.session(), "vehicles").put("new", {}) == "stack vehicles: updated"
    assert cloud.calls == ["ContinueUpdateRollback", "UpdateStack"]
    again: Ends = {"ContinueUpdateRollback": ["UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_FAILED"]}
    events = [("Endpoint", "UPDATE_FAILED", "no capacity"), ("vehicles", "UPDATE_IN_PROGRESS", "User Initiated")]
    cloud = Cloud(["UPDATE_ROLLBACK_FAILED"], again, events=events)
    with pytest.raises(InputError, match=r"Endpoint: no capacity: remove the cause.*--resources-to-skip"):
        Stack(cloud.session(), "vehicles").put("new", {})


def test_data_is_kept_on_request() -> None:
    resources = [(BUCKET, "data", "CREATE_COMPLETE"), (ROLE, "r", "CREATE_COMPLETE")]
    cloud = Cloud(["CREATE_COMPLETE"], ENDS, resources, objects=["a"])
    assert Stack(cloud.session(), "vehicles").remove(keep_data=True) == ["AWS::IAM::Role r"]
    assert cloud.calls == ["DeleteStack"]
    assert cloud.objects == ["a"]


def test_an_object_that_is_not_deleted_is_named() -> None:
    cloud = Cloud(["CREATE_COMPLETE"], ENDS, [(BUCKET, "full", "CREATE_COMPLETE")], objects=["a"], refuses=True)
    with pytest.raises(InputError, match="s3://full/a was not deleted: AccessDenied"):
        Stack(cloud.session(), "vehicles").remove()


def test_the_log_of_an_already_removed_endpoint_is_removed() -> None:
    arn = "arn:aws:sagemaker:eu-west-1:1:endpoint/endpoint-x"
    logs = ["/aws/sagemaker/Endpoints/endpoint-x"]
    cloud = Cloud(["DELETE_FAILED"], ENDS, [(ENDPOINT, arn, "DELETE_COMPLETE")], logs=logs)
    assert Stack(cloud.session(), "vehicles").remove() == ["log group /aws/sagemaker/Endpoints/endpoint-x"]
    assert not cloud.logs


def test_a_stack_that_is_not_removed_is_reported_with_the_reason() -> None:
    events = [("Bucket", "DELETE_FAILED", "it is not empty"), ("vehicles", "DELETE_IN_PROGRESS", "User Initiated")]
    cloud = Cloud(["CREATE_COMPLETE"], {"DeleteStack": ["DELETE_FAILED"]}, events=events)
    with pytest.raises(InputError, match="vehicles could not be removed: Bucket: it is not empty"):
        Stack(cloud.session(), "vehicles").remove()
    assert cloud.calls == ["DeleteStack"] * 3
